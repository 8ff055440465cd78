//! Every metric, once: its name, kind, meaning and where its values come from.

use super::exposition::{Kind, Metric};
use super::process;
use crate::inspect::AppProtocol;
use crate::observe::{tally, words};
use crate::udp::Lost;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

pub(super) const METRICS: &[Metric] = &[
    Metric {
        name: "hoptrail_relay_info",
        kind: Kind::Gauge,
        doc: "Always 1; the label is the version.",
        write: |_, out| out.labelled(&[("version", env!("CARGO_PKG_VERSION"))], 1),
    },
    Metric {
        name: "hoptrail_relay_start_time_seconds",
        kind: Kind::Gauge,
        doc: "When the relay started, in seconds since 1970.",
        write: |m, out| {
            let since = m.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            out.plain(since.as_secs_f64());
        },
    },
    Metric {
        name: "hoptrail_relay_workers",
        kind: Kind::Gauge,
        doc: "Threads that relay: the workers of TCP, and one for UDP.",
        write: |m, out| out.plain(m.counters.len()),
    },
    Metric {
        name: "hoptrail_relay_accepted_total",
        kind: Kind::Counter,
        doc: "Connections and flows accepted.",
        write: |m, out| out.plain(m.sum(|worker| &worker.accepted)),
    },
    Metric {
        name: "hoptrail_relay_open",
        kind: Kind::Gauge,
        doc: "Connections and flows that are open.",
        write: |m, out| out.plain(m.sum(|worker| &worker.open)),
    },
    Metric {
        name: "hoptrail_relay_bytes_total",
        kind: Kind::Counter,
        doc: "Bytes passed on, by where they came from: client or upstream.",
        write: |m, out| {
            out.labelled(&[("from", "client")], m.sum(|worker| &worker.from_client));
            out.labelled(&[("from", "upstream")], m.sum(|worker| &worker.from_upstream));
        },
    },
    Metric {
        name: "hoptrail_relay_pipes",
        kind: Kind::Gauge,
        doc: "Pipes in use for splicing.",
        write: |m, out| out.plain(m.sum(|worker| &worker.pipes)),
    },
    Metric {
        name: "hoptrail_relay_datagrams_total",
        kind: Kind::Counter,
        doc: "UDP: datagrams passed on, by where they came from: client or upstream.",
        write: |m, out| {
            if let Some(udp) = &m.udp {
                out.labelled(&[("from", "client")], udp.from_client.load(Relaxed));
                out.labelled(&[("from", "upstream")], udp.from_upstream.load(Relaxed));
            }
        },
    },
    Metric {
        name: "hoptrail_relay_datagrams_lost_total",
        kind: Kind::Counter,
        doc: "UDP: datagrams that were not passed on, by reason.",
        write: |m, out| {
            for why in m.udp.iter().flat_map(|_| Lost::ALL) {
                let lost = m.udp.as_ref().map_or(0, |udp| udp.lost(why));
                out.labelled(&[("reason", why.name())], lost);
            }
        },
    },
    Metric {
        name: "hoptrail_relay_flows_evicted_total",
        kind: Kind::Counter,
        doc: "UDP: flows that had to make room for others.",
        write: |m, out| out.maybe(m.udp.as_ref().map(|udp| udp.evicted.load(Relaxed))),
    },
    Metric {
        name: "hoptrail_relay_hops_total",
        kind: Kind::Counter,
        doc: "Hops in the trails of the connections and flows that were opened.",
        write: |m, out| out.plain(m.observation.tally.hops.load(Relaxed)),
    },
    Metric {
        name: "hoptrail_relay_ended_total",
        kind: Kind::Counter,
        doc: "Connections and flows that ended, by transport and end (as in the log).",
        write: |m, out| both(out, &m.observation.tally.ends, ("end", &words::ENDS)),
    },
    Metric {
        name: "hoptrail_relay_recognised_total",
        kind: Kind::Counter,
        doc: "Connections and flows that ended, by transport and what was recognised in them.",
        write: |m, out| {
            let names = AppProtocol::ALL.map(AppProtocol::name);
            both(out, &m.observation.tally.protocols, ("protocol", &names));
        },
    },
    Metric {
        name: "hoptrail_relay_verdicts_total",
        kind: Kind::Counter,
        doc: "Connections and flows that ended, by what the rules had said.",
        write: |m, out| {
            each(out, &[], &m.observation.tally.verdicts, ("verdict", &words::VERDICTS));
        },
    },
    Metric {
        name: "hoptrail_relay_failures_total",
        kind: Kind::Counter,
        doc: "Connections and flows that ended as unreachable or failed, by the step that failed.",
        write: |m, out| each(out, &[], &m.observation.tally.failures, ("step", &words::STEPS)),
    },
    Metric {
        name: "hoptrail_relay_duration_seconds",
        kind: Kind::Histogram,
        doc: "How long connections and flows were open.",
        write: |m, out| {
            let tally = &m.observation.tally;
            let counts = tally.lasted.each_ref().map(|count| count.load(Relaxed));
            let sum = tally.lasted_ns.load(Relaxed) as f64 / 1e9;
            out.histogram(&tally::BUCKETS.map(|bound| bound.as_secs_f64()), &counts, sum);
        },
    },
    Metric {
        name: "hoptrail_relay_accepting_paused",
        kind: Kind::Gauge,
        doc: "1 while accepting is paused because descriptors or memory ran out, else 0.",
        write: |m, out| out.plain(u64::from(m.observation.tally.is_paused())),
    },
    Metric {
        name: "hoptrail_relay_accepting_pauses_total",
        kind: Kind::Counter,
        doc: "How often it was.",
        write: |m, out| out.plain(m.observation.tally.pauses.load(Relaxed)),
    },
    Metric {
        name: "hoptrail_relay_draining",
        kind: Kind::Gauge,
        doc: "1 once the relay was told to stop, else 0.",
        write: |m, out| out.plain(u64::from(m.observation.is_draining())),
    },
    Metric {
        name: "hoptrail_relay_reloads_total",
        kind: Kind::Counter,
        doc: "Reloads of the rules, by result: ok, or error, after which the rules before stay in force.",
        write: |m, out| {
            each(out, &[], &m.observation.tally.reloads, ("result", &["ok", "error"]));
        },
    },
    Metric {
        name: "hoptrail_relay_log_lines_total",
        kind: Kind::Counter,
        doc: "Log lines, by result: written, or lost because they were read too slowly.",
        write: |m, out| {
            if let Some(log) = &m.observation.log {
                let counts = log.counts();
                out.labelled(&[("result", "written")], counts.written.load(Relaxed));
                out.labelled(&[("result", "lost")], counts.lost.load(Relaxed));
            }
        },
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        doc: "Processor time used by the process, in seconds.",
        write: |_, out| out.plain(process::cpu_seconds()),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        doc: "Resident memory of the process, without the kernel's part.",
        write: |_, out| out.maybe(process::resident_bytes()),
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        doc: "File descriptors that are open.",
        write: |_, out| out.maybe(process::open_fds()),
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        doc: "File descriptors that may be open.",
        write: |_, out| out.maybe(process::max_fds()),
    },
];

type Words<'w> = (&'static str, &'w [&'static str]);

/// A sample for each word, of TCP and of UDP.
fn both<const N: usize>(
    out: &mut super::exposition::Samples<'_>,
    counts: &[[AtomicU64; N]; 2],
    words: Words<'_>,
) {
    for (transport, counts) in words::TRANSPORTS.iter().zip(counts) {
        each(out, &[("transport", transport)], counts, words);
    }
}

/// A sample for each word.
fn each(
    out: &mut super::exposition::Samples<'_>,
    labels: &[(&str, &str)],
    counts: &[AtomicU64],
    (name, words): Words<'_>,
) {
    for (word, count) in words.iter().zip(counts) {
        let labels = [labels, &[(name, *word)]].concat();
        out.labelled(&labels, count.load(Relaxed));
    }
}
