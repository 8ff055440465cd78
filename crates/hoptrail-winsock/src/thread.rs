//! Threads as Winsock knows them: each with its queue of routines to run (APCs), whose operations end
//! when it does.

use crate::overlapped::{Waited, sleep};
use crate::world;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A routine that a thread is to run.
pub(crate) type Apc = Box<dyn FnOnce() + Send>;

pub(crate) struct Thread {
    pub(crate) id: u64,
    inner: Mutex<Inner>,
    woken: Condvar,
}

#[derive(Default)]
struct Inner {
    apcs: VecDeque<Apc>,
    /// Something has happened since the thread last looked.
    token: bool,
    ended: bool,
}

/// The thread's own; ends it when the thread's variables are destroyed.
struct Own(Arc<Thread>);

thread_local! {
    static OWN: RefCell<Option<Own>> = const { RefCell::new(None) };
    /// How many routines are running, one in another.
    static ROUTINES: Cell<u32> = const { Cell::new(0) };
}

impl Thread {
    fn new() -> Arc<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let id = NUMBER.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { id, inner: Mutex::default(), woken: Condvar::new() })
    }

    /// Queues a routine; not for a thread that has ended.
    pub(crate) fn queue(&self, apc: Apc) -> bool {
        let mut inner = self.lock();
        if inner.ended {
            return false;
        }
        inner.apcs.push_back(apc);
        inner.token = true;
        drop(inner);
        self.woken.notify_all();
        true
    }

    pub(crate) fn wake(&self) {
        self.lock().token = true;
        self.woken.notify_all();
    }

    /// Waits until it is woken. Only for the thread itself.
    pub(crate) fn park(&self, limit: Option<Duration>) {
        let mut inner = self.lock();
        if !inner.token {
            inner = match limit {
                None => self.woken.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    self.woken.wait_timeout(inner, limit).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inner.token = false;
    }

    fn next(&self) -> Option<Apc> {
        self.lock().apcs.pop_front()
    }

    fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        let left = std::mem::take(&mut inner.apcs);
        drop(inner);
        drop(left);
        world::get().cancel_thread(self.id);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The calling thread. One that is just ending gets a new, nameless one.
pub(crate) fn current() -> Arc<Thread> {
    let own = OWN.try_with(|own| {
        let mut own = own.borrow_mut();
        Arc::clone(&own.get_or_insert_with(|| Own(Thread::new())).0)
    });
    own.unwrap_or_else(|_| {
        let thread = Thread::new();
        thread.lock().ended = true;
        thread
    })
}

/// Runs the routines that are queued, also those that they queue; whether there were any.
pub(crate) fn run_apcs(thread: &Thread) -> bool {
    let mut any = false;
    while let Some(apc) = thread.next() {
        any = true;
        let _running = Running::new();
        apc();
    }
    any
}

/// Whether a routine of this thread is running.
#[inline]
pub(crate) fn in_routine() -> bool {
    ROUTINES.with(|n| n.get() != 0)
}

/// `SleepEx`.
pub(crate) fn sleep_ex(limit: Option<Duration>, alertable: bool) -> bool {
    sleep(limit, alertable) == Waited::Alerted
}

/// In a child of fork: the queue may be locked by a thread that the child does not have. So it is left
/// where it is, and the thread gets a new one.
pub(crate) fn renew_after_fork() {
    let _ = OWN.try_with(|own| std::mem::forget(own.borrow_mut().take()));
}

struct Running;

impl Running {
    fn new() -> Self {
        ROUTINES.with(|n| n.set(n.get() + 1));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        ROUTINES.with(|n| n.set(n.get() - 1));
    }
}
