//! Synchronous calls that have to wait: in the caller's own thread, interruptible by a signal, by
//! `WSACancelBlockingCall`, and by closing the socket.

use super::operation::{Interest, Step};
use crate::system::Descriptor;
use crate::{Error, Result, world};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A thread that waits in a call.
pub(crate) struct Blocked {
    fd: Descriptor,
    cookie: u64,
    wake: OwnedFd,
}

thread_local! {
    /// What wakes this thread's blocking call: read by signal handlers, so a plain number.
    static WAKE: Cell<i32> = const { Cell::new(-1) };
}

/// Makes attempts until there is an answer, as the socket's mode allows.
#[inline]
pub(crate) fn finish(
    fd: Descriptor,
    limit: Option<Duration>,
    mut attempt: impl FnMut() -> Step,
) -> Result<usize> {
    match attempt() {
        Step::Done(outcome) => outcome,
        Step::NotYet(interest) => wait_and_go_on(fd, limit, interest, &mut attempt),
    }
}

#[cold]
fn wait_and_go_on(
    fd: Descriptor,
    limit: Option<Duration>,
    mut interest: Interest,
    attempt: &mut dyn FnMut() -> Step,
) -> Result<usize> {
    if fd.is_nonblocking() {
        return Err(Error::WOULD_BLOCK);
    }
    let waiting = Waiting::new(fd)?;
    loop {
        waiting.until_ready(interest, limit)?;
        match attempt() {
            Step::Done(outcome) => return outcome,
            Step::NotYet(next) => interest = next,
        }
    }
}

/// Interrupts the calls that wait for this socket, since it is about to be closed.
pub(crate) fn interrupt_socket(fd: Descriptor, cookie: u64) {
    let all = world::get().blocked.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|b| b.fd == fd && b.cookie == cookie).for_each(|b| b.interrupt());
}

/// Interrupts every call that waits.
pub(crate) fn interrupt_all() {
    let all = world::get().blocked.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().for_each(|b| b.interrupt());
}

/// `WSACancelBlockingCall`, from a signal handler: whether this thread was in a blocking call.
pub(crate) fn cancel_own() -> bool {
    let wake = WAKE.get();
    wake >= 0 && notify(Descriptor::new(wake as usize).map(Descriptor::fd))
}

fn notify(wake: Option<BorrowedFd<'_>>) -> bool {
    wake.is_some_and(|wake| rustix::io::write(wake, &1u64.to_ne_bytes()).is_ok())
}

impl Blocked {
    fn interrupt(&self) {
        notify(Descriptor::new(self.wake.as_raw_fd() as usize).map(Descriptor::fd));
    }
}

/// The wait is known to others as long as this lives.
struct Waiting {
    blocked: Arc<Blocked>,
    before: i32,
}

impl Waiting {
    fn new(fd: Descriptor) -> Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let blocked = Arc::new(Blocked { fd, cookie: fd.cookie()?, wake });
        let mut all = world::get().blocked.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&blocked));
        drop(all);
        let before = WAKE.replace(blocked.wake.as_raw_fd());
        Ok(Self { blocked, before })
    }

    fn until_ready(&self, interest: Interest, limit: Option<Duration>) -> Result<()> {
        let flags = match interest {
            Interest::Read => PollFlags::IN,
            Interest::Write => PollFlags::OUT,
        };
        let mut polled = [
            PollFd::from_borrowed_fd(self.blocked.fd.fd(), flags),
            PollFd::new(&self.blocked.wake, PollFlags::IN),
        ];
        let limit = limit.map(|d| Timespec {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: d.subsec_nanos().into(),
        });
        if poll(&mut polled, limit.as_ref())? == 0 {
            return Err(Error::Code(crate::codes::WSAETIMEDOUT));
        }
        if !polled[1].revents().is_empty() {
            return Err(Error::INTERRUPTED);
        }
        // Closed, and perhaps another socket by now.
        if self.blocked.fd.cookie()? != self.blocked.cookie {
            return Err(Error::INTERRUPTED);
        }
        Ok(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAKE.set(self.before);
        let mut all = world::get().blocked.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|b| !Arc::ptr_eq(b, &self.blocked));
    }
}
