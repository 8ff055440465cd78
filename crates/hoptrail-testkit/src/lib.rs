//! What the tests of all crates share.

pub mod cases;
pub mod reference;
