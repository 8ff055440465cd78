//! What the tests of all crates share.

pub mod cases;
pub mod lab;
pub mod layout;
pub mod reference;
