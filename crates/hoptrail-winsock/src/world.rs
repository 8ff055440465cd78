//! Everything that a process has of this library, in one place, so that a child of fork(2) can start
//! with a new one: locks that other threads held at the fork stay locked in the old one for good.

use crate::handles::Handles;
use crate::overlapped::{Blocked, Operation, Reactor};
use crate::sockets::Sockets;
use crate::system::{self, Descriptor};
use crate::{Result, thread};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

#[derive(Default)]
pub(crate) struct World {
    pub(crate) handles: Handles,
    pub(crate) sockets: Sockets,
    pub(crate) blocked: Mutex<Vec<Arc<Blocked>>>,
    starting: Mutex<()>,
    reactor: OnceLock<&'static Reactor>,
    /// After a fork, in the child: its own.
    childs: OnceLock<Box<World>>,
}

static FIRST: OnceLock<World> = OnceLock::new();

/// The process' own.
#[inline]
pub(crate) fn get() -> &'static World {
    let mut world = FIRST.get_or_init(World::default);
    while let Some(childs) = world.childs.get() {
        world = childs;
    }
    world
}

impl World {
    /// The thread for pending operations, started when there is none.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn reactor(&self) -> Result<&'static Reactor> {
        if let Some(reactor) = self.reactor.get() {
            return Ok(reactor);
        }
        let _one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reactor) = self.reactor.get() {
            return Ok(reactor);
        }
        prepare_for_fork();
        let reactor = Reactor::start()?;
        Ok(self.reactor.get_or_init(|| reactor))
    }

    /// The thread for pending operations, if there ever was one.
    pub(crate) fn running_reactor(&self) -> Option<&'static Reactor> {
        self.reactor.get().copied()
    }

    /// How many operations are pending.
    pub(crate) fn pending(&self) -> usize {
        self.running_reactor().map_or(0, Reactor::pending)
    }

    /// Ends the operations that were issued through this descriptor; how many.
    pub(crate) fn cancel_socket(&self, fd: Descriptor, cookie: u64) -> usize {
        self.running_reactor().map_or(0, |r| r.cancel(&r.of_socket(fd, cookie)))
    }

    /// Ends the operations of a thread that is ending.
    pub(crate) fn cancel_thread(&self, id: u64) {
        if let Some(reactor) = self.running_reactor() {
            reactor.cancel(&reactor.select(|op| op.ticket.issuer == id));
        }
    }

    /// Ends all operations that C has issued, and tells nobody.
    pub(crate) fn forget_all(&self, of: impl Fn(&Operation) -> bool) {
        if let Some(reactor) = self.running_reactor() {
            reactor.forget(&reactor.select(of));
        }
    }
}

/// Whoever has made state that other threads share sees to it that children get their own.
pub(crate) fn prepare_for_fork() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        get();
        system::after_fork(in_child);
    });
}

extern "C" fn in_child() {
    let old = get();
    let new = World {
        handles: old.handles.of_child(),
        sockets: old.sockets.copy_for_child(),
        ..World::default()
    };
    // Nobody else is there to set it.
    let _ = old.childs.set(Box::new(new));
    thread::renew_after_fork();
}
