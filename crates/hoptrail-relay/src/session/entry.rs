//! What a session keeps of its connection's ledger: the same in half the memory, since each idle connection has it.
//!
//! The [`Ledger`] that others are shown is made of it when the connection ends, which asks for no memory.

use crate::inspect::Finding;
use crate::ledger::{Application, Ledger, Transport};
use crate::rules::{Question, RuleId};
use hoptrail::TrailId;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

/// The ledger of a TCP connection, but for what the taps have seen, which they know themselves.
pub(super) struct Entry {
    pub(super) opened_ns: u64,
    pub(super) from_client: u64,
    pub(super) from_upstream: u64,
    pub(super) finding: Option<Box<Finding>>,
    pub(super) rule: Option<RuleId>,
    pub(super) throttled: bool,
    hops: u8,
    endpoints: Endpoints,
    /// Nothing where the engine told nothing, as of a connection that is forwarded.
    redirected: Option<Box<Redirected>>,
}

/// What only the engine can tell.
struct Redirected {
    application: Option<Arc<Application>>,
    trail: Option<TrailId>,
}

/// Peer and destination. Two of IPv4 take no more room than a pointer and its tag.
enum Endpoints {
    V4([SocketAddrV4; 2]),
    V6(Box<[SocketAddrV6; 2]>),
    /// A listener of one family, and a destination of the other.
    Mixed(Box<[SocketAddr; 2]>),
}

impl Entry {
    pub(super) fn of(ledger: Ledger) -> Self {
        let Ledger {
            transport,
            opened_ns,
            peer,
            destination,
            application,
            trail,
            hops,
            finding,
            rule,
            throttled,
            watched,
            from_client,
            from_upstream,
        } = ledger;
        debug_assert_eq!((transport, watched), (Transport::Tcp, None));
        let redirected = application.is_some() || trail.is_some();
        Self {
            opened_ns,
            from_client,
            from_upstream,
            finding,
            rule,
            throttled,
            hops,
            endpoints: Endpoints::of([peer, destination]),
            redirected: redirected.then(|| Box::new(Redirected { application, trail })),
        }
    }

    /// What is told at the end.
    pub(super) fn into_ledger(self, watched: Option<u16>) -> Ledger {
        let [peer, destination] = self.endpoints.pair();
        let redirected = self.redirected.map(|redirected| *redirected);
        let Redirected { application, trail } =
            redirected.unwrap_or(Redirected { application: None, trail: None });
        Ledger {
            transport: Transport::Tcp,
            opened_ns: self.opened_ns,
            peer,
            destination,
            application,
            trail,
            hops: self.hops,
            finding: self.finding,
            rule: self.rule,
            throttled: self.throttled,
            watched,
            from_client: self.from_client,
            from_upstream: self.from_upstream,
        }
    }

    pub(super) fn destination(&self) -> SocketAddr {
        self.endpoints.pair()[1]
    }

    /// What the rules are asked about it.
    pub(super) fn question(&self) -> Question<'_> {
        let redirected = self.redirected.as_deref();
        Question {
            transport: Transport::Tcp,
            destination: self.destination(),
            application: redirected.and_then(|redirected| redirected.application.as_deref()),
        }
    }
}

impl Endpoints {
    fn of(pair: [SocketAddr; 2]) -> Self {
        match pair {
            [SocketAddr::V4(peer), SocketAddr::V4(destination)] => Self::V4([peer, destination]),
            [SocketAddr::V6(peer), SocketAddr::V6(destination)] => {
                Self::V6(Box::new([peer, destination]))
            }
            pair => Self::Mixed(Box::new(pair)),
        }
    }

    fn pair(&self) -> [SocketAddr; 2] {
        match self {
            Self::V4(pair) => pair.map(SocketAddr::V4),
            Self::V6(pair) => pair.map(SocketAddr::V6),
            Self::Mixed(pair) => **pair,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::sample::{bare, ledger};
    use std::net::Ipv6Addr;

    /// With the allocator's share: chunks of 48 and 64 bytes.
    #[test]
    fn what_is_apart_is_small_too() {
        assert!(size_of::<Redirected>() <= 40 && size_of::<[SocketAddrV6; 2]>() <= 56);
    }

    #[test]
    fn a_ledger_comes_out_as_it_went_in() {
        let mut known = Ledger { watched: None, ..ledger("example.org") };
        let forwarded = || Ledger { transport: Transport::Tcp, ..bare() };
        let nameless = Ledger { trail: known.trail, hops: 3, throttled: true, ..forwarded() };
        for before in [known.clone(), forwarded(), nameless] {
            let told = format!("{before:?}");
            assert_eq!(format!("{:?}", Entry::of(before).into_ledger(None)), told);
        }
        known.watched = Some(7);
        let told = format!("{known:?}");
        known.watched = None;
        assert_eq!(format!("{:?}", Entry::of(known).into_ledger(Some(7))), told);
    }

    #[test]
    fn the_rules_are_asked_the_same() {
        for before in [ledger("a"), Ledger { transport: Transport::Tcp, ..bare() }] {
            let asked = format!("{:?}", Question::of(&before));
            assert_eq!(format!("{:?}", Entry::of(before).question()), asked);
        }
    }

    /// Equality is of scopes and flow labels too, and a mapped address is not one of IPv4.
    #[test]
    fn addresses_of_every_kind_come_out_as_they_went_in() {
        let local = SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 0xf_1234, 3);
        let mapped = SocketAddrV6::new(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1), 80, 0, 0);
        let every = [
            "192.0.2.10:443".parse().unwrap(),
            "0.0.0.0:0".parse().unwrap(),
            "[::]:0".parse().unwrap(),
            "[2001:db8::1]:65535".parse().unwrap(),
            SocketAddr::V6(local),
            SocketAddr::V6(mapped),
        ];
        for peer in every {
            for destination in every {
                let entry = Entry::of(Ledger { peer, destination, ..ledger("a") });
                assert_eq!(entry.destination(), destination);
                let after = entry.into_ledger(None);
                assert_eq!((after.peer, after.destination), (peer, destination));
            }
        }
    }
}
