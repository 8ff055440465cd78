//! What the UDP thread counts beyond bytes: datagrams, and why some were not passed on.

use crate::counters::Counters;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Written by the UDP thread alone, read by metrics.
#[derive(Default, Debug)]
pub struct UdpCounts {
    /// Datagrams of clients that were passed on.
    pub from_client: AtomicU64,
    /// Datagrams of upstreams that were passed on.
    pub from_upstream: AtomicU64,
    /// Flows that had to make room for others.
    pub evicted: AtomicU64,
    lost: [AtomicU64; Lost::ALL.len()],
}

/// Why a datagram was not passed on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lost {
    /// A rule denies its flow.
    Denied,
    /// Its flow is throttled, and this was over its rate.
    Throttled,
    /// Its flow sent faster than it could be passed on, while others waited.
    Flood,
    /// The socket on the other side was full.
    Full,
    /// It was sent to the listener's own address: there is nowhere to send it.
    Direct,
    /// Its flow could not be opened.
    Unreachable,
    /// It was too long for the way on (a SOCKS5 header needs room, too).
    TooLong,
    /// An upstream answered that nobody is there (an ICMP error). Counts the answers.
    Refused,
    /// A SOCKS5 server sent a fragment, something else than a datagram, or one of another sender.
    Foreign,
    /// It would have begun a flow, but the relay is about to stop.
    Draining,
}

impl Lost {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::Denied,
        Self::Throttled,
        Self::Flood,
        Self::Full,
        Self::Direct,
        Self::Unreachable,
        Self::TooLong,
        Self::Refused,
        Self::Foreign,
        Self::Draining,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Throttled => "throttled",
            Self::Flood => "flood",
            Self::Full => "full",
            Self::Direct => "direct",
            Self::Unreachable => "unreachable",
            Self::TooLong => "too-long",
            Self::Refused => "refused",
            Self::Foreign => "foreign",
            Self::Draining => "draining",
        }
    }
}

impl UdpCounts {
    /// Datagrams that were not passed on for this reason.
    #[must_use]
    pub fn lost(&self, why: Lost) -> u64 {
        self.lost[why as usize].load(Relaxed)
    }

    pub(super) fn lose(&self, why: Lost) {
        Counters::add(&self.lost[why as usize], 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_counted_by_itself_and_has_a_name() {
        let counts = UdpCounts::default();
        for (i, why) in Lost::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, i);
            (0..=i).for_each(|_| counts.lose(why));
            assert!(Lost::ALL[..i].iter().all(|other| other.name() != why.name()));
        }
        for (i, why) in Lost::ALL.into_iter().enumerate() {
            assert_eq!(counts.lost(why), i as u64 + 1);
        }
    }
}
