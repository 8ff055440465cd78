//! TCP on the real kernel: statements of the reference's section 6 as far as they are visible at the
//! socket options, and the nine points that must hold.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_tcp/burst.rs"]
mod burst;
#[path = "kernel_tcp/context.rs"]
mod context;
#[path = "kernel_tcp/records.rs"]
mod records;
#[path = "kernel_tcp/scene.rs"]
mod scene;
#[path = "kernel_tcp/set.rs"]
mod set;
#[path = "kernel_tcp/vendors.rs"]
mod vendors;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        vendors: [two_declaring],
        records: [
            queries_do_not_consume,
            sizes_are_exact_and_nothing_else_is_written,
            sizes_and_version_have_their_own_size,
            direct_connections_have_no_records,
            unconnected_sockets_are_told_apart,
            other_descriptors_have_no_such_option,
            asking_needs_no_privilege,
            outside_of_the_scope_there_are_no_options,
            a_chain_of_two_and_its_states,
            flows_are_not_confused,
            records_outlive_the_client,
        ],
        context: [
            the_application_is_described,
            a_thread_is_its_process,
            any_bytes_of_a_provider_arrive,
            a_provider_without_bytes_has_a_context,
            a_reload_does_not_reach_open_connections,
            a_long_path_keeps_its_end,
            no_context_without_a_connection,
        ],
        set: [
            with_records_the_way_is_free,
            strangers_may_not_set,
            nothing_is_no_blob,
            a_wrong_address_is_a_fault,
            an_altered_blob_is_refused,
            random_bytes_are_refused,
            records_of_another_engine_are_refused,
            the_last_set_counts,
            a_shorter_trail_replaces_a_longer_one,
            a_connected_or_listening_socket_takes_none,
            set_before_bind,
            records_outlive_their_connection,
            other_options_cannot_be_set,
            adoption_leaves_the_blob_alone,
        ],
        burst: [
            backlog_of_one,
            backlog_of_eight,
            backlog_of_a_thousand,
            asked_right_after_accept,
        ],
    })
}
