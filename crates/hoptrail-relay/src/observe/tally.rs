//! Counts of what ended and how. Every worker writes them, once or twice in a connection's life.

use super::words;
use crate::inspect::AppProtocol;
use crate::ledger::{End, Ledger};
use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the buckets of durations.
pub(super) const BUCKETS: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];

/// Counts since the start, by the places of their words in `words.rs`.
#[derive(Debug)]
pub struct Tally {
    pub(super) ends: [[AtomicU64; words::ENDS.len()]; 2],
    pub(super) protocols: [[AtomicU64; AppProtocol::ALL.len()]; 2],
    pub(super) verdicts: [AtomicU64; words::VERDICTS.len()],
    pub(super) failures: [AtomicU64; words::STEPS.len()],
    /// The last is beyond all bounds.
    pub(super) lasted: [AtomicU64; BUCKETS.len() + 1],
    pub(super) lasted_ns: AtomicU64,
    pub(super) hops: AtomicU64,
    /// Workers that have paused accepting.
    paused: AtomicI64,
    pub(super) pauses: AtomicU64,
    pub(super) reloads: [AtomicU64; 2],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            ends: array::from_fn(|_| zeroes()),
            protocols: array::from_fn(|_| zeroes()),
            verdicts: zeroes(),
            failures: zeroes(),
            lasted: zeroes(),
            lasted_ns: AtomicU64::new(0),
            hops: AtomicU64::new(0),
            paused: AtomicI64::new(0),
            pauses: AtomicU64::new(0),
            reloads: zeroes(),
        }
    }
}

impl Tally {
    pub(super) fn opened(&self, ledger: &Ledger) {
        self.hops.fetch_add(ledger.hops.into(), Relaxed);
    }

    pub(super) fn ended(&self, ledger: &Ledger, end: End, lasted: Duration) {
        let transport = words::transport(ledger.transport);
        increment(&self.ends[transport][words::end(end)]);
        increment(&self.protocols[transport][words::protocol(ledger) as usize]);
        if let Some(verdict) = words::verdict(ledger, end) {
            increment(&self.verdicts[verdict]);
        }
        if let Some(cause) = words::cause(end) {
            increment(&self.failures[words::step(cause.step)]);
        }
        let bucket = BUCKETS.iter().position(|bound| lasted <= *bound);
        increment(&self.lasted[bucket.unwrap_or(BUCKETS.len())]);
        let nanos = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
        self.lasted_ns.fetch_add(nanos, Relaxed);
    }

    pub(super) fn paused(&self, paused: bool) {
        let before = self.paused.fetch_add(if paused { 1 } else { -1 }, Relaxed);
        if paused && before == 0 {
            increment(&self.pauses);
        }
    }

    /// Whether some worker has paused accepting.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Relaxed) > 0
    }

    /// How often accepting was paused.
    #[must_use]
    pub fn pauses(&self) -> u64 {
        self.pauses.load(Relaxed)
    }

    /// The rules were read again, and were right or wrong.
    pub fn reloaded(&self, right: bool) {
        increment(&self.reloads[usize::from(!right)]);
    }

    /// How many connections and flows have ended.
    #[must_use]
    pub fn all_ended(&self) -> u64 {
        self.ends.iter().flatten().map(|count| count.load(Relaxed)).sum()
    }
}

fn zeroes<const N: usize>() -> [AtomicU64; N] {
    array::from_fn(|_| AtomicU64::new(0))
}

fn increment(count: &AtomicU64) {
    count.fetch_add(1, Relaxed);
}
