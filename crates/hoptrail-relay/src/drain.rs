//! Telling every worker to stop: no new connections, the open ones may finish until a deadline.

use crate::clock;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{retry_on_intr, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NOT_YET: u64 = u64::MAX;

/// The order to stop, and until when. Workers wait on its descriptor among others.
#[derive(Debug)]
pub struct Drain {
    event: OwnedFd,
    deadline: AtomicU64,
}

impl Drain {
    /// Not draining.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, deadline: AtomicU64::new(NOT_YET) })
    }

    /// Stop accepting; what is open then may finish for that long. Given again, an earlier deadline
    /// counts.
    pub fn begin(&self, within: Duration) {
        let within = u64::try_from(within.as_nanos()).unwrap_or(NOT_YET);
        let deadline = clock::now().saturating_add(within).min(NOT_YET - 1);
        self.deadline.fetch_min(deadline, Ordering::SeqCst);
        // It is never read, so it stays readable, and each write is an edge of its own. A counter
        // that is full is readable too.
        let _ = retry_on_intr(|| write(&self.event, &1u64.to_ne_bytes()));
    }

    /// Until when, in nanoseconds of [`clock`](crate::ledger::Ledger::opened_ns); nothing when not
    /// draining.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        Some(self.deadline.load(Ordering::SeqCst)).filter(|&deadline| deadline != NOT_YET)
    }
}

impl AsFd for Drain {
    /// Readable from the moment when draining began.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(drain: &Drain) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(drain, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn the_earlier_deadline_counts() {
        let drain = Drain::new().unwrap();
        assert!(drain.deadline().is_none() && !readable(&drain));
        drain.begin(Duration::from_secs(10));
        let first = drain.deadline().unwrap();
        drain.begin(Duration::from_secs(100));
        assert_eq!(drain.deadline(), Some(first));
        drain.begin(Duration::ZERO);
        assert!(drain.deadline().unwrap() < first && readable(&drain));
    }

    #[test]
    fn for_ever_is_a_deadline_too() {
        let drain = Drain::new().unwrap();
        drain.begin(Duration::MAX);
        assert!(drain.deadline().is_some());
    }
}
