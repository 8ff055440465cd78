//! A rule as it is written.

use super::values::{Name, Prefix, Remote};
use super::{Rate, Verdict, With};
use crate::inspect::AppProtocol;
use crate::ledger::Transport;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    Allow,
    Deny,
    Throttle,
}

/// One `[[rule]]`; what is `None` or empty was not written and holds always.
#[derive(Clone, Default, Debug)]
pub(crate) struct Draft {
    pub(crate) action: Option<Action>,
    pub(crate) names: Vec<Name>,
    pub(crate) protocols: Vec<AppProtocol>,
    pub(crate) transport: Option<Transport>,
    pub(crate) remotes: Vec<Remote>,
    pub(crate) ports: Vec<RangeInclusive<u16>>,
    pub(crate) exes: Vec<PathBuf>,
    pub(crate) users: Vec<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) deny_with: Option<With>,
}

impl Action {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Throttle => "throttle",
        }
    }
}

impl Draft {
    /// What it does, or what is wrong with it as a whole.
    pub(crate) fn verdict(&self) -> Result<Verdict, String> {
        let Some(action) = self.action else {
            return Err(
                "this rule has no \"action\": write \"allow\", \"deny\" or \"throttle\"".into()
            );
        };
        if self.rate.is_some() && action != Action::Throttle {
            return Err(format!(
                "\"rate\" does not go with action \"{}\"; write action = \"throttle\", or leave \"rate\" out",
                action.name()
            ));
        }
        if self.deny_with.is_some() && action != Action::Deny {
            return Err(format!(
                "\"deny-with\" does not go with action \"{}\"; write action = \"deny\", or leave \"deny-with\" out",
                action.name()
            ));
        }
        match action {
            Action::Allow => Ok(Verdict::Allow),
            Action::Deny => Ok(Verdict::Deny(self.deny_with.unwrap_or(With::Reset))),
            Action::Throttle => self.rate.map(Verdict::Throttle).ok_or_else(|| {
                "action \"throttle\" needs a \"rate\", such as rate = \"10 MB/s\"".into()
            }),
        }
    }

    /// Whether it depends on what the connection speaks.
    pub(crate) fn needs_finding(&self) -> bool {
        !self.names.is_empty() || !self.protocols.is_empty()
    }

    /// The prefixes that are meant, or those that are excluded.
    pub(crate) fn prefixes(&self, excluded: bool) -> impl Iterator<Item = Prefix> {
        let of_kind = self.remotes.iter().filter(move |remote| remote.excludes == excluded);
        of_kind.map(|remote| remote.prefix)
    }

    /// The names that are meant, or those that are excluded.
    pub(crate) fn names(&self, excluded: bool) -> impl Iterator<Item = Box<str>> {
        let of_kind = self.names.iter().filter(move |name| name.excludes == excluded);
        of_kind.map(|name| name.key.clone())
    }
}
