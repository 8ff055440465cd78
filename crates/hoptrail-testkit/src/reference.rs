//! The decision once more, as slowly and plainly as the documentation says it: the model against
//! which the compiled image and `decide` are tested.
//!
//! Straight loops over providers and filters; nothing here is shared with the code under test but
//! the types of its answers.

use hoptrail_core::compile::{Cgroup, Filter, Members, Policy, Prefix, Provider};
use hoptrail_core::decide::{Flow, Past, Process, Verdict};
use hoptrail_core::image::{Action, Image};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Exe, MAX_HOPS, Origin, Provenance};
use hoptrail_core::{Endpoint, Ip, Protocol};
use std::net::IpAddr;

/// The process that connects, with everything that can be asked of it.
#[derive(Clone, Debug)]
pub struct Connector {
    /// Its executable.
    pub exe: Exe,
    /// Its user.
    pub uid: u32,
    /// Its cgroup: ids from the root down.
    pub cgroup: Vec<u64>,
}

impl Process for Connector {
    fn exe(&self) -> Exe {
        self.exe
    }

    fn uid(&self) -> u32 {
        self.uid
    }

    fn cgroup_at(&self, level: u32) -> u64 {
        self.cgroup.get(level as usize).copied().unwrap_or(0)
    }
}

/// What is known of the connection before this leg.
#[derive(Clone, Debug)]
pub enum Before {
    /// The socket has no records, and none could be adopted.
    Nothing,
    /// It has a trail, declared or adopted.
    Trail {
        /// The process that made the first leg.
        origin: Origin,
        /// How the first hop's socket came to its trail.
        first: Provenance,
        /// Redirect handles of the hops, oldest first.
        handles: Vec<u64>,
    },
}

impl Before {
    /// The same for the code under test, put together as every engine does it.
    pub fn past<I: Image + ?Sized>(&self, image: &I, members: u64) -> Past {
        match self {
            Self::Nothing => Past::unrecorded(members),
            Self::Trail { origin, first, handles } => {
                Past::of_trail(image, *origin, *first, handles.len() as u32, |i| {
                    handles[i as usize]
                })
            }
        }
    }
}

/// One provider's outcome: provider, number of the filter in the policy, why.
pub type Note = (u32, u32, Reason);

/// Decides as the documentation says. Providers are numbered by falling rank, filters in the order
/// of asking.
pub fn evaluate(
    policy: &Policy,
    flow: &Flow,
    connector: &Connector,
    before: &Before,
    listening: impl Fn(u32, Endpoint) -> bool,
) -> (Verdict, Vec<Note>) {
    let mut providers: Vec<&Provider> = policy.providers.iter().collect();
    providers.sort_by_key(|p| -p.rank);
    let leg = Leg { providers: &providers, flow, connector, before };
    let mut notes: Vec<Note> = Vec::new();
    let mut first_filter = 0;
    for (number, provider) in providers.iter().enumerate() {
        if let Some(filter) = provider.filters.iter().position(|f| leg.matches(f)) {
            let taken = notes.iter().any(|(_, _, reason)| *reason == Reason::FilterRedirect);
            let outcome = match provider.filters[filter].action {
                Action::Permit => Reason::FilterPermit,
                Action::Block => Reason::FilterBlock,
                Action::Redirect => leg.redirect(number, taken, &listening),
            };
            notes.push((number as u32, (first_filter + filter) as u32, outcome));
            if action_of(outcome) == Action::Block {
                break;
            }
        }
        first_filter += provider.filters.len();
    }
    (verdict(&notes), notes)
}

/// The providers as whose proxy a process may act, by their numbers.
#[must_use]
pub fn members(policy: &Policy, connector: &Connector) -> Vec<usize> {
    let mut providers: Vec<&Provider> = policy.providers.iter().collect();
    providers.sort_by_key(|p| -p.rank);
    (0..providers.len()).filter(|&i| is_member(&providers[i].members, connector)).collect()
}

fn is_member(members: &Members, connector: &Connector) -> bool {
    members.exes.contains(&connector.exe)
        || members.users.contains(&connector.uid)
        || below_any(&members.cgroups, &connector.cgroup)
}

/// A block refuses whatever the others say; then the redirect; then why it passes: most of all that
/// somebody was bypassed, otherwise what the first provider said.
fn verdict(notes: &[Note]) -> Verdict {
    let block = notes.iter().find(|n| action_of(n.2) == Action::Block);
    let redirect = notes.iter().find(|n| action_of(n.2) == Action::Redirect);
    let bypass = notes.iter().find(|n| n.2 == Reason::ListenerGoneBypass);
    let Some(&(provider, filter, reason)) = block.or(redirect).or(bypass).or(notes.first()) else {
        return Verdict::NO_FILTER;
    };
    Verdict {
        action: action_of(reason),
        reason,
        provider: Some(provider as u8),
        filter: filter as u16,
    }
}

fn action_of(reason: Reason) -> Action {
    match reason {
        Reason::FilterRedirect => Action::Redirect,
        Reason::FilterBlock | Reason::ListenerGoneBlock | Reason::TrailFull => Action::Block,
        _ => Action::Permit,
    }
}

struct Leg<'a> {
    providers: &'a [&'a Provider],
    flow: &'a Flow,
    connector: &'a Connector,
    before: &'a Before,
}

impl Leg<'_> {
    fn matches(&self, filter: &Filter) -> bool {
        let original = self.original();
        let protocol = match self.flow.protocol {
            Protocol::Tcp => filter.tcp,
            Protocol::Udp => filter.udp,
        };
        let remote = self.remote();
        let port = self.flow.remote.port;
        protocol
            && (filter.loopback || !remote.is_loopback())
            && (filter.remote.is_empty() || filter.remote.iter().any(|p| contains(p, remote)))
            && !filter.remote_not.iter().any(|p| contains(p, remote))
            && (filter.ports.is_empty() || filter.ports.iter().any(|r| r.contains(&port)))
            && named(&filter.exes, &self.connector.exe)
            && named(&filter.users, &self.connector.uid)
            && filter.cgroups.as_ref().is_none_or(|c| below_any(c, &self.connector.cgroup))
            && named(&filter.original_exes, &original.exe)
            && named(&filter.original_users, &original.uid)
    }

    /// Where Linux connects to.
    fn remote(&self) -> IpAddr {
        match IpAddr::from(self.flow.remote.ip) {
            IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        }
    }

    fn original(&self) -> Origin {
        match self.before {
            Before::Nothing => Origin { exe: self.connector.exe, uid: self.connector.uid },
            Before::Trail { origin, .. } => *origin,
        }
    }

    /// What becomes of a matching redirect filter of provider `number`, when a higher one has or has
    /// not `taken` the connection already.
    fn redirect(
        &self,
        number: usize,
        taken: bool,
        listening: impl Fn(u32, Endpoint) -> bool,
    ) -> Reason {
        let provider = self.providers[number];
        let remote = self.remote();
        let v4 = remote.is_ipv4();
        let listener = if v4 { provider.listen_v4 } else { provider.listen_v6 };
        let wanted = Endpoint::new(Ip::from(remote), self.flow.remote.port);
        if self.handled_by().contains(&number) {
            Reason::AlreadyHandled
        } else if is_many(remote) {
            Reason::ManyReceivers
        } else if listener == Some(wanted) {
            Reason::OwnListener
        } else if !listener.is_some_and(|at| listening(number as u32, at)) {
            if provider.bypass { Reason::ListenerGoneBypass } else { Reason::ListenerGoneBlock }
        } else if self.lost() && self.handled_by().iter().any(|&p| number < p) {
            Reason::RankedBefore
        } else if taken {
            Reason::AnotherRedirected
        } else if self.hops() >= MAX_HOPS {
            Reason::TrailFull
        } else {
            Reason::FilterRedirect
        }
    }

    /// Providers that are known to have handled the connection.
    fn handled_by(&self) -> Vec<usize> {
        let handled = |p: &Provider| match self.before {
            Before::Nothing => is_member(&p.members, self.connector),
            Before::Trail { handles, .. } => handles.contains(&p.handle()),
        };
        (0..self.providers.len()).filter(|&i| handled(self.providers[i])).collect()
    }

    /// Whether others may have handled it of whom nothing is known.
    fn lost(&self) -> bool {
        match self.before {
            Before::Nothing => true,
            Before::Trail { first, .. } => *first == Provenance::Unrecorded,
        }
    }

    fn hops(&self) -> usize {
        match self.before {
            Before::Nothing => 0,
            Before::Trail { handles, .. } => handles.len(),
        }
    }
}

fn named<T: PartialEq>(condition: &Option<Vec<T>>, value: &T) -> bool {
    condition.as_ref().is_none_or(|values| values.contains(value))
}

fn below_any(cgroups: &[Cgroup], path: &[u64]) -> bool {
    cgroups.iter().any(|c| path.starts_with(&c.path))
}

fn is_many(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

/// Bit by bit; a prefix contains addresses of its own family only.
fn contains(prefix: &Prefix, ip: IpAddr) -> bool {
    let bytes = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (a, b) = (bytes(IpAddr::from(prefix.ip)), bytes(ip));
    let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
    a.len() == b.len() && (0..usize::from(prefix.bits)).all(|i| bit(&a, i) == bit(&b, i))
}
