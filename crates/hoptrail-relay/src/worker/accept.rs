//! Accepting connections, and starting their way on.

use super::{Accepting, LISTENERS, REST, SWEEP, Worker, token};
use crate::config::Inspect;
use crate::congestion::OnLoopback;
use crate::counters::Counters;
use crate::inbox;
use crate::ledger::{Cause, End, Step};
use crate::origin::{Origin, Refused};
use crate::rules::{Decision, Early, Question, Verdict};
use crate::session::{Curiosity, Session, Side};
use crate::sockets::{keep_order, reset_on_close};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    Shutdown, SocketFlags, SocketType, acceptfrom_with, connect, shutdown, socket_with, sockopt,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Connections that one event accepts, before sessions have their turn.
const BATCH: usize = 32;

impl Worker {
    /// Each listener wakes one worker at a time.
    pub(super) fn watch_listeners(&mut self) -> io::Result<()> {
        for (n, listener) in self.shared.listeners.iter().enumerate() {
            let data = EventData::new_u64(LISTENERS + n as u64);
            let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
            match epoll::add(&self.epoll, listener, data, flags) {
                // An attempt before this one has failed halfway.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.accepting = Accepting::Yes;
        Ok(())
    }

    fn unwatch_listeners(&self) {
        for listener in &self.shared.listeners {
            // It is not there when accepting rests already.
            let _ = epoll::delete(&self.epoll, listener);
        }
    }

    /// The relay stops: what waits in the listeners' queues is taken, and nothing more.
    pub(super) fn stop_accepting(&mut self) {
        self.next_sweep = 0;
        if self.accepting == Accepting::Over {
            return;
        }
        self.unwatch_listeners();
        self.accepting = Accepting::Over;
        if let Some((client, peer)) = self.waiting.take() {
            self.begin(client, peer);
        }
        self.inbox().close().into_iter().for_each(|session| self.adopt(session));
        for listener in 0..self.shared.listeners.len() {
            while self.accept_one(listener) {}
            // Whoever connects from now on is refused at once, and does not wait for our end.
            let _ = shutdown(&self.shared.listeners[listener], Shutdown::Both);
        }
    }

    /// Descriptors, memory or places have run out: no more connections for a while. They wait in the
    /// listeners' queues.
    fn rest(&mut self) {
        match self.accepting {
            Accepting::Over => return,
            Accepting::Yes => self.unwatch_listeners(),
            Accepting::Rests(_) => {}
        }
        self.shared.tell_paused(true);
        self.accepting = Accepting::Rests(self.now + REST);
    }

    /// Tries again. Whether it goes on is told when the queues have been worked off: until then each
    /// connection that ends lets in another one, and that is still the same pause.
    pub(super) fn resume(&mut self) {
        self.accepting = Accepting::Rests(self.now + REST);
        if let Some((client, peer)) = self.waiting.take() {
            self.begin(client, peer);
        }
        if self.waiting.is_none() && self.shared.places.any() && self.watch_listeners().is_ok() {
            (0..self.shared.listeners.len()).for_each(|listener| self.accept(listener));
        }
    }

    pub(super) fn accept(&mut self, listener: usize) {
        for _ in 0..BATCH {
            if !self.accept_one(listener) {
                return;
            }
        }
    }

    /// Whether there may be another.
    fn accept_one(&mut self, listener: usize) -> bool {
        if !self.shared.places.take() {
            self.rest();
            return false;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(&self.shared.listeners[listener], flags) {
            Ok((client, peer)) => {
                // Only an accepted connection has a peer without an address: it is gone already.
                match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
                    Some(peer) => {
                        Counters::add(&self.counters.accepted, 1);
                        self.begin(client, peer);
                    }
                    None => self.shared.places.free(),
                }
                self.waiting.is_none()
            }
            Err(error) => {
                self.shared.places.free();
                match error {
                    Errno::AGAIN => {
                        self.shared.tell_paused(false);
                        false
                    }
                    // The relay stops, and another worker knew first.
                    Errno::INVAL => false,
                    error if is_shortage(error.raw_os_error()) => {
                        self.rest();
                        false
                    }
                    // The connection has failed in the queue, not the listener.
                    _ => true,
                }
            }
        }
    }

    fn begin(&mut self, client: OwnedFd, peer: SocketAddr) {
        let origin = Origin::of(&client, peer, &self.shared.config, &mut self.applications);
        let started = origin.and_then(|mut origin| match self.dial(&mut origin) {
            Ok((upstream, decision)) => Ok((origin, upstream, decision)),
            Err(end) => Err(Refused::new(origin.ledger, end)),
        });
        match started {
            Ok((origin, upstream, decision)) => self.open(client, upstream, origin, decision),
            Err(refused) if self.may_wait(refused.end) => {
                self.waiting = Some((client, peer));
                self.rest();
            }
            Err(refused) => {
                reset_on_close(&client);
                self.shared.places.free();
                self.farewell(&refused.ledger, refused.end);
            }
        }
    }

    /// Whether only descriptors or memory were missing, for which the client can wait.
    fn may_wait(&self, end: End) -> bool {
        let End::Unreachable(cause) = end else { return false };
        is_shortage(cause.errno) && self.accepting != Accepting::Over
    }

    /// Asks the rules, as far as they can tell already, and starts the connect.
    fn dial(&mut self, origin: &mut Origin) -> Result<(OwnedFd, Option<Decision>), End> {
        let decision = match self.rules.get(&self.shared).early(&Question::of(&origin.ledger)) {
            Early::Decided(Decision { verdict: Verdict::Deny(_), rule }) => {
                origin.ledger.rule = rule;
                return Err(End::Denied);
            }
            Early::Decided(decision) => Some(decision),
            Early::NeedsFinding => None,
        };
        let to = self.shared.upstream.address().unwrap_or(origin.ledger.destination);
        let upstream = start(to, origin, self.shared.on_loopback)?;
        Ok((upstream, decision))
    }

    fn open(
        &mut self,
        client: OwnedFd,
        upstream: OwnedFd,
        origin: Origin,
        decision: Option<Decision>,
    ) {
        self.shared.observer.opened(&origin.ledger);
        let curiosity = match (decision, self.shared.config.inspect) {
            (None, _) => Curiosity::Rule,
            (Some(_), Inspect::None) if !self.shared.upstream.wants_name() => Curiosity::None,
            (Some(_), _) => Curiosity::Log,
        };
        let prelude = self.shared.config.proxy_protocol.map(|version| origin.prelude(version));
        let ledger = origin.ledger;
        let taps = self.shared.taps.as_ref().and_then(|taps| taps.of(&ledger));
        let mut session = Session::new(client, upstream, ledger, curiosity, prelude, taps);
        if let Some(decision) = decision {
            session.apply(decision, self.now);
        }
        self.place(Box::new(session));
    }

    /// Gives a connection to the worker that has the least to do, or takes it itself. It has its two
    /// descriptors already: where these are scarce, one that waits for them must not wait behind others.
    fn place(&mut self, session: Box<Session>) {
        let kept = match inbox::lighter(&self.shared.inboxes, self.number) {
            Some(other) => other.put(session).err(),
            None => Some(session),
        };
        if let Some(session) = kept {
            self.inbox().enter();
            self.adopt(session);
        }
    }

    /// Takes what other workers have put into its box.
    pub(super) fn take_over(&mut self) {
        while let Some(session) = self.inbox().take() {
            self.adopt(session);
        }
    }

    fn adopt(&mut self, session: Box<Session>) {
        let slot = self.sessions.insert(session);
        self.next_sweep = self.next_sweep.min(self.now + SWEEP);
        Counters::add(&self.counters.open, 1);
        let watched = self.watch(slot);
        if let Err(errno) = watched {
            self.end(slot, End::Failed(Cause::of(Step::Open, errno)));
        }
    }

    fn watch(&self, slot: usize) -> Result<(), Errno> {
        let flags =
            EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET;
        let [client, upstream] = self.sessions[slot].sockets();
        for (socket, side) in [(client, Side::Client), (upstream, Side::Upstream)] {
            if let Some(socket) = socket {
                epoll::add(&self.epoll, socket, token(slot, side), flags)?;
            }
        }
        Ok(())
    }
}

/// Whether descriptors or memory have run out, which passes.
fn is_shortage(errno: i32) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    shortages.iter().any(|shortage| shortage.raw_os_error() == errno)
}

/// A connect under way, with the records of the connection that it continues.
fn start(to: SocketAddr, origin: &Origin, on_loopback: OnLoopback) -> Result<OwnedFd, End> {
    let upstream = match &origin.redirect {
        Some(redirect) => {
            redirect.start_dial_with(to, |socket| Ok(equip(socket, to, on_loopback)?))
        }
        None => return start_bare(to, on_loopback),
    };
    let failed = |error: hoptrail::Error| {
        let step = match error.operation() {
            hoptrail::Operation::Connect(_) => Step::Connect,
            _ => Step::Open,
        };
        End::Unreachable(Cause::of_library(step, &error))
    };
    Ok(upstream.map_err(failed)?.into())
}

/// What an upstream has before it connects, besides what the library gives it.
fn equip(socket: BorrowedFd<'_>, to: SocketAddr, on_loopback: OnLoopback) -> Result<(), Errno> {
    on_loopback.apply(socket, to);
    keep_order(socket)
}

/// A connect under way, without records.
fn start_bare(to: SocketAddr, on_loopback: OnLoopback) -> Result<OwnedFd, End> {
    let failed = |step| move |errno| End::Unreachable(Cause::of(step, errno));
    let family = if to.is_ipv4() {
        rustix::net::AddressFamily::INET
    } else {
        rustix::net::AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(family, SocketType::STREAM, flags, None).map_err(failed(Step::Open))?;
    sockopt::set_tcp_nodelay(&socket, true).map_err(failed(Step::Open))?;
    equip(socket.as_fd(), to, on_loopback).map_err(failed(Step::Open))?;
    match connect(socket.as_fd(), &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(failed(Step::Connect)(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Congestion;

    #[test]
    fn a_dial_on_loopback_is_not_paced() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let system = start_bare(to, OnLoopback::of(Congestion::System)).unwrap();
        let bare = start_bare(to, OnLoopback::instead_of(Some("bbr"))).unwrap();
        let name = |socket| sockopt::tcp_congestion(socket).unwrap();
        assert_eq!(name(&bare), "reno");
        assert_eq!(Some(name(&system)), crate::congestion::system());
    }
}
