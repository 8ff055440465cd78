//! UDP on the real kernel: flows, their records and contexts at the socket options, and what the
//! application sees. Statements 67 to 80 of the reference are about control messages, which are the
//! Winsock surface's; where socket options show the same thing, the tests name them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_udp/connected.rs"]
mod connected;
#[path = "kernel_udp/flows.rs"]
mod flows;
#[path = "kernel_udp/scene.rs"]
mod scene;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        flows: [
            one_remote,
            later_datagrams,
            two_remotes,
            same_source_port,
            bound_client,
            client_is_gone,
            port_used_again,
        ],
        connected: [
            connect_send_receive,
            bound_and_connected,
            three_hundred,
            sends_elsewhere,
            disconnected,
            connects_again,
            sends_then_connects,
        ],
    })
}
