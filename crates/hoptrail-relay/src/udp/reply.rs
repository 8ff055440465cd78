//! What comes from upstream: answers, and the end of a SOCKS5 server's help.

use super::associate::Refused;
use super::counts::Lost;
use super::events::Token;
use super::flow::{Direction, Stage};
use super::link::Received;
use super::pass::SHARE;
use super::serve::{Server, nanos};
use super::table::Id;
use crate::counters::Counters;
use crate::ledger::{Cause, End, Step};
use hoptrail::UdpRedirect;
use rustix::event::epoll::EventFlags;
use std::io::Read;

impl Server<'_> {
    /// Passes answers back, as many as a flow may in a turn.
    pub(super) fn hear_upstream(&mut self, id: Id) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..SHARE {
            let Some(flow) = self.table.get(id) else { break };
            let Stage::Open(link) = &flow.stage else { break };
            match link.receive(&mut buffer) {
                Received::Datagram(range) => self.reply(id, &buffer[range]),
                Received::Lost(why) => self.counts.lose(why),
                Received::Nothing => break,
            }
        }
        self.buffer = buffer;
    }

    fn reply(&mut self, id: Id, datagram: &[u8]) {
        self.table.touch(id, self.now_ns);
        let now_ns = self.now_ns;
        let Some(flow) = self.table.get(id) else {
            return;
        };
        if !flow.passes(Direction::Down, datagram.len(), now_ns) {
            return self.counts.lose(Lost::Throttled);
        }
        let (number, peer) = flow.key;
        let socket = self.listeners[usize::from(number)].as_std();
        let flags = rustix::net::SendFlags::DONTWAIT;
        if rustix::net::sendto(socket, datagram, flags, &peer).is_err() {
            return self.counts.lose(Lost::Full);
        }
        flow.ledger.from_upstream += datagram.len() as u64;
        Counters::add(&self.counters.from_upstream, datagram.len() as u64);
        Counters::add(&self.counts.from_upstream, 1);
    }

    /// Something happened on the connection to a flow's SOCKS5 server.
    pub(super) fn control(&mut self, id: Id) {
        let Some(flow) = self.table.get(id) else {
            return;
        };
        match &mut flow.stage {
            Stage::Over(_) | Stage::Looking(_) => {}
            Stage::Asking(association) => match association.advance() {
                Ok(true) => self.associated(id),
                Ok(false) => self.watch_control(id),
                Err(refused) => {
                    self.close(id, End::Unreachable(refused.into()), Lost::Unreachable);
                }
            },
            Stage::Open(link) => {
                let control = link.through.as_ref().map(|through| &through.control);
                let ended = match control.map(|mut control| control.read(&mut [0; 64])) {
                    Some(Ok(0)) => true,
                    Some(Err(error)) => error.kind() != std::io::ErrorKind::WouldBlock,
                    Some(Ok(_)) | None => false,
                };
                if ended {
                    // The server passes nothing on any more; the next datagram asks it again.
                    self.end(id, End::UpstreamReset);
                }
            }
        }
    }

    /// The server has agreed: the way is open, and what waited goes first.
    fn associated(&mut self, id: Id) {
        let Some(flow) = self.table.get(id) else {
            return;
        };
        let stage = std::mem::replace(&mut flow.stage, Stage::Over(Lost::Unreachable));
        let Stage::Asking(mut association) = stage else {
            flow.stage = stage;
            return;
        };
        let waiting = association.take_waiting();
        let opened = association
            .link(flow.ledger.destination, flow.redirect.as_ref().map(UdpRedirect::records));
        let watched = opened.and_then(|link| {
            self.epoll.add(&link.socket, Token::Upstream(id), EventFlags::IN)?;
            if let Some(through) = &link.through {
                self.epoll.change(&through.control, Token::Control(id), EventFlags::IN);
            }
            Ok(link)
        });
        match watched {
            Ok(link) => {
                if let Some(flow) = self.table.get(id) {
                    flow.stage = Stage::Open(link);
                }
                for datagram in waiting {
                    self.pass(id, &datagram);
                }
            }
            Err(failure) => {
                waiting.iter().for_each(|_| self.counts.lose(Lost::Unreachable));
                let cause = Cause { step: Step::Open, errno: failure.0 };
                self.tell_end(id, End::Unreachable(cause));
            }
        }
    }

    fn watch_control(&mut self, id: Id) {
        let Some(flow) = self.table.get(id) else {
            return;
        };
        if let Stage::Asking(association) = &flow.stage {
            let write = association.wants_to_write();
            let flags = if write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            self.epoll.change(&association.control, Token::Control(id), flags);
        }
    }

    /// Ends flows whose SOCKS5 server has not answered in time.
    pub(super) fn end_unanswered(&mut self) {
        let then = self.now_ns.saturating_sub(nanos(self.config.patience));
        for id in std::mem::take(&mut self.asking) {
            let Some(flow) = self.table.get(id) else { continue };
            match flow.stage {
                Stage::Asking(_) if flow.ledger.opened_ns < then => {
                    let cause = Cause { step: Step::Handshake, errno: libc::ETIMEDOUT };
                    self.close(id, End::Unreachable(cause), Lost::Unreachable);
                }
                Stage::Asking(_) => self.asking.push(id),
                Stage::Open(_) | Stage::Looking(_) | Stage::Over(_) => {}
            }
        }
    }
}

impl From<Refused> for Cause {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Connect(errno) => Self { step: Step::Connect, errno },
            Refused::Handshake(errno) => Self { step: Step::Handshake, errno },
        }
    }
}
