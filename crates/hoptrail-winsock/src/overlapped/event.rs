//! Events: signalled or not, with the threads that wait for it.

use crate::thread::Thread;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) struct Event {
    /// Stays signalled until it is reset; otherwise the first wait that succeeds resets it.
    manual: bool,
    signalled: AtomicBool,
    waiters: Mutex<Vec<Arc<Thread>>>,
}

impl Event {
    pub(crate) const fn new(manual: bool, signalled: bool) -> Self {
        Self { manual, signalled: AtomicBool::new(signalled), waiters: Mutex::new(Vec::new()) }
    }

    pub(crate) fn set(&self) {
        self.signalled.store(true, Ordering::SeqCst);
        for waiter in self.waiters.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            waiter.wake();
        }
    }

    pub(crate) fn reset(&self) {
        self.signalled.store(false, Ordering::SeqCst);
    }

    /// Whether a wait for it succeeds now; takes the signal of one that resets itself.
    pub(super) fn take(&self) -> bool {
        if self.manual {
            return self.signalled.load(Ordering::SeqCst);
        }
        self.signalled.compare_exchange(true, false, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Undoes [`take`](Self::take), for a wait for several that cannot have them all.
    pub(super) fn give_back(&self) {
        if !self.manual {
            self.set();
        }
    }

    pub(super) fn enlist(&self, waiter: &Arc<Thread>) {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(waiter));
    }

    pub(super) fn dismiss(&self, waiter: &Arc<Thread>) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = waiters.iter().position(|w| Arc::ptr_eq(w, waiter)) {
            waiters.swap_remove(at);
        }
    }
}
