//! TCP on the real kernel: statements of the reference's section 6 as far as they are visible at the
//! socket options, and the nine points that must hold.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_tcp/application.rs"]
mod application;
#[path = "kernel_tcp/burst.rs"]
mod burst;
#[path = "kernel_tcp/connects.rs"]
mod connects;
#[path = "kernel_tcp/context.rs"]
mod context;
#[path = "kernel_tcp/elsewhere.rs"]
mod elsewhere;
#[path = "kernel_tcp/enemy.rs"]
mod enemy;
#[path = "kernel_tcp/failure.rs"]
mod failure;
#[path = "kernel_tcp/hygiene.rs"]
mod hygiene;
#[path = "kernel_tcp/original_dst.rs"]
mod original_dst;
#[path = "kernel_tcp/records.rs"]
mod records;
#[path = "kernel_tcp/reload.rs"]
mod reload;
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
        vendors: [
            two_declaring,
            two_declaring_in_the_other_order,
            two_declaring_over_ipv6,
            the_first_is_rude,
            the_second_is_rude,
            both_are_rude,
            neither_asks_anything,
            three_providers,
            a_hundred_connections_through_a_rude_pair,
            a_rude_proxys_own_business,
        ],
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
        application: [
            getpeername_gives_what_was_asked_for,
            a_non_blocking_connect,
            a_refusal_of_a_non_blocking_connect,
            a_bound_source_address,
            repeated_connects_of_one_socket,
            refused_by_the_destination_then_redirected,
            loopback_is_left_alone,
            loopback_can_be_asked_for,
            the_proxys_own_port,
            a_destination_without_a_route,
            the_ends_of_a_connection_pass_through,
        ],
        connects: [
            fast_open_by_option,
            fast_open_by_flag,
            fast_open_is_blocked_like_any_other,
            io_uring,
            sockets_passed_between_processes,
            duplicated_descriptors,
            a_socket_bound_to_lo,
            a_socket_bound_to_a_device,
            a_device_is_kept_for_later_connects,
            multipath_tcp,
            a_multipath_listener,
        ],
        elsewhere: [
            a_listener_at_another_own_address,
            a_listener_on_another_machine_counts_as_gone,
            the_hops_of_a_removed_provider_stay,
        ],
        failure: [
            a_gone_listener_blocks,
            a_gone_listener_is_bypassed,
            a_listener_of_nobody_in_particular,
            a_killed_proxy,
            a_block_of_any_provider,
            the_original_application_is_blocked_on_later_legs,
            the_first_filter_of_a_provider,
            a_full_table,
            sixteen_hops_and_no_more,
            without_a_policy,
        ],
        original_dst: [
            of_an_ipv4_destination,
            of_an_ipv6_destination,
            on_a_dual_stack_listener,
            of_connections_that_were_not_redirected,
        ],
        hygiene: [
            every_way_to_close,
            never_accepted,
            connects_that_fail,
            reconnecting_sockets,
            two_thousand_connections,
        ],
        reload: [
            every_connect_has_one_verdict,
            a_block_holds_through_reloads,
            a_wrong_policy_changes_nothing,
            open_connections_stay,
        ],
        enemy: [
            the_same_four_addresses_again,
            reset_before_accept,
            listeners_that_share_a_port,
            a_deferred_accept,
            addresses_that_are_none,
            a_v6_only_socket,
            a_socket_without_memory,
            another_network_namespace,
            a_renamed_program,
            a_reused_inode,
            members_below_their_cgroup,
            a_proxy_that_dials_elsewhere,
            an_accepted_socket_that_dials,
            other_options_are_untouched,
            large_values_pass,
            a_policy_at_its_limits,
            options_in_a_storm,
        ],
    })
}
