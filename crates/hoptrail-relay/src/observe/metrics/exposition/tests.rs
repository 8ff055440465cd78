//! The text, read back by its grammar, and docs/relay.md.

use super::super::table::METRICS;
use super::*;
use crate::config::{LogFormat, reference};
use crate::counters::Counters;
use crate::ledger::{Cause, End, Ledger, Observer, Step};
use crate::observe::Observation;
use crate::observe::log::Log;
use crate::observe::sample::{bare, ledger};
use crate::udp::UdpCounts;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

fn used() -> Metrics {
    let (_, write) = rustix::pipe::pipe().unwrap();
    let sink = std::fs::File::from(write);
    let log = Log::start(LogFormat::Json, false, sink, |_| None).unwrap();
    let observation = Observation::new(log);
    observation.opened(&ledger("a"));
    observation.ended(&ledger("a"), End::Denied);
    let cause = Cause { step: Step::Connect, errno: 111 };
    observation.ended(&bare(), End::Unreachable(cause));
    let throttled = Ledger { throttled: true, ..bare() };
    observation.ended(&throttled, End::Closed);
    observation.accepting_paused(true);
    observation.tally.reloaded(false);
    let workers: Vec<Arc<Counters>> = (0..2).map(|_| Arc::default()).collect();
    for worker in &workers {
        worker.accepted.store(5, Relaxed);
        worker.from_client.store(1 << 60, Relaxed);
    }
    let udp = UdpCounts::default();
    udp.evicted.store(7, Relaxed);
    Metrics::new(Arc::new(observation), &workers).with_udp(Arc::new(udp))
}

/// Samples by name with labels, as a strict reader has them.
fn read(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut declared = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(declared.insert(name.to_owned()), "{name} is declared twice");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
        let known = declared.contains(name) || family.is_some_and(|f| declared.contains(f));
        assert!(known, "{name} is not declared before its samples");
        assert!(
            samples.insert(series.to_owned(), value.parse().unwrap()).is_none(),
            "{series} twice"
        );
    }
    samples
}

#[test]
fn what_happened_is_what_is_read() {
    let samples = read(&used().text());
    let of = |series: &str| samples.get(series).copied();
    for (series, value) in [
        ("hoptrail_relay_accepted_total", 10.0),
        ("hoptrail_relay_workers", 2.0),
        ("hoptrail_relay_bytes_total{from=\"client\"}", 2_f64.powi(61)),
        ("hoptrail_relay_ended_total{transport=\"tcp\",end=\"denied\"}", 1.0),
        ("hoptrail_relay_ended_total{transport=\"udp\",end=\"unreachable\"}", 1.0),
        ("hoptrail_relay_ended_total{transport=\"udp\",end=\"closed\"}", 1.0),
        ("hoptrail_relay_recognised_total{transport=\"tcp\",protocol=\"tls\"}", 1.0),
        ("hoptrail_relay_recognised_total{transport=\"udp\",protocol=\"unknown\"}", 2.0),
        ("hoptrail_relay_verdicts_total{verdict=\"allowed\"}", 1.0),
        ("hoptrail_relay_verdicts_total{verdict=\"denied\"}", 1.0),
        ("hoptrail_relay_verdicts_total{verdict=\"throttled\"}", 1.0),
        ("hoptrail_relay_failures_total{step=\"connect\"}", 1.0),
        ("hoptrail_relay_flows_evicted_total", 7.0),
        ("hoptrail_relay_datagrams_lost_total{reason=\"too-long\"}", 0.0),
        ("hoptrail_relay_hops_total", 2.0),
        ("hoptrail_relay_accepting_paused", 1.0),
        ("hoptrail_relay_accepting_pauses_total", 1.0),
        ("hoptrail_relay_reloads_total{result=\"error\"}", 1.0),
        ("hoptrail_relay_duration_seconds_count", 3.0),
        ("hoptrail_relay_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
    ] {
        assert_eq!(of(series), Some(value), "{series}");
    }
    assert!(of("process_open_fds").unwrap() > 3.0);
    assert!(of("process_resident_memory_bytes").unwrap() > 1e5);
    assert!(of("process_cpu_seconds_total").unwrap() > 0.0);
}

#[test]
fn names_and_texts_are_as_prometheus_wants_them() {
    let text = used().text();
    for Metric { name, kind, doc, .. } in METRICS {
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(!doc.contains(['\\', '\n']) && doc.ends_with('.'), "{name}");
        assert!(name.starts_with("hoptrail_relay_") || name.starts_with("process_"), "{name}");
        let samples = text.lines().filter(|line| line.starts_with(name));
        assert!(samples.count() > 0, "{name} has no sample");
    }
}

#[test]
fn buckets_are_cumulative() {
    let mut out = String::new();
    let mut samples = Samples { name: "x", out: &mut out };
    samples.histogram(&[0.001, 1.0, 3600.0], &[1, 2, 3, 4], 2.5);
    assert_eq!(
        out,
        "x_bucket{le=\"0.001\"} 1\nx_bucket{le=\"1\"} 3\nx_bucket{le=\"3600\"} 6\nx_bucket{le=\"+Inf\"} 10\n\
         x_sum 2.5\nx_count 10\n"
    );
}

#[test]
fn the_reference_has_every_metric() {
    let row = |m: &Metric| format!("| `{}` | {} | {} |\n", m.name, m.kind.name(), m.doc);
    let rows: String = METRICS.iter().map(row).collect();
    reference::check("metrics", &format!("| metric | kind | meaning |\n|---|---|---|\n{rows}"));
}
