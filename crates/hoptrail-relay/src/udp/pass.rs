//! Datagrams of clients: to their flow, and on.

use super::counts::Lost;
use super::flow::{Direction, Key, Stage};
use super::link::BUFFER;
use super::serve::{Server, UdpError};
use super::table::Id;
use crate::counters::Counters;
use rustix::io::Errno;
use std::net::SocketAddr;

/// Datagrams that one listener is asked for in a turn.
const READS: usize = 512;
/// Datagrams of one flow that are passed on in a turn, and again for its backlog.
pub(super) const SHARE: usize = 32;

impl Server<'_> {
    /// Empties a listener's queue, as far as a turn goes.
    pub(super) fn hear_clients(&mut self, number: u8) -> Result<(), UdpError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(());
        for _ in 0..READS {
            match self.receive(number, &mut buffer) {
                Ok(Some((length, peer))) => self.hear_client((number, peer), &buffer[..length]),
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.buffer = buffer;
        result
    }

    fn receive(
        &self,
        number: u8,
        buffer: &mut [u8],
    ) -> Result<Option<(usize, SocketAddr)>, UdpError> {
        debug_assert_eq!(buffer.len(), BUFFER);
        let socket = self.listeners[usize::from(number)].as_std();
        let flags = rustix::net::RecvFlags::DONTWAIT;
        match rustix::net::recvfrom(socket, buffer, flags) {
            Ok((length, _, from)) => {
                Ok(from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| (length, from)))
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::NOMEM | Errno::NOBUFS) => Ok(None),
            Err(errno) => Err(UdpError::System { step: "recvfrom on the listener", errno }),
        }
    }

    fn hear_client(&mut self, key: Key, datagram: &[u8]) {
        match self.table.find(&key).and_then(|id| self.still(id)) {
            Some(id) => {
                self.table.touch(id, self.now_ns);
                self.admit(id, datagram);
            }
            None => self.open(key, datagram),
        }
    }

    /// Passes a datagram on now, or lets it wait behind others of its flow.
    pub(super) fn admit(&mut self, id: Id, datagram: &[u8]) {
        let turn = self.turn;
        let Some(flow) = self.table.get(id) else {
            return;
        };
        match &mut flow.stage {
            Stage::Over(why) => self.counts.lose(*why),
            Stage::Looking(_) => self.look(id, datagram),
            Stage::Asking(association) => {
                if !association.wait(datagram) {
                    self.counts.lose(Lost::Full);
                }
            }
            Stage::Open(_) => {
                if flow.count_in(turn) <= SHARE && !self.backlog.holds(id) {
                    self.pass(id, datagram);
                } else {
                    let lost = self.backlog.push(id, datagram);
                    (0..lost).for_each(|_| self.counts.lose(Lost::Flood));
                }
            }
        }
    }

    /// Passes a datagram on.
    pub(super) fn pass(&mut self, id: Id, datagram: &[u8]) {
        let now_ns = self.now_ns;
        let Some(flow) = self.table.get(id) else {
            return;
        };
        let passes = flow.passes(Direction::Up, datagram.len(), now_ns);
        let sent = match &flow.stage {
            Stage::Open(_) if !passes => Err(Lost::Throttled),
            Stage::Open(link) => link.send(datagram),
            Stage::Looking(_) | Stage::Asking(_) | Stage::Over(_) => Err(Lost::Unreachable),
        };
        match sent {
            Ok(()) => {
                flow.ledger.from_client += datagram.len() as u64;
                Counters::add(&self.counters.from_client, datagram.len() as u64);
                Counters::add(&self.counts.from_client, 1);
            }
            Err(why) => self.counts.lose(why),
        }
    }

    /// A round of the flows that have datagrams waiting.
    pub(super) fn serve_backlog(&mut self) {
        for _ in 0..self.backlog.round() {
            let Some((id, datagrams)) = self.backlog.turn(SHARE) else {
                return;
            };
            for datagram in datagrams {
                self.pass(id, &datagram);
            }
        }
    }
}
