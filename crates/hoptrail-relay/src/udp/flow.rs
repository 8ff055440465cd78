//! One flow and where it stands.

use super::associate::Association;
use super::bucket::Bucket;
use super::counts::Lost;
use super::link::Link;
use super::looking::Looking;
use crate::ledger::Ledger;
use crate::rules::{Decision, Verdict};
use hoptrail::UdpRedirect;
use std::net::SocketAddr;

/// What names a flow: the listener that has its peer, and the peer.
pub(super) type Key = (u8, SocketAddr);

/// A flow, also one of which nothing is passed on.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: Key,
    pub(super) ledger: Ledger,
    /// Nothing for one that is forwarded.
    pub(super) redirect: Option<UdpRedirect>,
    pub(super) stage: Stage,
    /// When the kernel was last asked whose flow this peer is.
    pub(super) asked_ns: u64,
    /// Of a flow that is throttled, for each direction.
    buckets: Option<[Bucket; 2]>,
    /// The turn of its last datagram, and how many of the client's there were in it.
    turn: u64,
    in_turn: usize,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// It is over, and its end was told; what still comes is lost for this reason.
    Over(Lost),
    /// Its first datagrams do not say yet what it is, and a rule wants to know.
    Looking(Looking),
    /// A SOCKS5 server is being asked.
    Asking(Box<Association>),
    /// Datagrams are passed on.
    Open(Link),
}

/// Where a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Up,
    Down,
}

impl Flow {
    pub(super) const fn new(
        key: Key,
        ledger: Ledger,
        redirect: Option<UdpRedirect>,
        now_ns: u64,
    ) -> Self {
        let stage = Stage::Over(Lost::Unreachable);
        Self { key, ledger, redirect, stage, asked_ns: now_ns, buckets: None, turn: 0, in_turn: 0 }
    }

    /// What was decided holds from now on. True when it may go on.
    pub(super) fn decided(&mut self, decision: Decision, now_ns: u64) -> bool {
        self.ledger.rule = decision.rule;
        self.ledger.throttled = matches!(decision.verdict, Verdict::Throttle(_));
        match decision.verdict {
            Verdict::Allow => self.buckets = None,
            Verdict::Throttle(rate) => self.buckets = Some([Bucket::new(rate, now_ns); 2]),
            Verdict::Deny(_) => return false,
        }
        true
    }

    /// Counts a datagram of the client in this turn; gives how many there were.
    pub(super) const fn count_in(&mut self, turn: u64) -> usize {
        if self.turn != turn {
            self.turn = turn;
            self.in_turn = 0;
        }
        self.in_turn += 1;
        self.in_turn
    }

    /// Whether so many bytes may pass now.
    pub(super) fn passes(&mut self, direction: Direction, bytes: usize, now_ns: u64) -> bool {
        let bucket = self.buckets.as_mut().map(|buckets| &mut buckets[direction as usize]);
        bucket.is_none_or(|bucket| bucket.take(bytes, now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::sample::bare;
    use crate::rules::{Rate, RuleId, With};
    use std::num::NonZeroU64;

    #[test]
    fn the_ledger_has_what_was_decided() {
        let rate = Rate(NonZeroU64::new(1000).unwrap());
        let peer = bare().peer;
        for (verdict, throttled) in [
            (Verdict::Allow, false),
            (Verdict::Deny(With::Reset), false),
            (Verdict::Throttle(rate), true),
        ] {
            let mut flow = Flow::new((0, peer), bare(), None, 0);
            flow.decided(Decision { verdict, rule: Some(RuleId(2)) }, 0);
            assert_eq!((flow.ledger.rule, flow.ledger.throttled), (Some(RuleId(2)), throttled));
        }
    }
}
