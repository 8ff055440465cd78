//! Live counts of one worker, written by it alone and read by metrics and the live line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A worker's counts. Bytes are counted as they move; what an ended connection was is the observer's.
#[derive(Default, Debug)]
pub struct Counters {
    /// Connections and flows accepted so far.
    pub accepted: AtomicU64,
    /// Of those, open now.
    pub open: AtomicU64,
    /// Bytes passed on from clients.
    pub from_client: AtomicU64,
    /// Bytes passed on from upstreams.
    pub from_upstream: AtomicU64,
    /// Pipes in use for splicing now.
    pub pipes: AtomicU64,
}

impl Counters {
    /// Adds without a locked instruction: only the worker itself writes.
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
    }

    /// Says what it is now.
    pub(crate) fn set(counter: &AtomicU64, to: u64) {
        counter.store(to, Relaxed);
    }

    /// Takes away likewise.
    pub(crate) fn sub(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Relaxed).wrapping_sub(by), Relaxed);
    }
}
