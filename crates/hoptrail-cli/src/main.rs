//! The `hoptrail` command.

fn main() {}
