//! UDP on the real kernel: flows, their records and contexts at the socket options, and what the
//! application sees. Statements 67 to 80 of the reference are about control messages, which are the
//! Winsock surface's; where socket options show the same thing, the tests name them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_udp/connected.rs"]
mod connected;
#[path = "kernel_udp/devices.rs"]
mod devices;
#[path = "kernel_udp/flows.rs"]
mod flows;
#[path = "kernel_udp/many.rs"]
mod many;
#[path = "kernel_udp/options.rs"]
mod options;
#[path = "kernel_udp/policy.rs"]
mod policy;
#[path = "kernel_udp/real.rs"]
mod real;
#[path = "kernel_udp/reload.rs"]
mod reload;
#[path = "kernel_udp/scene.rs"]
mod scene;
#[path = "kernel_udp/vendors.rs"]
mod vendors;

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
            chosen_source,
            threads_of_one_socket,
            proxy_starts_again,
            any_length,
            client_is_gone,
            port_used_again,
        ],
        connected: [
            connect_send_receive,
            bound_and_connected,
            three_hundred,
            sends_elsewhere,
            sends_to_the_same,
            disconnected,
            connects_again,
            sends_then_connects,
            decided_at_connect,
            loopback_filter,
        ],
        vendors: [
            both_declare,
            both_declare_for_one_destination,
            rude,
            one_socket_for_several_destinations,
            set_again_for_a_destination,
            listener_sends_on,
            of_its_own_accord,
            rude_with_two_clients,
            rude_that_asks,
            alone,
        ],
        options: [
            original_destination,
            without_a_peer,
            selection_is_per_thread_and_socket,
            mapped_peers,
            sizes,
            set_of_any_bytes,
            set_by_others,
            peer_of_any_bytes,
            version,
            client_asks,
        ],
        policy: [
            block,
            block_by_another,
            unavailable,
            protocol,
            no_match,
            multicast_and_broadcast,
            loopback,
        ],
        devices: [connected, unconnected, bypassed, bound_later, lo],
        reload: [redirected_flow, connected_socket, permitted_flow],
        many: [twenty_thousand_remotes, busy_flow_among_many],
        real: [library_proxy, python_and_library, not_redirected],
    })
}
