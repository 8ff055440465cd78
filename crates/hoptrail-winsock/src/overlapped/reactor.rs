//! The one thread that makes further attempts at pending operations when their sockets are ready.
//!
//! It is started by the first operation that pends. It owns no descriptor of the caller between
//! attempts: a connection that is closed behind this library's back ends as if nobody watched it, and
//! its operations are found within [`SWEEP`].

use super::operation::{Interest, Operation, Ran};
use crate::system::{self, Descriptor};
use crate::{Error, Result};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether sockets with pending operations are still open.
const SWEEP: Duration = Duration::from_secs(1);
/// The key of the descriptor that wakes the thread; no socket has it, since keys begin with a number
/// that fits 31 bits.
const WAKE: u64 = u64::MAX;
/// Events taken at once.
const BATCH: usize = 64;

pub(crate) struct Reactor {
    epoll: OwnedFd,
    wake: OwnedFd,
    pending: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    watches: HashMap<u64, Watch>,
    tags: HashMap<usize, Arc<Operation>>,
}

struct Watch {
    fd: Descriptor,
    cookie: u64,
    operations: Vec<(Arc<Operation>, Interest)>,
}

impl Reactor {
    /// Starts the thread.
    ///
    /// # Errors
    /// When descriptors or threads ran out.
    pub(crate) fn start() -> Result<&'static Self> {
        let reactor: &'static Self = Box::leak(Box::new(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            pending: AtomicUsize::new(0),
            table: Mutex::default(),
        }));
        epoll::add(&reactor.epoll, &reactor.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        std::thread::Builder::new()
            .name("hoptrail-winsock".into())
            .spawn(move || reactor.serve())
            .map_err(|_| Error::Code(crate::codes::WSAENOBUFS))?;
        Ok(reactor)
    }

    /// Takes an operation whose first attempt was in vain.
    ///
    /// # Errors
    /// When its tag is in use, or the kernel cannot watch its socket.
    pub(crate) fn submit(&self, operation: &Arc<Operation>, interest: Interest) -> Result<()> {
        let ticket = operation.ticket;
        let key = key(ticket.fd, ticket.cookie);
        let mut table = self.lock();
        if table.tags.get(&ticket.tag).is_some_and(|former| !former.is_over()) {
            return Err(Error::Invalid("this OVERLAPPED is in use by a pending operation"));
        }
        let new = Watch { fd: ticket.fd, cookie: ticket.cookie, operations: Vec::new() };
        let watch = table.watches.entry(key).or_insert(new);
        watch.operations.push((Arc::clone(operation), interest));
        if let Err(error) = self.arm(key, watch) {
            watch.operations.pop();
            if watch.operations.is_empty() {
                table.watches.remove(&key);
            }
            return Err(error);
        }
        if ticket.tag != 0 {
            table.tags.insert(ticket.tag, Arc::clone(operation));
        }
        let first = self.pending.fetch_add(1, Ordering::SeqCst) == 0;
        drop(table);
        if first {
            // From now on it looks at the clock, too.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
        Ok(())
    }

    /// How many operations are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    /// The pending operation of an OVERLAPPED.
    pub(crate) fn by_tag(&self, tag: usize) -> Option<Arc<Operation>> {
        self.lock().tags.get(&tag).cloned()
    }

    /// The pending operations that were issued through this descriptor.
    pub(crate) fn of_socket(&self, fd: Descriptor, cookie: u64) -> Vec<Arc<Operation>> {
        let table = self.lock();
        let watch = table.watches.get(&key(fd, cookie)).filter(|watch| watch.cookie == cookie);
        watch.map(Watch::all).unwrap_or_default()
    }

    /// The pending operations of which something holds.
    pub(crate) fn select(&self, holds: impl Fn(&Operation) -> bool) -> Vec<Arc<Operation>> {
        if self.pending() == 0 {
            return Vec::new();
        }
        let table = self.lock();
        let all = table.watches.values().flat_map(|w| &w.operations);
        all.filter(|(op, _)| holds(op)).map(|(op, _)| Arc::clone(op)).collect()
    }

    /// Ends operations, and gives how many it was that ended.
    pub(crate) fn cancel(&self, operations: &[Arc<Operation>]) -> usize {
        let ended = operations.iter().filter(|op| op.cancel(|| self.unwatch(op)));
        ended.inspect(|op| self.untag(op)).count()
    }

    /// Ends operations, and tells nobody.
    pub(crate) fn forget(&self, operations: &[Arc<Operation>]) {
        for operation in operations {
            operation.forget(|| self.unwatch(operation));
            self.untag(operation);
        }
    }

    /// The OVERLAPPED no longer means an operation. After it was told: until then, whoever wants the
    /// result has to wait for it.
    fn untag(&self, operation: &Arc<Operation>) {
        let (tag, mut table) = (operation.ticket.tag, self.lock());
        if table.tags.get(&tag).is_some_and(|op| Arc::ptr_eq(op, operation)) {
            table.tags.remove(&tag);
        }
    }

    /// Removes an operation that is over and about to be told.
    fn unwatch(&self, operation: &Arc<Operation>) {
        let ticket = operation.ticket;
        let key = key(ticket.fd, ticket.cookie);
        let mut table = self.lock();
        let Some(watch) = table.watches.get_mut(&key) else { return };
        let Some(at) = watch.operations.iter().position(|(op, _)| Arc::ptr_eq(op, operation))
        else {
            return;
        };
        watch.operations.swap_remove(at);
        self.pending.fetch_sub(1, Ordering::SeqCst);
        if watch.operations.is_empty() {
            // The number may be closed, or another socket's by now: then there is nothing to remove.
            let _ = epoll::delete(&self.epoll, ticket.fd.fd());
            table.watches.remove(&key);
        }
    }

    fn serve(&'static self) {
        system::block_signals();
        let mut swept = Instant::now();
        let mut events = Vec::with_capacity(BATCH);
        loop {
            let limit = Timespec { tv_sec: SWEEP.as_secs() as i64, tv_nsec: 0 };
            let limit = (self.pending() != 0).then_some(&limit);
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            let waited = epoll::wait(&self.epoll, room, limit);
            if waited.is_err_and(|errno| errno != Errno::INTR) {
                // Somebody has closed all descriptors, this library's too: the sweep ends what pends.
                std::thread::sleep(SWEEP);
            }
            for event in &events {
                self.happened(*event);
            }
            if swept.elapsed() >= SWEEP {
                self.sweep();
                swept = Instant::now();
            }
        }
    }

    fn happened(&self, event: Event) {
        let key = event.data.u64();
        if key == WAKE {
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
            return;
        }
        let found = self.lock().watches.get(&key).map(|w| (w.fd, w.cookie, w.all()));
        let Some((fd, cookie, operations)) = found else { return };
        let Some(own) = open_still(fd, cookie) else {
            self.cancel(&operations);
            return;
        };
        for operation in &operations {
            match operation.run(Descriptor::of(&own), || self.unwatch(operation)) {
                Ran::InVain(interest) => self.again(key, operation, interest),
                Ran::Told => self.untag(operation),
                // Whoever ends it untags it, when it was told.
                Ran::Not => {}
            }
        }
        drop(own);
        self.rearm(key);
    }

    fn again(&self, key: u64, operation: &Arc<Operation>, interest: Interest) {
        let mut table = self.lock();
        let entries = table.watches.get_mut(&key).map(|w| w.operations.iter_mut());
        let entry = entries.into_iter().flatten().find(|(op, _)| Arc::ptr_eq(op, operation));
        if let Some(entry) = entry {
            entry.1 = interest;
        }
    }

    fn rearm(&self, key: u64) {
        let mut table = self.lock();
        let Some(watch) = table.watches.get_mut(&key) else { return };
        if self.arm(key, watch).is_err() {
            let lost = watch.all();
            drop(table);
            self.cancel(&lost);
        }
    }

    /// One event at most, until it is armed again: what cannot be attended to does not spin.
    fn arm(&self, key: u64, watch: &Watch) -> Result<()> {
        let mut flags = EventFlags::ONESHOT;
        for (_, interest) in &watch.operations {
            flags |= match interest {
                Interest::Read => EventFlags::IN,
                Interest::Write => EventFlags::OUT,
            };
        }
        let (fd, data) = (watch.fd.fd(), EventData::new_u64(key));
        match epoll::modify(&self.epoll, fd, data, flags) {
            Err(Errno::NOENT) => Ok(epoll::add(&self.epoll, fd, data, flags)?),
            other => Ok(other?),
        }
    }

    /// Ends the operations of sockets that were closed without this library.
    fn sweep(&self) {
        let table = self.lock();
        let closed = |w: &&Watch| w.fd.cookie() != Ok(w.cookie);
        let lost: Vec<_> = table.watches.values().filter(closed).flat_map(Watch::all).collect();
        drop(table);
        self.cancel(&lost);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn all(&self) -> Vec<Arc<Operation>> {
        self.operations.iter().map(|(op, _)| Arc::clone(op)).collect()
    }
}

/// A descriptor of one's own, if the number still means that socket: an attempt through the number
/// itself could hit another socket that was opened meanwhile.
fn open_still(fd: Descriptor, cookie: u64) -> Option<OwnedFd> {
    let own = fd.duplicate().ok()?;
    (Descriptor::of(&own).cookie() == Ok(cookie)).then_some(own)
}

/// A number may be closed and given again while operations of the former socket are still being ended.
const fn key(fd: Descriptor, cookie: u64) -> u64 {
    (fd.raw() as u64) << 32 | (cookie & 0xffff_ffff)
}
