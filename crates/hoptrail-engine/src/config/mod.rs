//! Configuration: TOML in, resolved policy out.
//!
//! [`Config::load`] reads and checks the files without looking at the machine; [`resolve`] turns
//! the names of executables, users and cgroups into what the kernel knows at this moment.

mod fields;
mod files;
mod place;
mod reader;
#[cfg(test)]
mod reference;
mod resolve;
mod validate;
mod values;

pub use place::{ConfigError, Place, Placed, Problem};
pub use resolve::{Host, Resolution, resolve, resolve_on};
pub use values::User;

use hoptrail_core::compile::Prefix;
use hoptrail_core::image::Action;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use uuid::Uuid;

/// Where the configuration of a whole host is.
pub const DEFAULT_PATH: &str = "/etc/hoptrail/hoptrail.toml";

/// A configuration that is right in itself.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The files that were read, in that order.
    pub files: Vec<PathBuf>,
    /// In the order of asking: by falling rank.
    pub providers: Vec<Provider>,
    /// What is right but probably not meant.
    pub warnings: Vec<Problem>,
}

/// One `[provider.NAME]`.
#[derive(Clone, Debug)]
pub struct Provider {
    /// NAME.
    pub name: String,
    /// Where it is defined.
    pub place: Place,
    /// Higher is asked first.
    pub rank: Placed<i64>,
    /// Where its proxy listens for IPv4 destinations.
    pub listen_v4: Option<SocketAddr>,
    /// Where its proxy listens for IPv6 destinations.
    pub listen_v6: Option<SocketAddr>,
    /// What happens when nothing listens there.
    pub on_unavailable: OnUnavailable,
    /// Its proxy's command line, program first, when hoptrail runs it.
    pub command: Option<Vec<String>>,
    /// Who may act as its proxy, when hoptrail does not run it.
    pub members: Members,
    /// Bytes that it adds to the redirect context.
    pub context: Vec<u8>,
    /// Its stable identity.
    pub guid: Uuid,
    /// In the order of asking.
    pub filters: Vec<Filter>,
    /// Whether `members` was written, even if to no effect.
    has_members: bool,
}

/// What happens to a connection whose provider has no listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnavailable {
    /// It is refused.
    #[default]
    Block,
    /// The provider lets it pass.
    Bypass,
}

impl OnUnavailable {
    /// `block` or `bypass`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Bypass => "bypass",
        }
    }
}

/// Who may act as a provider's proxy.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Cgroup subtrees, as paths from the root of the hierarchy.
    pub cgroups: Vec<Placed<String>>,
    /// Executables.
    pub exes: Vec<Placed<PathBuf>>,
    /// Users.
    pub users: Vec<Placed<User>>,
}

impl Members {
    /// Whether nobody is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty() && self.exes.is_empty() && self.users.is_empty()
    }
}

/// One `[[provider.NAME.filter]]`; what is `None` or empty was not written and holds always.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Where it is defined.
    pub place: Place,
    /// What it does.
    pub action: Action,
    /// TCP connections.
    pub tcp: bool,
    /// UDP flows.
    pub udp: bool,
    /// Destination in any of these.
    pub remote: Vec<Prefix>,
    /// And in none of these.
    pub remote_not: Vec<Prefix>,
    /// Destination port in any of these.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Executable of the connecting process.
    pub exes: Option<Vec<Placed<PathBuf>>>,
    /// User of the connecting process.
    pub users: Option<Vec<Placed<User>>>,
    /// Cgroup subtree of the connecting process.
    pub cgroups: Option<Vec<Placed<String>>>,
    /// Executable of the process that first made the connection.
    pub original_exes: Option<Vec<Placed<PathBuf>>>,
    /// User of the process that first made the connection.
    pub original_users: Option<Vec<Placed<User>>>,
    /// Also loopback destinations.
    pub loopback: bool,
}

impl Config {
    /// The provider of that name.
    #[must_use]
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }
}

impl Provider {
    fn new(name: &str, place: Place) -> Self {
        Self {
            name: name.to_owned(),
            rank: Placed { value: 0, place: place.clone() },
            place,
            listen_v4: None,
            listen_v6: None,
            on_unavailable: OnUnavailable::default(),
            command: None,
            members: Members::default(),
            context: Vec::new(),
            guid: guid_of(name),
            filters: Vec::new(),
            has_members: false,
        }
    }

    /// Whether a proxy is needed: some filter redirects, or there is none yet.
    #[must_use]
    pub fn needs_proxy(&self) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|f| f.action == Action::Redirect)
    }
}

impl Filter {
    fn new(place: Place) -> Self {
        Self {
            place,
            action: Action::Permit,
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

/// Namespace of the identities that are made from names; it must never change, or every provider
/// without a `guid` of its own gets another redirect handle.
const NAMES: Uuid = Uuid::from_u128(0x5b0f_3a2e_6c41_4d8a_9f27_1d6e_8b90_c5a3);

fn guid_of(name: &str) -> Uuid {
    Uuid::new_v5(&NAMES, name.as_bytes())
}

#[cfg(test)]
mod tests;
