//! The library as proxies use it, on the real kernel: each proxy is a process of its own.
#![cfg_attr(target_os = "linux", expect(clippy::unwrap_used, reason = "a test fails by panicking"))]

#[cfg(target_os = "linux")]
#[path = "kernel_proxies/asynchronous.rs"]
mod asynchronous;
#[cfg(target_os = "linux")]
#[path = "kernel_proxies/event_loop.rs"]
mod event_loop;
#[cfg(target_os = "linux")]
#[path = "kernel_proxies/examples.rs"]
mod examples;
#[cfg(target_os = "linux")]
#[path = "kernel_proxies/ready.rs"]
mod ready;
#[cfg(target_os = "linux")]
#[path = "kernel_proxies/web.rs"]
mod web;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    hoptrail_testkit::lab::run(hoptrail_testkit::tests! {
        asynchronous: [
            two_vendors_one_on_tokio,
            a_destination_that_refuses_is_a_reset,
            a_direct_connection_is_never_dialled_for,
            direct_and_redirected_are_told_apart,
            udp_flows,
        ],
        event_loop: [
            a_started_dial_carries_the_records,
            a_socket_is_configured_before_it_is_dialled,
            a_dial_that_fails_later_says_why,
            what_the_kernel_refuses_at_once_is_told_at_once,
            a_started_dial_leaves_by_the_applications_device,
            nothing_waits_is_no_error,
        ],
        examples: [
            the_minimal_proxy,
            the_minimal_proxy_without_descriptors,
            the_logging_proxy,
            the_rewriting_proxy,
            the_sni_proxy,
            the_sni_proxy_reads_what_comes_in_pieces,
        ],
    })
}

/// There is no kernel side elsewhere.
#[cfg(not(target_os = "linux"))]
fn main() {}
