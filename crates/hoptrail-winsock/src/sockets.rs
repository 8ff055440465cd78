//! What is known of a socket besides what the kernel knows: whether it is overlapped, its completion
//! port, its switches for control messages.
//!
//! It is kept under the socket's cookie, a number that the kernel gives once: so what was said of a
//! socket that is gone never applies to another one with the same descriptor. A socket of which nothing
//! is known, as accept(2) or socket(2) give them, is overlapped.

use crate::overlapped::Port;
use crate::system::Descriptor;
use crate::udp::Switches;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A socket's own.
#[derive(Clone)]
pub(crate) struct Known {
    fd: Descriptor,
    pub(crate) overlapped: bool,
    /// The port and the key under which its completions are posted.
    pub(crate) port: Option<(Arc<Port>, usize)>,
    /// Present once a switch was touched.
    pub(crate) switches: Option<Arc<Switches>>,
}

#[derive(Default)]
pub(crate) struct Sockets {
    count: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    known: HashMap<u64, Known>,
    /// Entries of sockets closed behind this library's back are looked for at this size.
    sweep_at: usize,
}

impl Sockets {
    /// What is known of a socket; nothing usually.
    pub(crate) fn of(&self, fd: Descriptor) -> Option<Known> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lock().known.get(&fd.cookie().ok()?).cloned()
    }

    /// Whether it takes overlapped operations.
    pub(crate) fn is_overlapped(&self, fd: Descriptor) -> bool {
        self.of(fd).is_none_or(|known| known.overlapped)
    }

    /// Changes what is known of a socket.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn change<T>(
        &self,
        fd: Descriptor,
        change: impl FnOnce(&mut Known) -> T,
    ) -> crate::Result<T> {
        let cookie = fd.cookie()?;
        let mut table = self.lock();
        let new = Known { fd, overlapped: true, port: None, switches: None };
        let result = change(table.known.entry(cookie).or_insert(new));
        table.sweep();
        self.count.store(table.known.len(), Ordering::Release);
        Ok(result)
    }

    /// Forgets a socket that is about to be closed.
    pub(crate) fn forget(&self, cookie: u64) {
        if self.count.load(Ordering::Acquire) != 0 {
            let mut table = self.lock();
            table.known.remove(&cookie);
            self.count.store(table.known.len(), Ordering::Release);
        }
    }

    /// In a child of fork: the sockets are the same. When another thread was changing them just then,
    /// they are as from socket(2) to the child.
    pub(crate) fn copy_for_child(&self) -> Self {
        let known = self.table.try_lock().map(|table| table.known.clone()).unwrap_or_default();
        let count = AtomicUsize::new(known.len());
        Self { count, table: Mutex::new(Table { known, sweep_at: 0 }) }
    }

    /// How many are known.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn sweep(&mut self) {
        if self.known.len() > self.sweep_at.max(64) {
            self.known.retain(|cookie, known| known.fd.cookie() == Ok(*cookie));
            self.sweep_at = 2 * self.known.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn a_socket_of_which_nothing_is_known_is_overlapped() {
        let (sockets, one, other) = (Sockets::default(), listener(), listener());
        let (one, other) = (Descriptor::of(&one), Descriptor::of(&other));
        sockets.change(one, |known| known.overlapped = false).unwrap();
        assert!(!sockets.is_overlapped(one));
        assert!(sockets.is_overlapped(other));
    }

    #[test]
    fn what_was_said_of_a_closed_socket_is_not_said_of_the_next() {
        let sockets = Sockets::default();
        let first = listener();
        let number = Descriptor::of(&first);
        sockets.change(number, |known| known.overlapped = false).unwrap();
        drop(first);
        let mut later: Vec<TcpListener> = Vec::new();
        while later.iter().all(|l| Descriptor::of(l) != number) && later.len() < 100 {
            later.push(listener());
        }
        let same = later.iter().find(|l| Descriptor::of(*l) == number);
        assert!(same.is_none_or(|l| sockets.is_overlapped(Descriptor::of(l))));
    }

    #[test]
    fn sockets_closed_elsewhere_do_not_pile_up() {
        let sockets = Sockets::default();
        for _ in 0..1000 {
            sockets.change(Descriptor::of(&listener()), |known| known.overlapped = false).unwrap();
        }
        assert!(sockets.count() <= 130, "{}", sockets.count());
    }
}
