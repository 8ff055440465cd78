//! The library as proxies use it, on the real kernel: each proxy is a process of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_proxies/asynchronous.rs"]
mod asynchronous;
#[path = "kernel_proxies/event_loop.rs"]
mod event_loop;
#[path = "kernel_proxies/examples.rs"]
mod examples;
#[path = "kernel_proxies/web.rs"]
mod web;

use hoptrail_core::{Endpoint, Protocol};
use hoptrail_engine::host::listen::{HERE, Listeners};
use hoptrail_testkit::lab::{Lab, eventually};
use hoptrail_testkit::tests;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

/// Waits until something listens there, without connecting to it.
fn listens(lab: &Lab, at: SocketAddr) {
    let read = || lab.inside(|| Listeners::read(Path::new(HERE)).unwrap());
    eventually("a proxy listens", || read().has(Protocol::Tcp, Endpoint::from(at)));
}

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        asynchronous: [
            two_vendors_one_on_tokio,
            a_destination_that_refuses_is_a_reset,
            a_direct_connection_is_never_dialled_for,
            direct_and_redirected_are_told_apart,
            udp_flows,
        ],
        event_loop: [
            a_started_dial_carries_the_records,
            a_dial_that_fails_later_says_why,
            what_the_kernel_refuses_at_once_is_told_at_once,
            a_started_dial_leaves_by_the_applications_device,
            nothing_waits_is_no_error,
        ],
        examples: [
            the_minimal_proxy,
            the_logging_proxy,
            the_rewriting_proxy,
            the_sni_proxy,
            the_sni_proxy_reads_what_comes_in_pieces,
        ],
    })
}
