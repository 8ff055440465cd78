//! Which connections are allowed, denied or throttled.

pub mod deny;
mod draft;
mod fields;
mod ports;
pub(crate) mod reading;
#[cfg(test)]
mod reference;
mod set;
#[cfg(test)]
mod tests;
pub mod throttle;
mod values;

use crate::inspect::{AppProtocol, Finding};
use crate::ledger::{Application, Ledger, Transport};
use draft::Draft;
use ports::Ports;
use set::{Condition, Set};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use values::Prefix;

/// A rule's number, from 1, in the order of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u16);

/// How a connection is denied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum With {
    /// TCP: a reset. UDP: the datagrams are dropped.
    Reset,
    /// In its own protocol, where [`deny::answer`] has one; else as [`With::Reset`].
    Answer,
}

/// Bytes per second, never 0, in each direction of each connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate(pub std::num::NonZeroU64);

/// What happens to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// It is relayed.
    Allow,
    /// It is not.
    Deny(With),
    /// It is relayed, no faster than this.
    Throttle(Rate),
}

/// A verdict and who gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// The rule; nothing where the default decided.
    pub rule: Option<RuleId>,
}

/// What can be said before the client's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Early {
    /// Whatever the connection speaks, this is decided.
    Decided(Decision),
    /// It depends on what the connection speaks: see [`Rules::decide`].
    NeedsFinding,
}

/// A connection or flow about which the rules are asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// TCP or UDP.
    pub transport: Transport,
    /// Where it is to go.
    pub destination: SocketAddr,
    /// Who asked first. Conditions on the application never hold when it is not known.
    pub application: Option<&'a Application>,
}

impl<'a> Question<'a> {
    /// About the connection or flow of a ledger.
    #[must_use]
    pub fn of(ledger: &'a Ledger) -> Self {
        Self {
            transport: ledger.transport,
            destination: ledger.destination,
            application: ledger.application.as_deref(),
        }
    }
}

/// The rules, compiled: what a decision costs hardly grows with the rules, and not with the names in them.
#[derive(Clone, Debug)]
pub struct Rules {
    verdicts: Vec<Verdict>,
    default: Verdict,
    all: Set,
    /// Those that depend on what the connection speaks.
    curious: Set,
    transports: Condition<Transport>,
    remotes: Condition<Prefix>,
    /// The lengths of the prefixes, per family.
    lengths: Vec<(bool, u8)>,
    ports: Ports,
    exes: Condition<PathBuf>,
    users: Condition<u32>,
    protocols: Condition<AppProtocol>,
    names: Condition<Box<str>>,
}

impl Default for Rules {
    /// No rules: everything is allowed.
    fn default() -> Self {
        Self::compile(&[], Verdict::Allow)
    }
}

impl Rules {
    /// What can be decided without a [`Finding`]. Also [`Early::NeedsFinding`] where the denial of a connection is to be
    /// answered in its protocol.
    #[must_use]
    pub fn early(&self, question: &Question<'_>) -> Early {
        let candidates = self.candidates(question);
        let mut sure = candidates.clone();
        sure.keep_not(&self.curious);
        let first = sure.first();
        let mut curious = candidates;
        curious.keep(&self.curious);
        let earlier = curious.first().is_some_and(|rule| first.is_none_or(|first| rule < first));
        let decision = self.decision(first);
        let answers =
            decision.verdict == Verdict::Deny(With::Answer) && question.transport == Transport::Tcp;
        if earlier || answers { Early::NeedsFinding } else { Early::Decided(decision) }
    }

    /// The first rule all of whose conditions hold, or else the default, decides.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>, finding: &Finding) -> Decision {
        let mut rules = self.candidates(question);
        self.protocols.keep(&mut rules, [finding.protocol].iter());
        self.names.keep(&mut rules, keys(finding.name.as_deref()));
        self.decision(rules.first())
    }

    /// Whether some rule depends on what connections speak: then they must be inspected.
    #[must_use]
    pub fn need_findings(&self) -> bool {
        let answers = |verdict: &Verdict| *verdict == Verdict::Deny(With::Answer);
        self.curious.first().is_some() || self.verdicts.iter().any(answers)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether only the default decides.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// At most [`set::MOST_RULES`].
    fn compile(rules: &[(Draft, Verdict)], default: Verdict) -> Self {
        let mut compiled = Self {
            verdicts: rules.iter().map(|(_, verdict)| *verdict).collect(),
            default,
            all: Set::NONE,
            curious: Set::NONE,
            transports: Condition::default(),
            remotes: Condition::default(),
            lengths: Vec::new(),
            ports: Ports::of(rules.iter().map(|(rule, _)| rule.ports.as_slice())),
            exes: Condition::default(),
            users: Condition::default(),
            protocols: Condition::default(),
            names: Condition::default(),
        };
        for (index, (rule, _)) in (0..).zip(rules) {
            compiled.add(index, rule);
        }
        let lengths = compiled.remotes.keys().map(|prefix| (prefix.first.is_ipv4(), prefix.bits));
        compiled.lengths = lengths.collect();
        compiled.lengths.sort_unstable();
        compiled.lengths.dedup();
        compiled
    }

    fn add(&mut self, index: u16, rule: &Draft) {
        self.all.insert(index);
        if rule.needs_finding() {
            self.curious.insert(index);
        }
        self.transports.add(index, rule.transport, []);
        self.remotes.add(index, rule.prefixes(false), rule.prefixes(true));
        self.exes.add(index, rule.exes.iter().cloned(), []);
        self.users.add(index, rule.users.iter().copied(), []);
        self.protocols.add(index, rule.protocols.iter().copied(), []);
        self.names.add(index, rule.names(false), rule.names(true));
    }

    /// The rules that hold, as far as can be said without a finding.
    fn candidates(&self, question: &Question<'_>) -> Set {
        let mut rules = self.all.clone();
        if self.is_empty() {
            return rules;
        }
        self.transports.keep(&mut rules, [question.transport].iter());
        let prefixes = self.prefixes(question.destination.ip());
        self.remotes.keep(&mut rules, prefixes.iter());
        self.ports.keep(&mut rules, question.destination.port());
        let exe = question.application.and_then(|application| application.exe.as_deref());
        self.exes.keep::<Path>(&mut rules, exe.into_iter());
        let user = question.application.map(|application| &application.uid);
        self.users.keep(&mut rules, user.into_iter());
        rules
    }

    /// The prefixes in which an address is, of those lengths that occur.
    fn prefixes(&self, address: IpAddr) -> Vec<Prefix> {
        let address = address.to_canonical();
        let lengths = self.lengths.iter().filter(|(v4, _)| *v4 == address.is_ipv4());
        lengths.filter_map(|(_, bits)| Prefix::of(address, *bits)).collect()
    }

    fn decision(&self, rule: Option<u16>) -> Decision {
        let verdict = rule.and_then(|rule| self.verdicts.get(usize::from(rule)));
        Decision {
            verdict: verdict.copied().unwrap_or(self.default),
            rule: rule.map(|rule| RuleId(rule + 1)),
        }
    }
}

/// What patterns can be keyed by that fit a name: the name, each rest of it from a dot on, and the empty one for all.
fn keys(name: Option<&str>) -> impl Iterator<Item = &str> + Clone {
    let rests =
        name.into_iter().flat_map(|name| name.match_indices('.').map(|(at, _)| &name[at..]));
    name.into_iter().chain(rests).chain(name.map(|_| ""))
}
