//! Decision cases as data: one table ([`CASES`]) that is run against the core alone, the core
//! against the reference model, and the real kernel.
//!
//! Everything is symbolic. A *person* is a name (`app`, `other`, or a provider's) that stands for an
//! executable, a user and a cgroup; the process of that name has all three, and a provider's proxy is
//! the process with the provider's name. A [`World`] says what the names are; [`realise`] turns a case
//! into what `decide` takes.

mod table;

pub use table::CASES;

use crate::reference::{Before, Connector};
use hoptrail_core::compile::{self, Cgroup, Policy, Prefix};
use hoptrail_core::decide::Flow;
use hoptrail_core::image::Action;
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Exe, Origin, Provenance};
use hoptrail_core::{Endpoint, Ip, Protocol};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

/// The cgroup above those of all persons, for conditions.
pub const EVERYONE: &str = "everyone";
/// A person that does not exist at present: no executable, user or cgroup.
pub const MISSING: &str = "missing";

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Unique; a sentence in kebab case.
    pub name: &'static str,
    /// In any order.
    pub providers: &'static [ProviderSpec],
    /// The person that connects.
    pub by: &'static str,
    /// What its socket carries.
    pub trail: TrailSpec,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where it wants to go.
    pub to: To,
    /// Providers whose listeners are gone.
    pub down: &'static [&'static str],
    /// What must come out.
    pub expect: Expect,
}

/// How the connecting socket came to its trail. The application of every trail is `app`.
#[derive(Clone, Copy, Debug)]
pub enum TrailSpec {
    /// It has none, and there is nothing to adopt.
    Nothing,
    /// Its owner set records that were made by these providers, oldest first.
    Declared(&'static [&'static str]),
    /// It adopted them from the connection that its owner accepted.
    Adopted(&'static [&'static str]),
    /// The proxy of `by` connected without records and nothing to adopt; these providers then
    /// redirected, and the last one's proxy set its records. `by` is the original process.
    Unrecorded {
        /// Whose proxy began the trail.
        by: &'static str,
        /// Who redirected since.
        then: &'static [&'static str],
    },
}

/// A destination.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// Address and port. An IPv4-mapped one means an IPv6 socket.
    Address(&'static str),
    /// Where that provider listens for IPv4 destinations.
    ListenerOf(&'static str),
}

/// What must come out of a case.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// What becomes of the connect.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// Provider and number of its filter that decided.
    pub decided_by: Option<(&'static str, usize)>,
    /// What other providers must have answered.
    pub also: &'static [(&'static str, Reason)],
}

/// What becomes of a connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes where it wanted to.
    Permit,
    /// It is refused.
    Block,
    /// It goes to that provider's listener.
    RedirectTo(&'static str),
}

/// A provider.
#[derive(Clone, Copy, Debug)]
pub struct ProviderSpec {
    /// Its name, and the person that is its proxy.
    pub name: &'static str,
    /// Higher is asked first.
    pub rank: i64,
    /// `on-unavailable = "bypass"`.
    pub bypass: bool,
    /// It has a listener for IPv4 destinations, for IPv6 destinations.
    pub listens: (bool, bool),
    /// By what its proxy is known.
    pub members: MembersBy,
    /// Its filters.
    pub filters: &'static [FilterSpec],
}

/// By what a provider's proxy is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MembersBy {
    /// Its cgroup.
    Cgroup,
    /// Its executable.
    Exe,
    /// Its user.
    User,
}

/// A filter, written as in the configuration. Empty means no condition.
#[derive(Clone, Copy, Debug)]
pub struct FilterSpec {
    /// What it does.
    pub action: Action,
    /// `None` for both.
    pub protocol: Option<Protocol>,
    /// Prefixes; a leading `!` excludes.
    pub remote: &'static [&'static str],
    /// Ports.
    pub ports: &'static [RangeInclusive<u16>],
    /// Persons whose executable connects.
    pub exe: &'static [&'static str],
    /// Persons whose user connects.
    pub user: &'static [&'static str],
    /// Persons, or [`EVERYONE`], whose cgroup contains the process that connects.
    pub cgroup: &'static [&'static str],
    /// Persons whose executable made the connection first.
    pub original_exe: &'static [&'static str],
    /// Persons whose user made the connection first.
    pub original_user: &'static [&'static str],
    /// Also loopback destinations.
    pub loopback: bool,
}

/// What the symbolic names are. For [`MISSING`] everything is `None`.
pub trait World {
    /// The executable of a person.
    fn exe(&self, person: &str) -> Option<Exe>;
    /// The user of a person.
    fn user(&self, person: &str) -> Option<u32>;
    /// The cgroup of a person, or of [`EVERYONE`].
    fn cgroup(&self, person: &str) -> Option<Cgroup>;
    /// Where a provider listens for IPv4 (`v4`) or IPv6 destinations.
    fn listener(&self, provider: &str, v4: bool) -> Endpoint;
}

/// A case in the terms of `decide`.
#[derive(Clone, Debug)]
pub struct Realised {
    /// The policy, its providers in the order of the case.
    pub policy: Policy,
    /// The connection.
    pub flow: Flow,
    /// The process that connects.
    pub connector: Connector,
    /// What its socket carries.
    pub before: Before,
    /// Where nothing listens.
    pub down: Vec<Endpoint>,
}

/// What a case is in `world`.
///
/// # Panics
/// When the case names a person that `world` does not have, or is not well formed.
#[must_use]
pub fn realise(case: &Case, world: &impl World) -> Realised {
    let providers = case.providers.iter().map(|p| provider(p, world)).collect();
    let down = case.down.iter().flat_map(|name| listeners(name, world)).collect();
    Realised {
        policy: Policy { providers },
        flow: Flow { protocol: case.protocol, remote: destination(case.to, world) },
        connector: connector(case.by, world),
        before: before(case.trail, world),
        down,
    }
}

/// The process of a person.
///
/// # Panics
/// When `world` does not have that person.
#[must_use]
pub fn connector(person: &str, world: &impl World) -> Connector {
    let origin = origin(person, world);
    let cgroup = world.cgroup(person).unwrap_or_else(|| panic!("no cgroup of {person}"));
    Connector { exe: origin.exe, uid: origin.uid, cgroup: cgroup.path }
}

/// The GUID of a provider: its name, padded.
///
/// # Panics
/// When the name is longer than a redirect handle, which would no longer be unique.
#[must_use]
pub fn guid(provider: &str) -> [u8; 16] {
    assert!(provider.len() <= 8, "provider name {provider} is longer than eight bytes");
    let mut guid = [0; 16];
    guid[..provider.len()].copy_from_slice(provider.as_bytes());
    guid
}

fn origin(person: &str, world: &impl World) -> Origin {
    let exe = world.exe(person).unwrap_or_else(|| panic!("no executable of {person}"));
    let uid = world.user(person).unwrap_or_else(|| panic!("no user of {person}"));
    Origin { exe, uid }
}

fn listeners(provider: &str, world: &impl World) -> [Endpoint; 2] {
    [world.listener(provider, true), world.listener(provider, false)]
}

fn destination(to: To, world: &impl World) -> Endpoint {
    match to {
        To::Address(text) => text.parse::<SocketAddr>().expect("an address and port").into(),
        To::ListenerOf(provider) => world.listener(provider, true),
    }
}

fn before(trail: TrailSpec, world: &impl World) -> Before {
    let (by, first, names) = match trail {
        TrailSpec::Nothing => return Before::Nothing,
        TrailSpec::Declared(names) | TrailSpec::Adopted(names) => ("app", Provenance::Fresh, names),
        TrailSpec::Unrecorded { by, then } => (by, Provenance::Unrecorded, then),
    };
    let handles = names.iter().map(|name| compile::handle_of(guid(name))).collect();
    Before::Trail { origin: origin(by, world), first, handles }
}

fn provider(spec: &ProviderSpec, world: &impl World) -> compile::Provider {
    let [v4, v6] = listeners(spec.name, world);
    let mut members = compile::Members::default();
    match spec.members {
        MembersBy::Cgroup => members.cgroups.extend(world.cgroup(spec.name)),
        MembersBy::Exe => members.exes.extend(world.exe(spec.name)),
        MembersBy::User => members.users.extend(world.user(spec.name)),
    }
    compile::Provider {
        name: spec.name.into(),
        guid: guid(spec.name),
        rank: spec.rank,
        listen_v4: spec.listens.0.then_some(v4),
        listen_v6: spec.listens.1.then_some(v6),
        bypass: spec.bypass,
        context: 0,
        members,
        filters: spec.filters.iter().map(|f| filter(f, world)).collect(),
    }
}

fn filter(spec: &FilterSpec, world: &impl World) -> compile::Filter {
    let (not, yes): (Vec<&str>, Vec<&str>) = spec.remote.iter().partition(|p| p.starts_with('!'));
    compile::Filter {
        action: spec.action,
        tcp: spec.protocol != Some(Protocol::Udp),
        udp: spec.protocol != Some(Protocol::Tcp),
        remote: yes.into_iter().map(prefix).collect(),
        remote_not: not.into_iter().map(|p| prefix(&p[1..])).collect(),
        ports: spec.ports.to_vec(),
        exes: named(spec.exe, |p| world.exe(p)),
        users: named(spec.user, |p| world.user(p)),
        cgroups: named(spec.cgroup, |p| world.cgroup(p)),
        original_exes: named(spec.original_exe, |p| world.exe(p)),
        original_users: named(spec.original_user, |p| world.user(p)),
        loopback: spec.loopback,
    }
}

fn named<T>(persons: &[&str], of: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    (!persons.is_empty()).then(|| persons.iter().filter_map(|p| of(p)).collect())
}

fn prefix(text: &str) -> Prefix {
    let (ip, bits) = text.split_once('/').expect("a prefix has a slash");
    let ip: IpAddr = ip.parse().expect("an address before the slash");
    Prefix { ip: Ip::from(ip), bits: bits.parse().expect("a number of bits") }
}
