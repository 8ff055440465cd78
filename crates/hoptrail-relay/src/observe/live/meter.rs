//! Rates from counts, over the last second or so.

use crate::counters::Counters;
use crate::ledger::End;
use crate::observe::{Observation, words};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Rates are taken over so long: shorter, and the digits cannot be read.
const WINDOW: Duration = Duration::from_secs(1);

/// Counts at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) open: u64,
    pub(super) accepted: u64,
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) hops: u64,
    pub(super) denied: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) paused: bool,
    pub(super) draining: bool,
}

/// What the line shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) counts: Sample,
    /// Connections a second.
    pub(super) new: f64,
    /// Bytes a second.
    pub(super) up: f64,
    pub(super) down: f64,
}

/// Remembers enough samples for the rates.
#[derive(Default, Debug)]
pub(super) struct Meter {
    samples: VecDeque<Sample>,
}

impl Sample {
    pub(super) fn take(at: Instant, of: &Observation, counters: &[Arc<Counters>]) -> Self {
        let sum = |which: fn(&Counters) -> &AtomicU64| {
            counters.iter().map(|worker| which(worker).load(Relaxed)).fold(0, u64::wrapping_add)
        };
        let ended = |end: End| {
            let of_both = of.tally.ends.iter().map(|ends| ends[words::end(end)].load(Relaxed));
            of_both.sum::<u64>()
        };
        let cause = crate::ledger::Cause { step: crate::ledger::Step::Open, errno: 0 };
        Self {
            at,
            open: sum(|worker| &worker.open),
            accepted: sum(|worker| &worker.accepted),
            up: sum(|worker| &worker.from_client),
            down: sum(|worker| &worker.from_upstream),
            hops: of.tally.hops.load(Relaxed),
            denied: ended(End::Denied),
            failed: ended(End::Unreachable(cause)) + ended(End::Failed(cause)),
            lost: of.log.as_ref().map_or(0, crate::observe::log::Log::lost),
            paused: of.tally.is_paused(),
            draining: of.is_draining(),
        }
    }
}

impl Meter {
    pub(super) fn advance(&mut self, counts: Sample) -> Now {
        let old = |sample: &Sample| counts.at.saturating_duration_since(sample.at) >= WINDOW;
        // The newest of those beyond the window stays: the rates reach back to it.
        while self.samples.get(1).is_some_and(old) {
            self.samples.pop_front();
        }
        self.samples.push_back(counts);
        let first = self.samples[0];
        let seconds = counts.at.saturating_duration_since(first.at).as_secs_f64();
        let rate = |now: u64, then: u64| {
            if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 }
        };
        Now {
            counts,
            new: rate(counts.accepted, first.accepted),
            up: rate(counts.up, first.up),
            down: rate(counts.down, first.down),
        }
    }
}

#[cfg(test)]
pub(super) fn sample(at: Instant) -> Sample {
    Sample {
        at,
        open: 0,
        accepted: 0,
        up: 0,
        down: 0,
        hops: 0,
        denied: 0,
        failed: 0,
        lost: 0,
        paused: false,
        draining: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_second() {
        let begin = Instant::now();
        let mut meter = Meter::default();
        assert!(meter.advance(sample(begin)).new.abs() < 1e-9, "no time has passed");
        let mut last = 0.0;
        // 100 connections in the first second, then none.
        for quarter in 1..=12 {
            let accepted = 25 * u64::from(quarter.min(4_u32));
            let at = begin + Duration::from_millis(250) * quarter;
            last = meter.advance(Sample { accepted, ..sample(at) }).new;
            if quarter == 4 {
                assert!((last - 100.0).abs() < 1e-9, "{last}");
            }
        }
        assert!(last.abs() < 1e-9, "{last}");
        assert!(meter.samples.len() <= 6, "old samples are forgotten");
    }

    #[test]
    fn counts_that_go_back_are_no_rate() {
        let begin = Instant::now();
        let mut meter = Meter::default();
        meter.advance(Sample { up: 100, ..sample(begin) });
        let now = meter.advance(Sample { up: 50, ..sample(begin + WINDOW) });
        assert!(now.up.abs() < 1e-9);
    }
}
