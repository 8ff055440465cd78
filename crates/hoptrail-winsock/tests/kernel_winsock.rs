//! The Winsock surface on the real kernel: the Rust calls, and the C functions where the kernel's side
//! of an answer matters. C programs test the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_winsock/future.rs"]
mod future;
#[path = "kernel_winsock/messages.rs"]
mod messages;
#[path = "kernel_winsock/overlapped.rs"]
mod overlapped;
#[path = "kernel_winsock/pending.rs"]
mod pending;
#[path = "kernel_winsock/query.rs"]
mod query;
#[path = "kernel_winsock/scene.rs"]
mod scene;
#[path = "kernel_winsock/set.rs"]
mod set;
#[path = "kernel_winsock/stress.rs"]
mod stress;
#[path = "kernel_winsock/winsock.rs"]
mod winsock;

use hoptrail_testkit::tests;
use std::process::ExitCode;

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(tests! {
        query: [
            records_and_context_are_those_of_the_options,
            no_records_is_an_error_of_its_own,
            sizes_as_documented,
            what_is_wrong_with_the_socket_comes_first,
            a_socket_outside_of_the_scope_has_no_engine,
        ],
        set: [
            with_records_the_way_is_free,
            a_stranger_has_no_right,
            what_is_not_records_changes_nothing,
            a_connected_socket_is_not_new,
            udp_is_refused,
        ],
        pending: [
            a_connect_under_way_pends,
            a_connect_under_way_blocks_a_synchronous_call,
            a_udp_flow_that_has_not_begun_pends_and_succeeds,
            a_synchronous_query_of_udp_never_waits,
            closing_behind_the_back_ends_it,
        ],
        future: [
            it_needs_no_runtime,
            dropping_it_cancels,
            cancelling_it_aborts,
        ],
        overlapped: [
            a_pending_call_signals_its_event,
            a_failure_at_once_signals_nothing,
            a_completion_routine_runs_in_an_alertable_wait,
            a_port_gets_what_completes,
            closesocket_flush_and_cancel_abort,
            a_thread_that_ends_aborts,
            a_number_given_again_is_another_socket,
        ],
        messages: [
            records_and_context_come_with_the_first_datagram,
            records_are_carried_on,
            a_connected_socket_carries_on_too,
            two_remotes_are_two_flows,
            truncation_is_flagged,
            a_dual_stack_socket_takes_both,
            a_plain_receive_loses_the_records,
            tcp_has_no_switches,
            an_overlapped_receive_pends,
        ],
        stress: [
            many_calls_from_eight_threads,
            many_pending_calls_and_cancellations,
        ],
    })
}
