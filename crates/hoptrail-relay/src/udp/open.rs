//! A flow's beginning: whose it is, whether it may be, and its way on.

use super::associate::Association;
use super::counts::Lost;
use super::events::Token;
use super::flow::{Flow, Key, Stage};
use super::link::{self, Failure, Link};
use super::looking::Looking;
use super::origin::{Origin, Owner};
use super::serve::{Server, nanos};
use super::table::Id;
use crate::counters::Counters;
use crate::inspect::{self, Finding};
use crate::ledger::{Cause, End, Step};
use crate::rules::{Decision, Early, Question};
use crate::upstream::Upstream;
use hoptrail::{Operation, UdpRedirect};
use rustix::event::epoll::EventFlags;
use std::net::SocketAddr;
use std::time::Duration;

/// An application's socket that connects to one remote after another keeps its peer address, and so
/// does one whose flow the kernel has forgotten: so the kernel is asked again who a peer is, at most
/// this often.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// The same for flows of which nothing is passed on.
const ASK_AGAIN_OVER: Duration = Duration::from_secs(1);

impl Server<'_> {
    /// The flow, if its peer still means it. If not, it has ended here.
    pub(super) fn still(&mut self, id: Id) -> Option<Id> {
        let now_ns = self.now_ns;
        let flow = self.table.get(id)?;
        let over = matches!(flow.stage, Stage::Over(_));
        let pause = if over { ASK_AGAIN_OVER } else { ASK_AGAIN };
        if now_ns.saturating_sub(flow.asked_ns) < nanos(pause) {
            return Some(id);
        }
        flow.asked_ns = now_ns;
        // What could not be opened may be possible by now.
        let again = matches!(flow.stage, Stage::Over(Lost::Unreachable));
        let ((number, peer), known) = (flow.key, flow.redirect.as_ref().map(UdpRedirect::records));
        let same = match self.listeners[usize::from(number)].redirect_of(peer) {
            Ok(Some(redirect)) => known == Some(redirect.records()),
            // The kernel has nothing new to say of it.
            Ok(None) | Err(_) => true,
        };
        if same && !again {
            return Some(id);
        }
        self.end(id, End::Closed);
        None
    }

    /// Opens the flow to which this first datagram belongs, and passes that on.
    pub(super) fn open(&mut self, key: Key, datagram: &[u8]) {
        if self.draining {
            return self.counts.lose(Lost::Draining);
        }
        Counters::add(&self.counters.accepted, 1);
        let (Origin { ledger, owner, redirect }, nowhere) = self.origin(key);
        let flow = Flow::new(key, ledger, redirect, self.now_ns);
        if let Some((end, why)) = nowhere {
            return self.refuse(flow, owner, end, why);
        }
        self.observer.opened(&flow.ledger);
        Counters::add(&self.counters.open, 1);
        let early = (self.config.rules)().early(&Question::of(&flow.ledger));
        let id = self.place(owner, flow);
        match early {
            Early::Decided(decision) => {
                if let Some(finding) = self.inspected(id, datagram) {
                    self.found(id, finding);
                }
                self.decided(id, decision);
                self.admit(id, datagram);
            }
            Early::NeedsFinding => {
                self.set(id, Stage::Looking(Looking::default()));
                self.look(id, datagram);
            }
        }
    }

    /// Keeps a place for a flow whose origin cannot be told, so that it is told of once.
    fn refuse(&mut self, mut flow: Flow, owner: Owner, end: End, why: Lost) {
        self.observer.ended(&flow.ledger, end);
        flow.stage = Stage::Over(why);
        self.place(owner, flow);
        self.counts.lose(why);
    }

    /// Where the flow comes from, and if there is nowhere to go, why.
    fn origin(&self, (number, peer): Key) -> (Origin, Option<(End, Lost)>) {
        let listener = &self.listeners[usize::from(number)];
        let plain = |to| Origin::plain(peer, to, self.now_ns);
        let nowhere = || plain(SocketAddr::from(([0; 4], 0)));
        match (listener.redirect_of(peer), self.config.forward) {
            (Ok(Some(redirect)), _) => (Origin::of(redirect, self.now_ns), None),
            (_, Some(to)) => (plain(to), None),
            (Ok(None), None) => (nowhere(), Some((End::Direct, Lost::Direct))),
            (Err(error), None) => {
                let cause = Cause { step: Step::Query, errno: error.errno().unwrap_or_default() };
                (nowhere(), Some((End::Failed(cause), Lost::Unreachable)))
            }
        }
    }

    /// Gives a flow its place, and if need be takes another's.
    fn place(&mut self, owner: Owner, flow: Flow) -> Id {
        while self.table.len() >= self.config.most_flows.max(1) {
            if let Some(id) = self.table.to_evict(&owner) {
                self.evict(id);
            }
        }
        self.table.insert(flow.key, owner, self.now_ns, flow)
    }

    fn evict(&mut self, id: Id) {
        Counters::add(&self.counts.evicted, 1);
        self.end(id, End::Idle);
    }

    /// Looks at a datagram of a flow about which a rule wants to know more.
    pub(super) fn look(&mut self, id: Id, datagram: &[u8]) {
        let inspects = self.config.inspect;
        let Some(flow) = self.table.get(id) else {
            return;
        };
        let port = flow.ledger.destination.port();
        let Stage::Looking(looking) = &mut flow.stage else {
            return;
        };
        let found = looking.at(datagram, port);
        let found = if inspects { found } else { Some(Finding::unknown()) };
        let Some(finding) = found else {
            return;
        };
        let waiting = std::mem::take(looking).into_waiting();
        flow.stage = Stage::Over(Lost::Unreachable);
        let decision = (self.config.rules)().decide(&Question::of(&flow.ledger), &finding);
        self.found(id, finding);
        self.decided(id, decision);
        for datagram in waiting {
            self.admit(id, &datagram);
        }
    }

    /// For the log alone.
    fn inspected(&mut self, id: Id, datagram: &[u8]) -> Option<Finding> {
        let port = self.table.get(id)?.ledger.destination.port();
        self.config.inspect.then(|| inspect::datagram(datagram, port))
    }

    fn found(&mut self, id: Id, finding: Finding) {
        if let Some(flow) = self.table.get(id) {
            flow.ledger.finding = Some(Box::new(finding));
        }
    }

    /// The rules have spoken: the flow gets its way on, or has ended.
    fn decided(&mut self, id: Id, decision: Decision) {
        let now_ns = self.now_ns;
        let allowed = self.table.get(id).is_some_and(|flow| flow.decided(decision, now_ns));
        if !allowed {
            self.tell_end(id, End::Denied);
            return self.set(id, Stage::Over(Lost::Denied));
        }
        match self.way(id) {
            Ok(stage) => self.set(id, stage),
            Err(cause) => self.tell_end(id, End::Unreachable(cause)),
        }
    }

    /// The way on. When descriptors have run out, another flow makes room.
    fn way(&mut self, id: Id) -> Result<Stage, Cause> {
        let mut way = self.try_way(id);
        if way.as_ref().is_err_and(|(_, failure)| failure.is_lack_of_descriptors())
            && let Some(other) = self.table.idlest(|flow| !matches!(flow.stage, Stage::Over(_)))
        {
            self.evict(other);
            way = self.try_way(id);
        }
        way.map_err(|(step, Failure(errno))| Cause { step, errno })
    }

    fn try_way(&mut self, id: Id) -> Result<Stage, (Step, Failure)> {
        let open = |failure| (Step::Open, failure);
        let upstream = &self.config.upstream;
        let flow = self.table.get(id).ok_or_else(|| open(Failure(libc::EIO)))?;
        let records = flow.redirect.as_ref().map(UdpRedirect::records);
        if let Some(association) = Association::begin(upstream, records).map_err(open)? {
            let flags = EventFlags::IN | EventFlags::OUT;
            let added = self.epoll.add(&association.control, Token::Control(id), flags);
            added.map_err(|errno| open(errno.into()))?;
            self.asking.push(id);
            return Ok(Stage::Asking(Box::new(association)));
        }
        debug_assert_eq!(*upstream, Upstream::Direct);
        let socket = match &flow.redirect {
            Some(redirect) => redirect.dial().map_err(|error| (step(&error), error.into())),
            None => link::dial(flow.ledger.destination, None).map_err(|f| (Step::Connect, f)),
        }?;
        let added = self.epoll.add(&socket, Token::Upstream(id), EventFlags::IN);
        added.map_err(|errno| open(errno.into()))?;
        Ok(Stage::Open(Link { socket, through: None }))
    }

    fn set(&mut self, id: Id, stage: Stage) {
        if let Some(flow) = self.table.get(id) {
            flow.stage = stage;
        }
    }

    /// Of a flow that was opened and is over already.
    pub(super) fn tell_end(&mut self, id: Id, end: End) {
        if let Some(flow) = self.table.get(id) {
            self.observer.ended(&flow.ledger, end);
            Counters::sub(&self.counters.open, 1);
        }
    }
}

fn step(error: &hoptrail::Error) -> Step {
    match error.operation() {
        Operation::Connect(_) => Step::Connect,
        _ => Step::Open,
    }
}
