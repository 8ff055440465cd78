//! Whom a drain had to reset.

use super::log::Ended;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// More than a person reads; the log has them all.
const KEPT: usize = 100;

/// The connections that were still open at the deadline.
#[derive(Default, Debug)]
pub struct Drained {
    count: AtomicU64,
    first: Mutex<Vec<Ended>>,
}

impl Drained {
    pub(super) fn add(&self, ended: Ended) {
        if self.count.fetch_add(1, Relaxed) < KEPT as u64 {
            self.first.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// The first hundred of them.
    #[must_use]
    pub fn first(&self) -> Vec<Ended> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
