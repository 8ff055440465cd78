//! The command as a user has it: the built binary with real proxies and clients on the real kernel.
//!
//! Each test has a network namespace and a cgroup of its own; all of them have a BPF file system of their own, so that
//! nothing which is pinned outlives this process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_cli/client.rs"]
mod client;
#[path = "kernel_cli/daemon.rs"]
mod daemon;
#[path = "kernel_cli/daemon_ask.rs"]
mod daemon_ask;
#[path = "kernel_cli/daemon_change.rs"]
mod daemon_change;
#[path = "kernel_cli/daemon_life.rs"]
mod daemon_life;
#[path = "kernel_cli/daemon_restart.rs"]
mod daemon_restart;
#[path = "kernel_cli/foreign.rs"]
mod foreign;
#[path = "kernel_cli/origin.rs"]
mod origin;
#[path = "kernel_cli/process.rs"]
mod process;
#[path = "kernel_cli/relay.rs"]
mod relay;
#[path = "kernel_cli/relay_clients.rs"]
mod relay_clients;
#[path = "kernel_cli/run_end.rs"]
mod run_end;
#[path = "kernel_cli/run_scope.rs"]
mod run_scope;
#[path = "kernel_cli/run_trail.rs"]
mod run_trail;
#[path = "kernel_cli/stage.rs"]
mod stage;
#[path = "kernel_cli/start.rs"]
mod start;
#[path = "kernel_cli/winsock.rs"]
mod winsock;

use hoptrail_testkit::{lab, tests};
use std::process::ExitCode;

fn main() -> ExitCode {
    stage::own_bpffs();
    lab::run(tests! {
        start: [
            a_daemon_is_asked_by_root_only,
            without_privileges_one_sentence_says_what_is_missing,
            the_demo_shows_and_checks_two_providers,
            the_rude_demo_ends_too,
            the_demo_for_machines,
        ],
        daemon_ask: [
            providers_tell_who_is_there,
            flows_tell_what_is_open,
            the_log_as_json,
            without_a_daemon_one_sentence_says_so,
            a_daemon_that_cannot_start_says_why_and_leaves_nothing,
            doctor_has_stable_ids_and_lists_what_is_foreign,
        ],
        daemon_change: [
            a_reload_switches_and_a_wrong_one_changes_nothing,
            a_reload_ends_and_begins_proxies_and_keeps_connections,
            a_provider_whose_command_fails_does_not_stop_the_others,
            a_replaced_executable_is_followed,
            a_member_cgroup_that_is_made_anew_is_followed,
            the_daemons_own_cgroup_may_be_made_anew,
        ],
        daemon_life: [
            a_second_daemon_is_refused_in_one_sentence,
            kill_9_changes_nothing_and_a_restart_adopts,
            a_proxy_that_dies_is_missed_and_started_again,
            sigterm_leaves_the_kernel_side_and_cleanup_removes_it_twice,
            cleanup_after_kill_9,
        ],
        daemon_restart: [
            a_restart_with_another_configuration,
            a_state_that_cannot_be_read_is_no_obstacle,
            a_restart_on_another_cgroup_leaves_the_former,
            the_same_pins_are_for_one_daemon,
            systemd_is_told,
        ],
        relay: [
            two_relays_inspect_one_connection_and_tell_the_same,
            what_connects_to_a_relay_itself_is_reset_and_told,
            an_unreachable_destination_is_a_reset_and_told_by_both,
        ],
        relay_clients: [real_clients_through_three_relays_are_as_directly],
        run_end: [
            the_exit_status_is_the_commands_own,
            signals_reach_the_command,
            input_and_output_pass_through,
            ctrl_c_on_a_terminal_arrives_once,
            what_the_command_leaves_running_is_ended_and_told,
            nothing_stays_of_a_run,
            a_provider_that_cannot_work_ends_the_run,
            a_run_that_nobody_clears_up_is_found,
            a_proxy_that_dies_during_a_run_is_told_and_started_again,
        ],
        run_scope: [
            under_sudo_the_command_runs_as_who_called_it,
            a_proxy_that_runs_elsewhere_is_known_by_its_cgroup,
            all_traffic_of_one_command_through_one_proxy,
            a_run_inside_a_daemons_scope_works,
            a_runs_cgroup_can_be_said,
        ],
        run_trail: [
            the_example_shows_a_trail_as_text,
            the_trail_as_json_or_not_at_all,
            a_refusal_is_in_the_trail,
        ],
        winsock: [
            the_example_works_as_two_providers,
            it_shares_a_connection_with_other_proxies,
            it_passes_ends_and_failures_on,
        ],
    })
}
