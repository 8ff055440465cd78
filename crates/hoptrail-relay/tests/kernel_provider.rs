//! The relay as a provider's proxy: with the engine, applications and servers on the real kernel.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_provider/denial.rs"]
mod denial;
#[path = "kernel_provider/origin.rs"]
mod origin;
#[path = "kernel_provider/patience.rs"]
mod patience;
#[path = "kernel_provider/running.rs"]
mod running;
#[path = "kernel_provider/server.rs"]
mod server;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        origin: [
            an_application_that_changes_its_user,
            both_families_and_mapped,
            two_vendors,
            the_applications_device,
            what_connects_to_its_port,
            a_blocked_destination,
        ],
        denial: [a_denied_client_gets_its_whole_answer, a_client_that_writes_before_it_reads, a_watched_pattern_resets_both, a_pattern_from_the_server_resets_both],
        patience: [nothing_passes_before_it_is_decided, a_silent_client, a_client_that_waits_after_one_byte],
    })
}
