//! The text format of Prometheus, version 0.0.4.

use super::Metrics;
use std::fmt::{Display, Write};

/// One metric.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// A sentence; no backslashes and line ends, which would have to be escaped.
    pub(super) doc: &'static str,
    pub(super) write: fn(&Metrics, &mut Samples<'_>),
}

/// Kinds of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// The samples of one metric.
pub(super) struct Samples<'o> {
    name: &'static str,
    out: &'o mut String,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// All of `metrics`.
pub(super) fn text(metrics: &[Metric], of: &Metrics) -> String {
    let mut out = String::new();
    for Metric { name, kind, doc, write } in metrics {
        let _ = writeln!(out, "# HELP {name} {doc}\n# TYPE {name} {}", kind.name());
        write(of, &mut Samples { name, out: &mut out });
    }
    out
}

impl Samples<'_> {
    /// The only one.
    pub(super) fn plain(&mut self, value: impl Display) {
        self.sample("", &[], value);
    }

    /// The only one, where it is known.
    pub(super) fn maybe(&mut self, value: Option<u64>) {
        if let Some(value) = value {
            self.plain(value);
        }
    }

    /// One of several; label values are words of ours.
    pub(super) fn labelled(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample("", labels, value);
    }

    /// `counts` has one more than `bounds`: what is beyond all of them.
    pub(super) fn histogram(&mut self, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut below = 0;
        let infinite = "+Inf".to_owned();
        let bounds = bounds.iter().map(f64::to_string).chain([infinite]);
        for (bound, count) in bounds.zip(counts) {
            below += count;
            self.sample("_bucket", &[("le", &bound)], below);
        }
        self.sample("_sum", &[], sum);
        self.sample("_count", &[], below);
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.out, "{}{suffix}{labels} {value}", self.name);
    }
}

#[cfg(test)]
mod tests;
