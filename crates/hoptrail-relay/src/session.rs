//! One relayed connection, from the dial to its end: a state machine over two sockets.
//!
//! Bytes of the client wait until the upstream is there and the first of them were looked at; bytes
//! of the upstream, which speaks first in some protocols, wait for nothing but the upstream.

mod dialling;
mod entry;
mod extras;
mod look;
mod refusing;

pub(crate) use look::Curiosity;

use crate::counters::Counters;
use crate::ledger::{Cause, End, Ledger, Step};
use crate::rules::Rules;
use crate::shared::Shared;
use crate::sockets::{keep_alive, reset_on_close, take_error};
use crate::tap::Tap;
use crate::way::{Broken, Ends, Tools, Turn, Way};
use entry::Entry;
use extras::Extras;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// For how long a denied client may take to read its answer.
const LINGER_NS: u64 = 5_000_000_000;
/// What a throttled direction waits for at least, so that it is not woken for every byte.
const PACED: u64 = 4096;

/// One of the two sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Client,
    Upstream,
}

/// A connection and what it needs while it lasts.
pub(crate) struct Session {
    client: OwnedFd,
    /// Gone once the connection is denied.
    upstream: Option<OwnedFd>,
    stage: Stage,
    /// What its first bytes are wanted for.
    curiosity: Curiosity,
    /// It has lasted long enough for its upstream to be watched.
    settled: bool,
    /// A place in the worker's queue is taken.
    pub(crate) queued: bool,
    /// When the worker comes back by itself; 0 for never.
    pub(crate) later: u64,
    up: Way,
    down: Way,
    broken: Option<(Side, Errno)>,
    /// When anything moved last, or the stage began.
    touched: u64,
    /// Handshake, prelude, pace and taps: what most do without.
    extras: Extras,
    entry: Entry,
}

enum Stage {
    /// The connect is under way.
    Dialling,
    /// It stands; the upstream proxy is being told where to go.
    Handshake,
    /// Both ways are open.
    Open {
        /// The upstream's first bytes were looked at, or nobody wants to see them.
        greeted: bool,
    },
    /// The client is given an answer, and then closed.
    Refusing,
}

/// What the worker does next with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Wait for an event.
    Wait,
    /// Come back after the others.
    Again,
    /// Come back then.
    At(u64),
    /// It is over.
    End(End),
}

/// For how long a session may wait, in nanoseconds; `u64::MAX` for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: u64,
    pub(crate) idle: u64,
    pub(crate) half_closed: u64,
}

/// What a session is given to work with.
pub(crate) struct Desk<'a> {
    pub(crate) tools: &'a mut Tools,
    pub(crate) shared: &'a Shared,
    pub(crate) counters: &'a Counters,
    pub(crate) rules: &'a Rules,
    pub(crate) now: u64,
}

impl Session {
    pub(crate) fn new(
        client: OwnedFd,
        upstream: OwnedFd,
        ledger: Ledger,
        curiosity: Curiosity,
        prelude: Option<Box<[u8]>>,
        taps: Option<[Box<dyn Tap>; 2]>,
    ) -> Self {
        let touched = ledger.opened_ns;
        Self {
            client,
            upstream: Some(upstream),
            stage: Stage::Dialling,
            curiosity,
            settled: false,
            queued: false,
            later: 0,
            up: Way::default(),
            down: Way::default(),
            broken: None,
            touched,
            extras: Extras::new(prelude, taps),
            entry: Entry::of(ledger),
        }
    }

    pub(crate) fn sockets(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [Some(self.client.as_fd()), self.upstream.as_ref().map(AsFd::as_fd)]
    }

    /// Notes what epoll tells of one socket.
    pub(crate) fn note(&mut self, side: Side, events: EventFlags) {
        let (out, into) = match side {
            Side::Client => (&mut self.up, &mut self.down),
            Side::Upstream => (&mut self.down, &mut self.up),
        };
        out.note_source(events);
        into.note_target(events);
        if events.contains(EventFlags::ERR) && self.broken.is_none() {
            let socket = match side {
                Side::Client => Some(&self.client),
                Side::Upstream => self.upstream.as_ref(),
            };
            // Reading would no longer find an error that was taken here, so it is kept.
            self.broken = socket.and_then(take_error).map(|errno| (side, errno));
        }
    }

    /// Does all that can be done without waiting.
    pub(crate) fn advance(&mut self, desk: &mut Desk<'_>) -> Next {
        let before = self.progress();
        let Entry { from_client, from_upstream, .. } = self.entry;
        let next = self.step(desk).unwrap_or_else(Next::End);
        Counters::add(&desk.counters.from_client, self.entry.from_client - from_client);
        Counters::add(&desk.counters.from_upstream, self.entry.from_upstream - from_upstream);
        if self.progress() != before {
            self.touched = desk.now;
        }
        next
    }

    /// What changes when anything moves: bytes, or an end.
    fn progress(&self) -> (u64, u64, bool, bool) {
        let Entry { from_client, from_upstream, .. } = self.entry;
        (from_client, from_upstream, self.up.ended, self.down.ended)
    }

    /// Whether it has waited for too long.
    pub(crate) fn overdue(&self, limits: &Limits, now: u64) -> Option<End> {
        let unreachable = |step| End::Unreachable(Cause::of(step, Errno::TIMEDOUT));
        let (limit, end) = match self.stage {
            Stage::Dialling => (limits.connect, unreachable(Step::Connect)),
            Stage::Handshake => (limits.connect, unreachable(Step::Handshake)),
            Stage::Refusing => (LINGER_NS, End::Denied),
            Stage::Open { .. } if self.up.ended || self.down.ended => {
                (limits.half_closed, End::Idle)
            }
            Stage::Open { .. } => (limits.idle, End::Idle),
        };
        (now.saturating_sub(self.touched) >= limit).then_some(end)
    }

    /// It lasts: now its upstream is watched too. Most end before, and are spared the system call.
    pub(crate) fn settle(&mut self) {
        if let Some(upstream) = self.upstream.as_ref().filter(|_| !self.settled) {
            // Without it a peer that vanishes is not noticed, as on any socket.
            let _ = keep_alive(upstream);
            self.settled = true;
        }
    }

    /// Whether its waiting is measured in seconds and not in minutes.
    pub(crate) fn is_young(&self) -> bool {
        !matches!(self.stage, Stage::Open { .. }) || matches!(self.curiosity, Curiosity::Rule)
    }

    /// Closes both sockets as `end` demands, and gives the ledger for the last word.
    pub(crate) fn close(mut self, end: End, tools: &mut Tools) -> Ledger {
        self.up.dissolve(&mut tools.pipes);
        self.down.dissolve(&mut tools.pipes);
        if end != End::Closed && !self.has_answered() {
            reset_on_close(&self.client);
            if let Some(upstream) = &self.upstream {
                reset_on_close(upstream);
            }
        }
        self.entry.into_ledger(self.extras.seen())
    }

    fn has_answered(&self) -> bool {
        matches!(self.stage, Stage::Refusing) && self.down.is_empty()
    }

    fn step(&mut self, desk: &mut Desk<'_>) -> Result<Next, End> {
        if matches!(self.stage, Stage::Refusing) {
            return self.refusing(desk);
        }
        self.look(desk)?;
        if matches!(self.stage, Stage::Refusing) {
            return self.refusing(desk);
        }
        self.dialling(desk)?;
        self.greet(desk)?;
        if matches!(self.stage, Stage::Refusing) {
            return self.refusing(desk);
        }
        let down = self.pump(Side::Upstream, desk)?;
        let up = self.pump(Side::Client, desk)?;
        let next = sooner(sooner(up, down), self.lose_patience(desk)?);
        match self.broken {
            // There is more that can be passed on at once.
            Some(_) if next == Next::Again => Ok(next),
            Some((side, _)) => Err(reset_by(side)),
            None if self.up.shut && self.down.shut => Err(End::Closed),
            None => Ok(next),
        }
    }

    /// Moves one direction's bytes as far as they go now.
    fn pump(&mut self, from: Side, desk: &mut Desk<'_>) -> Result<Next, End> {
        if !self.flows(from) {
            return Ok(Next::Wait);
        }
        let Some(upstream) = &self.upstream else { return Ok(Next::Wait) };
        let (client, upstream) = (self.client.as_fd(), upstream.as_fd());
        let (way, other, source, target) = match from {
            Side::Client => (&mut self.up, &self.down, client, upstream),
            Side::Upstream => (&mut self.down, &self.up, upstream, client),
        };
        let given = match from {
            Side::Client => &mut self.entry.from_client,
            Side::Upstream => &mut self.entry.from_upstream,
        };
        // Only what was looked at passes; the next look comes at once.
        let looking = from == Side::Client && !matches!(self.curiosity, Curiosity::None);
        let (bucket, tap) = self.extras.of(from);
        let mut bucket = bucket.filter(|_| !looking);
        let granted = match &mut bucket {
            _ if looking => 0,
            Some(bucket) => bucket.take(u64::MAX, desk.now),
            None => u64::MAX,
        };
        let mut ends = Ends {
            source,
            target,
            tap,
            allowance: granted,
            given,
            last: other.shut,
            failed: self.broken.filter(|(side, _)| *side == from).map(|(_, errno)| errno),
        };
        let turn = way.pump(desk.tools, &mut ends);
        let left = ends.allowance;
        match (turn, bucket) {
            (Ok(Turn::Throttled), Some(bucket)) => Ok(Next::At(bucket.ready_at(PACED))),
            (turn, bucket) => {
                bucket.into_iter().for_each(|bucket| bucket.give_back(left));
                self.after(from, turn)
            }
        }
    }

    fn after(&mut self, from: Side, turn: Result<Turn, Broken>) -> Result<Next, End> {
        match turn {
            Ok(Turn::Waits) => Ok(Next::Wait),
            // Without a bucket it waits for the next look.
            Ok(Turn::Throttled) if !self.up.readable => Ok(Next::Wait),
            Ok(Turn::Unfinished | Turn::Throttled) => Ok(Next::Again),
            Ok(Turn::Denied) => Err(End::Denied),
            Err(broken) => self.break_off(from, broken),
        }
    }

    /// Whether a direction is open.
    fn flows(&self, from: Side) -> bool {
        matches!(
            (&self.stage, &self.curiosity),
            (Stage::Open { .. }, Curiosity::None | Curiosity::Log)
        ) && self.broken.is_none_or(|(side, _)| side == from)
    }

    /// A socket failed. What the failed side has sent before is still delivered as far as nobody must
    /// be waited for, as it would be without a relay; then both are reset.
    fn break_off(&mut self, from: Side, broken: Broken) -> Result<Next, End> {
        let side = if broken.source { from } else { from.other() };
        let (first, _) = *self.broken.get_or_insert((side, broken.errno));
        if broken.source {
            return Err(reset_by(first));
        }
        let last_words = self.way(from.other());
        (last_words.readable, last_words.announced) = (true, true);
        Ok(Next::Again)
    }

    /// The direction from that side.
    fn way(&mut self, from: Side) -> &mut Way {
        match from {
            Side::Client => &mut self.up,
            Side::Upstream => &mut self.down,
        }
    }
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Upstream,
            Self::Upstream => Self::Client,
        }
    }
}

/// Of what two directions ask for, what comes first.
fn sooner(one: Next, other: Next) -> Next {
    match (one, other) {
        (Next::Again, _) | (_, Next::Again) => Next::Again,
        (Next::At(one), Next::At(other)) => Next::At(one.min(other)),
        (Next::Wait, next) | (next, _) => next,
    }
}

fn reset_by(side: Side) -> End {
    match side {
        Side::Client => End::ClientReset,
        Side::Upstream => End::UpstreamReset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the allocator's share it is a chunk of 176 bytes.
    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 168, "{}", size_of::<Session>());
    }
}
