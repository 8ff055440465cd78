//! The control codes as typed requests.
//!
//! [`call`] is synchronous and waits as the socket's mode says; [`start`] is overlapped, and gives a
//! [`Pending`], which is a future that needs no runtime, or can be waited for.
//!
//! What pends is a query of a connection that is not linked yet: of a TCP socket whose connect is under
//! way, or of a connected UDP socket whose peer has not sent anything. Everything else is answered at
//! once.

use crate::overlapped::{Completion, Interest, Operation, Step, Ticket, Work, finish};
use crate::requests::What;
use crate::system::Descriptor;
use crate::{Error, Result, codes, world};
use hoptrail::{Context, Records};
use std::future::Future;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use task::{Task, Typed};

/// A control code with its arguments.
pub trait Request: task::Typed {
    /// Its documented number.
    const CODE: u32;
}

/// SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS: the records of the redirected connection.
#[derive(Clone, Copy, Debug)]
pub struct QueryRecords;

/// SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT: the context of the redirect that delivered it.
#[derive(Clone, Copy, Debug)]
pub struct QueryContext;

/// SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS: sets records on a new TCP socket.
#[derive(Clone, Debug)]
pub struct SetRecords(
    /// What was queried, unchanged.
    pub Records,
);

impl Request for QueryRecords {
    const CODE: u32 = codes::SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS;
}

impl Request for QueryContext {
    const CODE: u32 = codes::SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT;
}

impl Request for SetRecords {
    const CODE: u32 = codes::SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS;
}

impl Typed for QueryRecords {
    type Typed = Records;

    fn task(self) -> Task {
        Task::query(What::Records)
    }

    fn typed(bytes: &[u8]) -> Result<Records> {
        Ok(Records::from_bytes(bytes))
    }
}

impl Typed for QueryContext {
    type Typed = Context;

    fn task(self) -> Task {
        Task::query(What::Context)
    }

    fn typed(bytes: &[u8]) -> Result<Context> {
        Context::parse(bytes).ok_or(Error::Invalid(
            "the context has a layout that is newer than this library; update the library",
        ))
    }
}

impl Typed for SetRecords {
    type Typed = ();

    fn task(self) -> Task {
        Task::set(self.0)
    }

    fn typed(_: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// Makes a request and waits for its answer.
///
/// # Errors
/// [`Error::NoRecords`], [`Error::NoEngine`], WSAENOTCONN, WSAEACCES (of a SET), WSAEINVAL and others
/// as documented for the code; WSAEWOULDBLOCK where a non-blocking socket would have to wait, WSAEINTR
/// when a signal interrupts a wait.
pub fn call<R: Request>(socket: &impl AsFd, request: R) -> Result<R::Typed> {
    let fd = Descriptor::of(socket);
    let mut task = request.task();
    let bytes = finish(fd, None, || without_waiting_for_a_datagram(task.attempt(fd)))?;
    R::typed(&task.buffer[..bytes.min(task.buffer.len())])
}

/// Makes a request that may complete later.
///
/// # Errors
/// What is wrong at once, as for [`call`].
pub fn start<'s, R: Request>(socket: &'s impl AsFd, request: R) -> Result<Pending<'s, R::Typed>> {
    let fd = Descriptor::of(socket);
    let mut task = request.task();
    let shared = Arc::new(Shared::default());
    let mut pending = Pending {
        shared: Arc::clone(&shared),
        operation: None,
        output: R::typed,
        socket: PhantomData,
    };
    match task.attempt(fd) {
        Step::Done(outcome) => shared.settle(outcome, task.buffer),
        Step::NotYet(interest) => {
            let ticket = Ticket { fd, cookie: fd.cookie()?, issuer: 0, tag: 0 };
            let work = Tracked { task: Some(task), shared: Arc::clone(&shared) };
            let operation = Operation::new(ticket, Box::new(work), Box::new(Told(shared)));
            let operation = Arc::new(operation);
            world::get().reactor()?.submit(&operation, interest)?;
            pending.operation = Some(operation);
        }
    }
    Ok(pending)
}

/// A synchronous query of a connected UDP socket does not wait for a datagram that may never come.
pub(crate) const fn without_waiting_for_a_datagram(step: Step) -> Step {
    match step {
        Step::NotYet(Interest::Read) => Step::Done(Err(Error::NoRecords)),
        other => other,
    }
}

/// What this process has of the library's right now, C's included: for finding leaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Live {
    /// Pending operations.
    pub operations: usize,
    /// Open handles of events, completion ports and threads.
    pub handles: usize,
    /// Sockets with an attribute, a completion port or switches of their own.
    pub sockets: usize,
}

/// Counts what is live.
#[must_use]
pub fn live() -> Live {
    let world = world::get();
    Live {
        operations: world.pending(),
        handles: world.handles.count(),
        sockets: world.sockets.count(),
    }
}

/// A request under way. Dropping it cancels it.
#[must_use = "dropping it cancels the request"]
pub struct Pending<'s, T> {
    shared: Arc<Shared>,
    operation: Option<Arc<Operation>>,
    output: fn(&[u8]) -> Result<T>,
    socket: PhantomData<&'s ()>,
}

impl<T> Pending<'_, T> {
    /// Whether the answer is there.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.lock().outcome.is_some()
    }

    /// Ends it with WSA_OPERATION_ABORTED, unless the answer is there.
    pub fn cancel(&self) {
        if let (Some(operation), Some(reactor)) = (&self.operation, world::get().running_reactor())
        {
            reactor.cancel(std::slice::from_ref(operation));
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`call`]; WSA_OPERATION_ABORTED when it was cancelled.
    pub fn wait(self) -> Result<T> {
        if let Some(operation) = &self.operation {
            operation.wait();
        }
        self.take().unwrap_or(Err(Error::ABORTED))
    }

    fn take(&self) -> Option<Result<T>> {
        let mut state = self.shared.lock();
        let outcome = state.outcome.take()?;
        let buffer = std::mem::take(&mut state.buffer);
        Some(outcome.and_then(|bytes| (self.output)(&buffer[..bytes.min(buffer.len())])))
    }
}

impl<T> Future for Pending<'_, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.take() {
            return Poll::Ready(result);
        }
        self.shared.lock().waker = Some(cx.waker().clone());
        // It may have come in between.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for Pending<'_, T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl<T> std::fmt::Debug for Pending<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}

/// What the future and the thread that makes the attempts share.
#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    outcome: Option<Result<usize>>,
    buffer: Vec<u8>,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, outcome: Result<usize>, buffer: Vec<u8>) {
        let mut state = self.lock();
        state.outcome = Some(outcome);
        state.buffer = buffer;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            // The thread of all operations must not end because of one executor.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

struct Tracked {
    task: Option<Task>,
    shared: Arc<Shared>,
}

impl Work for Tracked {
    fn attempt(&mut self, fd: Descriptor) -> Step {
        let Some(task) = &mut self.task else { return Step::Done(Err(Error::ABORTED)) };
        let step = task.attempt(fd);
        if matches!(step, Step::Done(_))
            && let Some(task) = self.task.take()
        {
            self.shared.lock().buffer = task.buffer;
        }
        step
    }
}

struct Told(Arc<Shared>);

impl Completion for Told {
    fn complete(self: Box<Self>, outcome: Result<usize>) {
        let buffer = std::mem::take(&mut self.0.lock().buffer);
        self.0.settle(outcome, buffer);
    }

    fn forget(self: Box<Self>) {
        self.complete(Err(Error::ABORTED));
    }
}

/// What callers of this module cannot name.
mod task {
    use crate::overlapped::Step;
    use crate::requests::{self, What};
    use crate::system::{Descriptor, Span};
    use crate::{Error, Result};
    use hoptrail::Records;

    /// More than any value of this version; a longer one is asked for again.
    const ROOM: usize = 4096;

    /// A request with the memory that it needs.
    #[derive(Debug)]
    pub struct Task {
        kind: Kind,
        pub(super) buffer: Vec<u8>,
    }

    #[derive(Debug)]
    enum Kind {
        Query(What),
        Set(Records),
    }

    pub trait Typed: Sized {
        type Typed;
        fn task(self) -> Task;
        fn typed(bytes: &[u8]) -> Result<Self::Typed>;
    }

    impl Task {
        pub(super) fn query(what: What) -> Self {
            Self { kind: Kind::Query(what), buffer: vec![0; ROOM] }
        }

        pub(super) const fn set(records: Records) -> Self {
            Self { kind: Kind::Set(records), buffer: Vec::new() }
        }

        pub(super) fn attempt(&mut self, fd: Descriptor) -> Step {
            match &self.kind {
                Kind::Set(records) => {
                    let from = Span::of(records.as_bytes());
                    Step::Done(requests::set(fd, from).map(|()| 0))
                }
                Kind::Query(what) => {
                    let what = *what;
                    match what.query(fd, Span::of_mut(&mut self.buffer)) {
                        Step::Done(Err(Error::InsufficientBuffer(needed))) => {
                            self.buffer.resize(needed as usize, 0);
                            what.query(fd, Span::of_mut(&mut self.buffer))
                        }
                        step => step,
                    }
                }
            }
        }
    }
}
