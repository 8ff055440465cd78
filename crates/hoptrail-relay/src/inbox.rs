//! Connections that one worker has accepted and dialled for another one that has less to do.
//!
//! All workers wait at the same listeners, and the kernel wakes whichever it finds asleep: often the
//! same one. Left at that, one worker may hold all of a client's kept-alive connections while the
//! others sleep.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{retry_on_intr, write};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a worker that takes no more has to do, to the others: more than any of them.
const CLOSED: usize = usize::MAX / 2;

/// What a worker is given by the others, and how much it has to do. Each has cache lines of its own: every
/// connection counts itself in and out.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Inbox<T> {
    bell: OwnedFd,
    /// Connections that are this worker's, those in the box included.
    load: AtomicUsize,
    post: Mutex<Post<T>>,
}

#[derive(Debug)]
struct Post<T> {
    arrived: VecDeque<T>,
    closed: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let post = Mutex::new(Post { arrived: VecDeque::new(), closed: false });
        Ok(Self { bell, load: AtomicUsize::new(0), post })
    }

    /// Connections that are this worker's; far more when it takes no more.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Relaxed)
    }

    /// One more is this worker's.
    pub(crate) fn enter(&self) {
        self.load.fetch_add(1, Relaxed);
    }

    /// One has ended.
    pub(crate) fn leave(&self) {
        self.load.fetch_sub(1, Relaxed);
    }

    /// Gives the worker a connection, and wakes it; or gives it back when the worker takes no more.
    pub(crate) fn put(&self, connection: T) -> Result<(), T> {
        let mut post = self.lock();
        if post.closed {
            return Err(connection);
        }
        self.enter();
        post.arrived.push_back(connection);
        let first = post.arrived.len() == 1;
        drop(post);
        if first {
            // It is never read: each write is an edge of its own, and a full counter is one too.
            let _ = retry_on_intr(|| write(&self.bell, &1u64.to_ne_bytes()));
        }
        Ok(())
    }

    /// The next connection.
    pub(crate) fn take(&self) -> Option<T> {
        self.lock().arrived.pop_front()
    }

    /// Takes no more from now on, and hands out what is there.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut post = self.lock();
        if !post.closed {
            self.load.fetch_add(CLOSED, Relaxed);
        }
        post.closed = true;
        std::mem::take(&mut post.arrived)
    }

    fn lock(&self) -> MutexGuard<'_, Post<T>> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for Inbox<T> {
    /// Has an edge whenever something was put into the empty box.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// The one that should have the next connection instead of worker `own`: nothing when none has
/// clearly less to do. Handing over wakes a thread, which a difference of one is not worth.
pub(crate) fn lighter<T>(inboxes: &[Inbox<T>], own: usize) -> Option<&Inbox<T>> {
    let most = inboxes[own].load().checked_sub(2)?;
    inboxes.iter().min_by_key(|inbox| inbox.load()).filter(|inbox| inbox.load() <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_box_gives_everything_out_and_takes_nothing() {
        let inbox = Inbox::new().unwrap();
        (1..=3).for_each(|n| inbox.put(n).unwrap());
        assert_eq!((inbox.take(), inbox.load()), (Some(1), 3));
        assert_eq!(inbox.close(), [2, 3]);
        assert_eq!((inbox.put(4), inbox.take(), inbox.load()), (Err(4), None, 3 + CLOSED));
        assert!(inbox.close().is_empty() && inbox.load() == 3 + CLOSED);
    }

    #[test]
    fn the_lightest_is_asked_when_it_has_clearly_less() {
        let inboxes: Vec<Inbox<u8>> = (0..3).map(|_| Inbox::new().unwrap()).collect();
        let chosen = |own| lighter(&inboxes, own).map(std::ptr::from_ref);
        assert_eq!(chosen(0), None);
        inboxes[0].enter();
        assert_eq!(chosen(0), None);
        inboxes[0].enter();
        inboxes[1].enter();
        assert_eq!(chosen(0), Some(std::ptr::from_ref(&inboxes[2])));
        assert_eq!((chosen(1), chosen(2)), (None, None));
        inboxes[2].close();
        inboxes[0].enter();
        assert_eq!(chosen(0), Some(std::ptr::from_ref(&inboxes[1])));
    }
}
