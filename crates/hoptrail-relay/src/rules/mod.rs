//! Which connections are allowed, denied or throttled.

pub mod deny;
pub mod throttle;

use crate::inspect::Finding;
use crate::ledger::{Application, Ledger, Transport};
use std::net::SocketAddr;

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

/// The rules, compiled: a decision costs the same for one rule and for thousands.
#[derive(Clone, Debug, Default)]
pub struct Rules {}

impl Rules {
    /// What can be decided without a [`Finding`]. Also [`Early::NeedsFinding`] where a denial is to be answered in the
    /// connection's protocol.
    #[must_use]
    pub fn early(&self, question: &Question<'_>) -> Early {
        let _ = question;
        Early::Decided(Decision { verdict: Verdict::Allow, rule: None })
    }

    /// The first rule all of whose conditions hold, or else the default, decides.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>, finding: &Finding) -> Decision {
        let _ = (question, finding);
        Decision { verdict: Verdict::Allow, rule: None }
    }
}
