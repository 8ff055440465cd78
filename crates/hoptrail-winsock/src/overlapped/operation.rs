//! One pending operation: waiting, running or settled, and told of exactly once.

use crate::system::Descriptor;
use crate::{Error, Result};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a socket must be ready for before another attempt makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    Read,
    Write,
}

/// What came of one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// It is over: bytes transferred, or an error.
    Done(Result<usize>),
    /// Nothing can be said yet.
    NotYet(Interest),
}

/// What came of running an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ran {
    /// It is over, and who waits for it has been told.
    Told,
    /// It is pending still.
    InVain(Interest),
    /// Somebody else is ending it, or has.
    Not,
}

/// What is to be done. An attempt never blocks.
pub(crate) trait Work: Send {
    fn attempt(&mut self, fd: Descriptor) -> Step;
}

/// Who is told, once.
pub(crate) trait Completion: Send {
    fn complete(self: Box<Self>, outcome: Result<usize>);

    /// The library is shut down: nobody is told any more.
    fn forget(self: Box<Self>);
}

/// By what an operation is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ticket {
    pub(crate) fd: Descriptor,
    /// The kernel's name of the socket: the number may be another socket's by now.
    pub(crate) cookie: u64,
    /// Number of the thread that issued it and whose exit cancels it; 0 for none.
    pub(crate) issuer: u64,
    /// Address of the caller's OVERLAPPED; 0 for none.
    pub(crate) tag: usize,
}

pub(crate) struct Operation {
    pub(crate) ticket: Ticket,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    phase: Phase,
    cancelled: bool,
    work: Option<Box<dyn Work>>,
    completion: Option<Box<dyn Completion>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Waiting,
    /// An attempt is being made, without the lock.
    Running,
    /// Its completion is being told, without the lock.
    Telling,
    Settled,
}

impl Operation {
    pub(crate) fn new(ticket: Ticket, work: Box<dyn Work>, told: Box<dyn Completion>) -> Self {
        let inner = Inner {
            phase: Phase::Waiting,
            cancelled: false,
            work: Some(work),
            completion: Some(told),
        };
        Self { ticket, inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Another attempt. When it is over, `leave` is called before anybody is told: who is told may use
    /// the OVERLAPPED and the socket again at once.
    pub(crate) fn run(&self, fd: Descriptor, leave: impl FnOnce()) -> Ran {
        let mut inner = self.lock();
        if inner.phase != Phase::Waiting {
            return Ran::Not;
        }
        let Some(mut work) = inner.work.take() else { return Ran::Not };
        inner.phase = Phase::Running;
        drop(inner);
        let step = work.attempt(fd);
        let mut inner = self.lock();
        inner.phase = Phase::Waiting;
        match step {
            Step::NotYet(interest) if !inner.cancelled => {
                inner.work = Some(work);
                drop(inner);
                self.changed.notify_all();
                Ran::InVain(interest)
            }
            Step::NotYet(_) => {
                self.tell(inner, leave, |completion| completion.complete(Err(Error::ABORTED)));
                Ran::Told
            }
            Step::Done(outcome) => {
                self.tell(inner, leave, |completion| completion.complete(outcome));
                Ran::Told
            }
        }
    }

    /// Ends it with WSA_OPERATION_ABORTED, unless it has ended. Waits for an attempt under way, which
    /// does not block, so that afterwards nobody uses the descriptor.
    pub(crate) fn cancel(&self, leave: impl FnOnce()) -> bool {
        self.end(leave, |completion| completion.complete(Err(Error::ABORTED)))
    }

    /// Ends it, and tells nobody.
    pub(crate) fn forget(&self, leave: impl FnOnce()) {
        self.end(leave, Completion::forget);
    }

    /// Waits until whoever is told has been told.
    pub(crate) fn wait(&self) {
        let mut inner = self.lock();
        while inner.phase != Phase::Settled {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.lock().phase, Phase::Telling | Phase::Settled)
    }

    fn end(&self, leave: impl FnOnce(), told: impl FnOnce(Box<dyn Completion>)) -> bool {
        let mut inner = self.lock();
        while inner.phase == Phase::Running {
            inner.cancelled = true;
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.phase != Phase::Waiting {
            return false;
        }
        self.tell(inner, leave, told);
        true
    }

    fn tell(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        leave: impl FnOnce(),
        told: impl FnOnce(Box<dyn Completion>),
    ) {
        inner.phase = Phase::Telling;
        let (completion, work) = (inner.completion.take(), inner.work.take());
        drop(inner);
        // An attempt that was waited for is over.
        self.changed.notify_all();
        leave();
        completion.map(told);
        drop(work);
        self.lock().phase = Phase::Settled;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Steps(Vec<Step>);

    impl Work for Steps {
        fn attempt(&mut self, _: Descriptor) -> Step {
            self.0.remove(0)
        }
    }

    struct Tell(Sender<Result<usize>>);

    impl Completion for Tell {
        fn complete(self: Box<Self>, outcome: Result<usize>) {
            self.0.send(outcome).unwrap();
        }

        fn forget(self: Box<Self>) {}
    }

    fn operation(steps: &[Step]) -> (Operation, std::sync::mpsc::Receiver<Result<usize>>) {
        let (sender, told) = channel();
        let fd = Descriptor::new(0).unwrap();
        let ticket = Ticket { fd, cookie: 1, issuer: 0, tag: 0 };
        let work = Box::new(Steps(steps.to_vec()));
        (Operation::new(ticket, work, Box::new(Tell(sender))), told)
    }

    #[test]
    fn it_is_told_once() {
        let (op, told) = operation(&[Step::NotYet(Interest::Read), Step::Done(Ok(7))]);
        assert_eq!(op.run(op.ticket.fd, || {}), Ran::InVain(Interest::Read));
        assert!(!op.is_over());
        assert_eq!(op.run(op.ticket.fd, || {}), Ran::Told);
        assert_eq!(op.run(op.ticket.fd, || {}), Ran::Not);
        assert!(!op.cancel(|| {}));
        op.wait();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Ok(7)]);
    }

    #[test]
    fn cancelled_it_is_aborted_and_never_run_again() {
        let (op, told) = operation(&[]);
        assert!(op.cancel(|| {}));
        assert!(!op.cancel(|| {}));
        assert_eq!(op.run(op.ticket.fd, || {}), Ran::Not);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Err(Error::ABORTED)]);
    }

    #[test]
    fn forgotten_it_is_told_to_nobody() {
        let (op, told) = operation(&[]);
        op.forget(|| {});
        op.wait();
        assert_eq!(told.try_iter().count(), 0);
    }

    #[test]
    fn cancelling_waits_for_an_attempt() {
        struct Slow(std::sync::mpsc::Receiver<()>, Sender<()>);
        impl Work for Slow {
            fn attempt(&mut self, _: Descriptor) -> Step {
                self.1.send(()).unwrap();
                self.0.recv().unwrap();
                Step::NotYet(Interest::Read)
            }
        }
        let (go_on, goes_on) = channel();
        let (begun, has_begun) = channel();
        let (sender, told) = channel();
        let fd = Descriptor::new(0).unwrap();
        let ticket = Ticket { fd, cookie: 1, issuer: 0, tag: 0 };
        let op = Operation::new(ticket, Box::new(Slow(goes_on, begun)), Box::new(Tell(sender)));
        std::thread::scope(|scope| {
            scope.spawn(|| op.run(fd, || {}));
            has_begun.recv().unwrap();
            let cancelling = scope.spawn(|| op.cancel(|| {}));
            assert!(told.try_recv().is_err());
            go_on.send(()).unwrap();
            cancelling.join().unwrap();
        });
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Err(Error::ABORTED)]);
    }
}
