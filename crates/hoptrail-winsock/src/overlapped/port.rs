//! Completion ports: a queue of packets, and threads that take them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One completion, or what was posted by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Packet {
    pub(crate) bytes: u32,
    pub(crate) key: usize,
    pub(crate) overlapped: usize,
    /// The operation's error; 0 for success.
    pub(crate) error: i32,
}

/// Why there is no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoPacket {
    TimedOut,
    Closed,
}

#[derive(Default)]
pub(crate) struct Port {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    packets: VecDeque<Packet>,
    closed: bool,
}

impl Port {
    pub(crate) fn post(&self, packet: Packet) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.packets.push_back(packet);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// The next packet, in the order in which they were posted.
    pub(crate) fn get(&self, limit: Option<Duration>) -> Result<Packet, NoPacket> {
        let begun = Instant::now();
        let mut inner = self.lock();
        loop {
            if inner.closed {
                return Err(NoPacket::Closed);
            }
            if let Some(packet) = inner.packets.pop_front() {
                return Ok(packet);
            }
            inner = match limit.map(|limit| limit.saturating_sub(begun.elapsed())) {
                None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Err(NoPacket::TimedOut),
                Some(rest) => {
                    let waited = self.changed.wait_timeout(inner, rest);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.packets.clear();
        drop(inner);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(key: usize) -> Packet {
        Packet { bytes: 0, key, overlapped: 0, error: 0 }
    }

    #[test]
    fn packets_come_in_their_order() {
        let port = Port::default();
        (0..3).for_each(|key| port.post(packet(key)));
        let keys: Vec<_> = (0..3).map(|_| port.get(None).unwrap().key).collect();
        assert_eq!(keys, [0, 1, 2]);
        assert_eq!(port.get(Some(Duration::ZERO)), Err(NoPacket::TimedOut));
    }

    #[test]
    fn closing_ends_a_wait() {
        let port = Port::default();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| port.get(None));
            port.close();
            assert_eq!(waiting.join().unwrap(), Err(NoPacket::Closed));
        });
        port.post(packet(1));
        assert_eq!(port.get(None), Err(NoPacket::Closed));
    }

    #[test]
    fn each_packet_goes_to_one_of_many_threads() {
        let port = Port::default();
        let mut all: Vec<usize> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..250).map(|_| port.get(None).unwrap().key).collect()))
                .collect();
            (0..1000).for_each(|key| port.post(packet(key)));
            takers.into_iter().flat_map(|t| -> Vec<usize> { t.join().unwrap() }).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }
}
