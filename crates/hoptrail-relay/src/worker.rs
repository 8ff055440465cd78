//! A worker: one thread, one epoll, its share of the connections.

mod accept;

use crate::clock;
use crate::counters::Counters;
use crate::inbox::{self, Inbox};
use crate::ledger::{End, Ledger};
use crate::origin::Applications;
use crate::session::{Desk, Limits, Next, Session, Side};
use crate::shared::{CurrentRules, Shared};
use crate::spin::Spin;
use crate::way::Tools;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::thread::sched_yield;
use slab::Slab;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Events that are taken from the kernel at once.
const EVENTS: usize = 256;
/// Tokens from here on are not sessions.
const DRAIN: u64 = u64::MAX;
const INBOX: u64 = u64::MAX - 1;
const LISTENERS: u64 = 1 << 62;
const SECOND: u64 = 1_000_000_000;
/// How often sessions are looked through for those that have waited for too long, while some of them
/// may only wait for seconds, and otherwise.
const SWEEP: u64 = SECOND;
const SLOW_SWEEP: u64 = 30 * SECOND;
/// How long accepting rests when descriptors have run out and none of ours has closed.
const REST: u64 = SECOND / 10;

pub(crate) struct Worker {
    /// Which of the workers it is.
    number: usize,
    epoll: OwnedFd,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    rules: CurrentRules,
    applications: Applications,
    tools: Tools,
    limits: Limits,
    sessions: Slab<Box<Session>>,
    /// Sessions with something to do.
    queue: VecDeque<usize>,
    /// Throttled ones, and when they may go on.
    later: BinaryHeap<Reverse<(u64, usize)>>,
    accepting: Accepting,
    /// An accepted connection for whose upstream there was no descriptor.
    waiting: Option<(OwnedFd, SocketAddr)>,
    spin: Spin,
    next_sweep: u64,
    now: u64,
    ended: Ended,
}

/// How the connections ended that were open when the relay was told to stop.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Ended {
    /// By themselves, before the deadline.
    pub finished: u64,
    /// With a reset at the deadline.
    pub reset: u64,
}

/// Whether the listeners are watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Accepting {
    Yes,
    /// Descriptors, memory or places have run out: until then, or until a session ends.
    Rests(u64),
    /// The relay stops.
    Over,
}

impl Worker {
    pub(crate) fn new(
        number: usize,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &shared.drain, EventData::new_u64(DRAIN), edge)?;
        epoll::add(&epoll, &shared.inboxes[number], EventData::new_u64(INBOX), edge)?;
        let ns =
            |d: Option<Duration>| d.map_or(u64::MAX, |d| d.as_nanos().min(u64::MAX.into()) as u64);
        let limits = Limits {
            connect: ns(Some(shared.config.connect_timeout)),
            idle: ns(shared.config.idle),
            half_closed: ns(shared.config.half_closed_idle),
        };
        let spinning = shared.config.spin;
        let mut worker = Self {
            number,
            epoll,
            rules: CurrentRules::of(&shared),
            shared,
            counters,
            applications: Applications::default(),
            tools: Tools::new(),
            limits,
            sessions: Slab::new(),
            queue: VecDeque::new(),
            later: BinaryHeap::new(),
            accepting: Accepting::Yes,
            waiting: None,
            spin: Spin::new(spinning),
            next_sweep: 0,
            now: clock::now(),
            ended: Ended::default(),
        };
        worker.watch_listeners()?;
        Ok(worker)
    }

    /// Works until the relay was told to stop and every connection has ended.
    pub(crate) fn run(mut self) -> io::Result<Ended> {
        let mut events = Vec::with_capacity(EVENTS);
        while self.accepting != Accepting::Over || !self.sessions.is_empty() {
            events.clear();
            self.wait(&mut events)?;
            for event in &events {
                self.take(event);
            }
            self.work();
            self.wake_later();
            self.sweep();
        }
        Ok(self.ended)
    }

    /// Waits for events, or until there is something else to do.
    fn wait(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let timeout = self.timeout();
        let idle = self.queue.is_empty();
        let since = clock::now();
        if idle && self.look_again(since, events)? {
            self.spin.waited(self.now - since);
            return Ok(());
        }
        self.poll(events, timeout.as_ref())?;
        if idle {
            self.spin.waited(self.now - since);
        }
        Ok(())
    }

    /// Looks for events for a moment, without sleeping. Others on this CPU go first.
    fn look_again(&mut self, since: u64, events: &mut Vec<Event>) -> io::Result<bool> {
        while self.spin.budget() > self.now.saturating_sub(since) || self.now < since {
            self.poll(events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            if !events.is_empty() {
                return Ok(true);
            }
            sched_yield();
        }
        Ok(false)
    }

    fn poll(&mut self, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> io::Result<()> {
        match epoll::wait(&self.epoll, spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.now = clock::now();
        Ok(())
    }

    fn take(&mut self, event: &Event) {
        match event.data.u64() {
            DRAIN => self.stop_accepting(),
            INBOX => self.take_over(),
            listener @ LISTENERS.. => self.accept((listener - LISTENERS) as usize),
            token => {
                let (slot, side) = of_token(token);
                // Closed sessions keep their slot until the events at hand are worked off.
                if let Some(session) = self.sessions.get_mut(slot) {
                    session.note(side, event.flags);
                    self.enqueue(slot);
                }
            }
        }
    }

    fn enqueue(&mut self, slot: usize) {
        if let Some(session) = self.sessions.get_mut(slot)
            && !session.queued
        {
            session.queued = true;
            self.queue.push_back(slot);
        }
    }

    /// Each session in the queue has its turn; those that want another wait for the next time.
    fn work(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(slot) = self.queue.pop_front() else { return };
            let Some(session) = self.sessions.get_mut(slot) else { continue };
            session.queued = false;
            self.tools.alone = self.queue.is_empty();
            let mut desk = Desk {
                tools: &mut self.tools,
                shared: &self.shared,
                counters: &self.counters,
                rules: self.rules.get(&self.shared),
                now: self.now,
            };
            match session.advance(&mut desk) {
                Next::Wait => {}
                Next::Again => self.enqueue(slot),
                Next::At(time) => {
                    if session.later == 0 || time < session.later {
                        session.later = time;
                        self.later.push(Reverse((time, slot)));
                    }
                }
                Next::End(end) => self.end(slot, end),
            }
        }
        Counters::set(&self.counters.pipes, self.tools.pipes.lent() as u64);
        if self.tools.bulk {
            self.tools.bulk = false;
            self.spin.stop();
        }
    }

    fn end(&mut self, slot: usize, end: End) {
        let session = self.sessions.remove(slot);
        let ledger = session.close(end, &mut self.tools);
        self.farewell(&ledger, end);
        Counters::sub(&self.counters.open, 1);
        self.inbox().leave();
        self.shared.places.free();
        if self.accepting == Accepting::Over {
            self.ended.count(end);
        }
        if matches!(self.accepting, Accepting::Rests(_)) {
            self.resume();
        }
    }

    fn inbox(&self) -> &Inbox<Box<Session>> {
        &self.shared.inboxes[self.number]
    }

    fn farewell(&self, ledger: &Ledger, end: End) {
        self.shared.observer.ended(ledger, end);
    }

    /// Throttled sessions whose time has come. One whose slot has another session by now loses
    /// nothing by an extra turn.
    fn wake_later(&mut self) {
        while let Some(&Reverse((time, slot))) = self.later.peek()
            && time <= self.now
        {
            self.later.pop();
            if let Some(session) = self.sessions.get_mut(slot) {
                session.later = 0;
            }
            self.enqueue(slot);
        }
    }

    /// Ends the sessions that have waited for too long; after the deadline of a drain, all.
    fn sweep(&mut self) {
        if let Accepting::Rests(until) = self.accepting
            && self.now >= until
        {
            self.resume();
        }
        if self.now < self.next_sweep {
            return;
        }
        let deadline = self.shared.drain.deadline();
        let drained = deadline.is_some_and(|deadline| self.now >= deadline);
        let mut overdue = Vec::new();
        let mut young = false;
        for (slot, session) in &mut self.sessions {
            session.settle();
            young |= session.is_young();
            let end = session.overdue(&self.limits, self.now);
            overdue.extend(end.or(drained.then_some(End::Drained)).map(|end| (slot, end)));
        }
        let short = young || self.limits.idle.min(self.limits.half_closed) < SLOW_SWEEP;
        let next = self.now + if short { SWEEP } else { SLOW_SWEEP };
        self.next_sweep = deadline.filter(|_| !drained).map_or(next, |deadline| next.min(deadline));
        for (slot, end) in overdue {
            self.end(slot, end);
        }
    }

    /// Until the next thing to do that no event announces.
    fn timeout(&self) -> Option<Timespec> {
        if !self.queue.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let later = self.later.peek().map(|Reverse((time, _))| *time);
        let rest = match self.accepting {
            Accepting::Rests(until) => Some(until),
            _ => None,
        };
        let sweep = (!self.sessions.is_empty()).then_some(self.next_sweep);
        let next = [later, rest, sweep].into_iter().flatten().min()?;
        let wait = next.saturating_sub(self.now);
        Some(Timespec { tv_sec: (wait / SECOND) as i64, tv_nsec: (wait % SECOND) as i64 })
    }
}

impl Drop for Worker {
    /// One that panics is given nothing more, and what it was given meanwhile goes on to others.
    fn drop(&mut self) {
        for session in self.inbox().close() {
            if let Some(other) = inbox::lighter(&self.shared.inboxes, self.number) {
                // When that one ends too, so does the connection.
                let _ = other.put(session);
            }
        }
    }
}

impl Ended {
    fn count(&mut self, end: End) {
        match end {
            End::Drained => self.reset += 1,
            _ => self.finished += 1,
        }
    }
}

impl std::ops::AddAssign for Ended {
    fn add_assign(&mut self, other: Self) {
        self.finished += other.finished;
        self.reset += other.reset;
    }
}

fn token(slot: usize, side: Side) -> EventData {
    EventData::new_u64((slot as u64) << 1 | (side == Side::Upstream) as u64)
}

fn of_token(token: u64) -> (usize, Side) {
    let side = if token & 1 == 0 { Side::Client } else { Side::Upstream };
    ((token >> 1) as usize, side)
}
