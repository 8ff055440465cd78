//! TCP on the real kernel: statements of the reference's section 6 as far as they are visible at the
//! socket options, and the nine points that must hold.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_tcp/vendors.rs"]
mod vendors;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! { vendors: [two_declaring] })
}
