//! Statement 100 of the reference on the real kernel: a listener that sends back what the library could
//! tell it of each connection and datagram, for every family, protocol and target. The cells are those of
//! the connect_redirect tests of eBPF for Windows, and a few more.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_echo/cell.rs"]
mod cell;
#[path = "kernel_echo/client.rs"]
mod client;
#[path = "kernel_echo/echo.rs"]
mod echo;
#[path = "kernel_echo/matrix.rs"]
mod matrix;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        matrix: [tcp, connected_udp, unconnected_udp],
    })
}
