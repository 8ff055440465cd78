//! Upstream proxies, the PROXY protocol and UDP sessions with real peers on the real kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_upstreams/peers.rs"]
mod peers;
#[path = "kernel_upstreams/prelude.rs"]
mod prelude;
#[path = "kernel_upstreams/sessions.rs"]
mod sessions;
#[path = "kernel_upstreams/tcp.rs"]
mod tcp;
#[path = "kernel_upstreams/udp.rs"]
mod udp;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        tcp: [socks5, socks5_with_login, socks5_of_another_make, socks5_by_name, http_connect, http_connect_with_login],
        prelude: [haproxy_reads_version_1, haproxy_reads_version_2, nginx_reads_the_trail, a_reader_of_the_document],
        udp: [
            a_thousand_flows,
            dns,
            no_more_than_allowed,
            idle_flows_end,
            a_flood_and_the_others,
            connects_again,
            refused,
            denied_by_name,
            throttled,
            any_length,
            draining,
            forwarded,
            socks5_associate,
            socks5_that_is_gone,
        ],
    })
}
