//! An observer that keeps what it is told, so that a test can wait for it.

use hoptrail_relay::ledger::{End, Ledger, Observer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(crate) struct Record {
    opened: AtomicU64,
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    ended: Vec<(Ledger, End)>,
    paused: Vec<bool>,
}

impl Record {
    /// The next connection that has ended.
    pub(crate) fn next_end(&self) -> (Ledger, End) {
        self.ends(1).remove(0)
    }

    /// The next `n` connections that have ended.
    pub(crate) fn ends(&self, n: usize) -> Vec<(Ledger, End)> {
        self.wait(|told| (told.ended.len() >= n).then(|| told.ended.drain(..n).collect()))
    }

    /// How many connections have ended and were not asked for.
    pub(crate) fn ended(&self) -> usize {
        self.told().ended.len()
    }

    /// Forgets those that have ended.
    pub(crate) fn forget(&self) {
        self.told().ended.clear();
    }

    /// How many have been opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Waits until accepting was paused, or goes on, for the `n`th time, and gives all that was told so far.
    pub(crate) fn pauses(&self, n: usize) -> Vec<bool> {
        self.wait(|told| (told.paused.len() >= n).then(|| told.paused.clone()))
    }

    /// What was told of pauses so far.
    pub(crate) fn pauses_now(&self) -> Vec<bool> {
        self.told().paused.clone()
    }

    fn wait<T>(&self, mut done: impl FnMut(&mut Told) -> Option<T>) -> T {
        let mut told = self.told();
        loop {
            if let Some(found) = done(&mut told) {
                return found;
            }
            let (next, waited) = self.changed.wait_timeout(told, PATIENCE).unwrap();
            told = next;
            assert!(!waited.timed_out(), "the relay has told nothing more for {PATIENCE:?}");
        }
    }
}

impl Record {
    /// Also after a test has failed in the middle.
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Observer for Record {
    fn opened(&self, _: &Ledger) {
        self.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self, ledger: &Ledger, end: End) {
        self.told().ended.push((ledger.clone(), end));
        self.changed.notify_all();
    }

    fn accepting_paused(&self, paused: bool) {
        self.told().paused.push(paused);
        self.changed.notify_all();
    }
}
