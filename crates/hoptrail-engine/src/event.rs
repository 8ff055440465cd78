//! What an engine reports: one event per leg that was redirected, let through with a trail, or
//! refused.

use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Exe, Provenance};
use hoptrail_core::{Endpoint, Protocol, Trail};
use std::time::SystemTime;

/// What became of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A provider redirected it; the trail's last hop is this one.
    Redirected,
    /// A socket that carries a trail was let through to where it wanted to go: the last leg.
    Reached,
    /// It was refused.
    Refused,
}

/// The process that made a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connector {
    /// Process id in the initial pid namespace.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Executable.
    pub exe: Exe,
    /// Name of the main thread.
    pub name: [u8; 16],
}

/// One leg's event.
#[derive(Clone, Debug)]
pub struct Event {
    /// What became of it.
    pub kind: EventKind,
    /// When.
    pub time: SystemTime,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who made it.
    pub by: Connector,
    /// Where it wanted to go.
    pub asked: Endpoint,
    /// Where it went; for [`EventKind::Refused`] the same as `asked`.
    pub to: Endpoint,
    /// How the socket came to its trail.
    pub provenance: Provenance,
    /// Why.
    pub reason: Reason,
    /// Redirect handle of the provider that decided; 0 for none.
    pub handle: u64,
    /// Number of the deciding filter within the provider.
    pub filter: u32,
    /// Policy generation that decided.
    pub generation: u64,
    /// The trail, this leg's hop included. Its header tells the original application also when
    /// there are no hops.
    pub trail: Trail,
    /// Path of the original application's executable, when it could be read.
    pub exe_path: Option<String>,
}
