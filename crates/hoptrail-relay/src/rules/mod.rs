//! Which connections are allowed, denied or throttled.

/// A rule's number, from 1, in the order of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RuleId(pub u16);
