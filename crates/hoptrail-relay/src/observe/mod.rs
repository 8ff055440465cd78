//! What a relay tells of its connections: a line when each ends, metrics, a live line. Nothing here makes a worker
//! wait.

mod drained;
mod human;
pub mod live;
pub mod log;
pub mod metrics;
#[cfg(test)]
pub(crate) mod sample;
mod tally;
mod words;

pub use drained::Drained;
pub use tally::Tally;

use crate::clock;
use crate::ledger::{End, Ledger, Observer};
use log::{Ended, Log};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// The observer of a relay: counts, writes the log, and remembers whom a drain had to reset.
#[derive(Debug)]
pub struct Observation {
    /// What ended, and how.
    pub tally: Tally,
    /// The log; nothing where none is wanted.
    pub log: Option<Log>,
    /// Whom a drain had to reset.
    pub drained: Drained,
    draining: AtomicBool,
}

impl Observation {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(log: Option<Log>) -> Self {
        let (tally, drained) = (Tally::default(), Drained::default());
        Self { tally, log, drained, draining: AtomicBool::new(false) }
    }

    /// From now on the relay finishes what is open.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether it does.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }
}

impl Observer for Observation {
    fn opened(&self, ledger: &Ledger) {
        self.tally.opened(ledger);
    }

    fn ended(&self, ledger: &Ledger, end: End) {
        let lasted = Duration::from_nanos(clock::now().saturating_sub(ledger.opened_ns));
        self.tally.ended(ledger, end, lasted);
        // The copy is for those that keep it.
        let ended = || Ended { ledger: ledger.clone(), end, time: SystemTime::now(), lasted };
        if end == End::Drained {
            self.drained.add(ended());
        }
        if let Some(log) = &self.log {
            log.tell(ended());
        }
    }

    fn accepting_paused(&self, paused: bool) {
        self.tally.paused(paused);
    }
}
