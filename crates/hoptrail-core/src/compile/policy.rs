//! The policy as the compiler takes it: names resolved to what the kernel knows.

use crate::addr::{Endpoint, Ip};
use crate::image::Action;
use crate::records::Exe;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// A policy whose names (executables, users, cgroups) are resolved to what the kernel knows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// In any order; the image asks them by falling rank.
    pub providers: Vec<Provider>,
}

/// One redirecting party.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name, unique in the policy.
    pub name: String,
    /// Its stable identity.
    pub guid: [u8; 16],
    /// Higher is asked first; unique in the policy.
    pub rank: i64,
    /// Where its proxy listens for IPv4 destinations.
    pub listen_v4: Option<Endpoint>,
    /// Where its proxy listens for IPv6 destinations.
    pub listen_v6: Option<Endpoint>,
    /// Whether connections pass when its listener is gone (otherwise they are refused).
    pub bypass: bool,
    /// Number of its context bytes in the kernel; 0 for none.
    pub context: u32,
    /// Who may act as its proxy.
    pub members: Members,
    /// In the order of the configuration; the first match decides.
    pub filters: Vec<Filter>,
}

impl Provider {
    /// The redirect handle: the first half of the GUID.
    #[must_use]
    pub fn handle(&self) -> u64 {
        handle_of(self.guid)
    }
}

/// The redirect handle of a GUID: its first eight bytes as they stand in memory.
#[must_use]
pub fn handle_of(guid: [u8; 16]) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&guid[..8]);
    u64::from_ne_bytes(half)
}

/// Who may act as a provider's proxy: a process in any of these.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Cgroup subtrees.
    pub cgroups: Vec<Cgroup>,
    /// Executables.
    pub exes: Vec<Exe>,
    /// Users.
    pub users: Vec<u32>,
}

/// A cgroup by the ids of the cgroups from the root (level 0) down to itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cgroup {
    /// Root first; never empty.
    pub path: Vec<u64>,
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address in it.
    pub ip: Ip,
    /// Leading bits: 0 to 32 for an IPv4 `ip`, 0 to 128 otherwise.
    pub bits: u8,
}

/// One filter. A condition that is `None` or empty holds always; one that is `Some` of nothing holds
/// never (what it names does not exist at present).
#[derive(Clone, Debug)]
pub struct Filter {
    /// What it does.
    pub action: Action,
    /// TCP connections.
    pub tcp: bool,
    /// UDP flows.
    pub udp: bool,
    /// Destination in any of these; none means everywhere.
    pub remote: Vec<Prefix>,
    /// And in none of these.
    pub remote_not: Vec<Prefix>,
    /// Destination port in any of these; none means all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Executable of the connecting process.
    pub exes: Option<Vec<Exe>>,
    /// User of the connecting process.
    pub users: Option<Vec<u32>>,
    /// Cgroup subtree of the connecting process.
    pub cgroups: Option<Vec<Cgroup>>,
    /// Executable of the process that first made the connection.
    pub original_exes: Option<Vec<Exe>>,
    /// User of the process that first made the connection.
    pub original_users: Option<Vec<u32>>,
    /// Also loopback destinations.
    pub loopback: bool,
}

impl Filter {
    /// Holds for everything but loopback destinations.
    #[must_use]
    pub const fn all(action: Action) -> Self {
        Self {
            action,
            tcp: true,
            udp: true,
            remote: Vec::new(),
            remote_not: Vec::new(),
            ports: Vec::new(),
            exes: None,
            users: None,
            cgroups: None,
            original_exes: None,
            original_users: None,
            loopback: false,
        }
    }
}
