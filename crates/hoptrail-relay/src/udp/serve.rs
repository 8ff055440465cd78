//! The thread of UDP: one epoll over listeners, upstreams and control connections.
//!
//! A turn reads the listeners as far as they will go, passing on a few datagrams of each flow; then
//! each flow with a backlog has its share; then each upstream that has answers. So a turn is bounded,
//! and every flow gets something of each.

use super::UdpConfig;
use super::backlog::Backlog;
use super::counts::{Lost, UdpCounts};
use super::events::{Epoll, Token};
use super::flow::{Flow, Key, Stage};
use super::link::BUFFER;
use super::origin::Owner;
use super::table::{Id, Table};
use crate::clock;
use crate::counters::Counters;
use crate::drain::Drain;
use crate::ledger::{End, Observer};
use crate::upstream::Upstream;
use hoptrail::UdpProxySocket;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::time::Duration;

/// What a listener should hold while a turn goes on; the system may give less.
const LISTENER_BUFFER: usize = 4 << 20;
/// While stopping, a flow that was silent for so long is done.
const QUIET: Duration = Duration::from_secs(1);
/// How often flows are looked through, at most and at least.
const TICK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How a stop went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Served {
    /// Flows that ended by themselves after the stop began.
    pub finished: usize,
    /// Flows that were still in use at the deadline.
    pub cut: usize,
}

/// Why UDP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// An HTTP proxy.
    #[error(
        "UDP cannot go through {0}: an HTTP proxy carries TCP alone; use socks5:// or direct for UDP"
    )]
    Upstream(String),
    /// The kernel refuses what the loop needs.
    #[error("UDP cannot be served: {step}: {errno}")]
    System {
        /// What was being done.
        step: &'static str,
        /// What the system said.
        errno: Errno,
    },
}

/// Serves until it is told to stop, on the calling thread.
///
/// # Errors
/// When the upstream cannot carry datagrams, or the system refuses what the loop itself needs. What
/// goes wrong with a flow ends that flow.
pub fn serve(
    config: &UdpConfig,
    listeners: &[UdpProxySocket],
    observer: &dyn Observer,
    counters: &Counters,
    counts: &UdpCounts,
    drain: &Drain,
) -> Result<Served, UdpError> {
    if matches!(config.upstream, Upstream::Http(_)) {
        return Err(UdpError::Upstream(config.upstream.to_string()));
    }
    let epoll = Epoll::new().map_err(system("epoll_create1"))?;
    let mut server = Server {
        config,
        listeners,
        observer,
        counters,
        counts,
        epoll,
        table: Table::new(),
        backlog: Backlog::default(),
        asking: Vec::new(),
        buffer: vec![0; BUFFER],
        turn: 0,
        now_ns: clock::now(),
        ticked_ns: 0,
        draining: false,
        finished: 0,
        drain,
    };
    server.start()?;
    server.run()
}

/// Everything that the thread owns.
pub(super) struct Server<'a> {
    pub(super) config: &'a UdpConfig,
    pub(super) listeners: &'a [UdpProxySocket],
    pub(super) observer: &'a dyn Observer,
    pub(super) counters: &'a Counters,
    pub(super) counts: &'a UdpCounts,
    pub(super) epoll: Epoll,
    pub(super) table: Table<Key, Owner, Flow>,
    pub(super) backlog: Backlog,
    /// Flows whose SOCKS5 server has not answered yet, and some of which that was so.
    pub(super) asking: Vec<Id>,
    pub(super) buffer: Vec<u8>,
    pub(super) turn: u64,
    pub(super) now_ns: u64,
    ticked_ns: u64,
    pub(super) draining: bool,
    finished: usize,
    drain: &'a Drain,
}

impl Server<'_> {
    fn start(&self) -> Result<(), UdpError> {
        for (listener, number) in self.listeners.iter().zip(0..) {
            let socket = listener.as_std();
            // Without privileges the ordinary call gives what it may.
            if sockopt::set_socket_recv_buffer_size_force(socket, LISTENER_BUFFER).is_err() {
                sockopt::set_socket_recv_buffer_size(socket, LISTENER_BUFFER)
                    .map_err(system("setsockopt SO_RCVBUF"))?;
            }
            let token = Token::Listener(number);
            self.epoll.add(socket, token, EventFlags::IN).map_err(system("epoll_ctl"))?;
        }
        // It stays readable: each order to stop is an edge of its own.
        let added = self.epoll.add(self.drain, Token::Drain, EventFlags::IN | EventFlags::ET);
        added.map_err(system("epoll_ctl"))
    }

    fn run(&mut self) -> Result<Served, UdpError> {
        loop {
            let events = self.epoll.wait(self.timeout()).map_err(system("epoll_wait"))?;
            self.now_ns = clock::now();
            self.turn += 1;
            for token in events {
                match token {
                    Token::Listener(number) => self.hear_clients(number)?,
                    Token::Drain => self.draining = true,
                    Token::Upstream(id) => self.hear_upstream(id),
                    Token::Control(id) => self.control(id),
                }
            }
            self.serve_backlog();
            self.tick();
            if let Some(served) = self.drained() {
                return Ok(served);
            }
        }
    }

    fn tick_length(&self) -> Duration {
        (self.config.idle.min(self.config.patience) / 8).clamp(TICK.0, TICK.1)
    }

    fn timeout(&self) -> Duration {
        if self.backlog.is_empty() { self.tick_length() } else { Duration::ZERO }
    }

    /// Ends what was idle, or waited, for too long.
    fn tick(&mut self) {
        if self.now_ns.saturating_sub(self.ticked_ns) < nanos(self.tick_length()) {
            return;
        }
        self.ticked_ns = self.now_ns;
        let (patience, end) = match self.draining {
            true => (self.config.idle.min(QUIET), End::Closed),
            false => (self.config.idle, End::Idle),
        };
        for id in self.table.idle_since(self.now_ns.saturating_sub(nanos(patience))) {
            self.finished += usize::from(self.end(id, end) && self.draining);
        }
        self.end_unanswered();
    }

    /// Once draining, when nothing is left or the deadline has passed.
    fn drained(&mut self) -> Option<Served> {
        let deadline = self.drain.deadline().filter(|_| self.draining)?;
        if self.table.len() > 0 && self.now_ns < deadline {
            return None;
        }
        let left = self.table.ids();
        let cut = left.into_iter().filter(|id| self.end(*id, End::Drained)).count();
        Some(Served { finished: self.finished, cut })
    }

    /// Takes a flow out, and tells its end if that was not told before: then true.
    pub(super) fn end(&mut self, id: Id, end: End) -> bool {
        let told = self.close(id, end, Lost::Unreachable);
        self.table.remove(id);
        told
    }

    /// Ends a flow, but keeps its place: what still comes for it is lost for `why`.
    pub(super) fn close(&mut self, id: Id, end: End, why: Lost) -> bool {
        let Some(flow) = self.table.get(id) else {
            return false;
        };
        let before = std::mem::replace(&mut flow.stage, Stage::Over(why));
        let waiting = match before {
            Stage::Over(before) => {
                flow.stage = Stage::Over(before);
                return false;
            }
            Stage::Asking(mut association) => association.take_waiting().len(),
            Stage::Looking(looking) => looking.into_waiting().len(),
            Stage::Open(_) => self.backlog.forget(id),
        };
        (0..waiting).for_each(|_| self.counts.lose(why));
        self.observer.ended(&flow.ledger, end);
        Counters::sub(&self.counters.open, 1);
        true
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn system(step: &'static str) -> impl FnOnce(Errno) -> UdpError {
    move |errno| UdpError::System { step, errno }
}
