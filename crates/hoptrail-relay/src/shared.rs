//! What all workers of a relay share.

use crate::config::Config;
use crate::congestion::OnLoopback;
use crate::drain::Drain;
use crate::inbox::Inbox;
use crate::ledger::Observer;
use crate::relay::Parts;
use crate::rules::Rules;
use crate::session::Session;
use crate::tap::Taps;
use crate::upstream::Upstream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Settings, rules, and who is told.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) upstream: Upstream,
    pub(crate) listeners: Vec<OwnedFd>,
    /// One for each worker.
    pub(crate) inboxes: Vec<Inbox<Box<Session>>>,
    pub(crate) drain: Drain,
    pub(crate) on_loopback: OnLoopback,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) taps: Option<Arc<dyn Taps>>,
    pub(crate) places: Places,
    rules: Mutex<Arc<Rules>>,
    /// Counts the rules that were put in force, so that workers need the lock only for new ones.
    rules_version: AtomicU64,
    paused: AtomicBool,
}

/// How many connections there may be.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    taken: AtomicUsize,
}

/// A worker's own copy of the rules in force.
pub(crate) struct CurrentRules {
    rules: Arc<Rules>,
    version: u64,
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        parts: Parts,
        listeners: Vec<OwnedFd>,
        on_loopback: OnLoopback,
        places: Places,
    ) -> std::io::Result<Self> {
        let inboxes =
            (0..config.workers().get()).map(|_| Inbox::new()).collect::<Result<_, _>>()?;
        Ok(Self {
            config,
            upstream: parts.upstream,
            listeners,
            on_loopback,
            inboxes,
            drain: Drain::new()?,
            observer: parts.observer,
            taps: parts.taps,
            places,
            rules: Mutex::new(parts.rules),
            rules_version: AtomicU64::new(0),
            paused: AtomicBool::new(false),
        })
    }

    /// Puts other rules in force, for connections that are decided from now on.
    pub(crate) fn set_rules(&self, rules: Arc<Rules>) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
        self.rules_version.fetch_add(1, Ordering::Release);
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells the observer once that accepting stops, or goes on, whichever worker sees it first.
    pub(crate) fn tell_paused(&self, paused: bool) {
        if self.paused.load(Ordering::Relaxed) != paused
            && self.paused.swap(paused, Ordering::Relaxed) != paused
        {
            self.observer.accepting_paused(paused);
        }
    }
}

impl Places {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { limit, taken: AtomicUsize::new(0) }
    }

    /// Takes a place; false when there is none.
    pub(crate) fn take(&self) -> bool {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        if taken >= self.limit {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(crate) fn free(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn any(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.limit
    }
}

impl CurrentRules {
    pub(crate) fn of(shared: &Shared) -> Self {
        let version = shared.rules_version.load(Ordering::Acquire);
        Self { rules: shared.rules(), version }
    }

    pub(crate) fn get(&mut self, shared: &Shared) -> &Arc<Rules> {
        if self.version != shared.rules_version.load(Ordering::Acquire) {
            *self = Self::of(shared);
        }
        &self.rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded() {
        let places = Places::new(2);
        assert!(places.take() && places.take());
        assert!(!places.take() && !places.any());
        places.free();
        assert!(places.any() && places.take());
    }
}
