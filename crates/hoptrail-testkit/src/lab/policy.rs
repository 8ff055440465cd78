//! Policies of a lab: providers whose proxies run in the cgroup of the provider's name.

use super::Lab;
use crate::cases::guid;
use hoptrail_core::compile::{Filter, Members, Provider};
use hoptrail_core::image::Action;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a provider listens: a port of its own for every name, on loopback.
#[must_use]
pub fn listener(provider: &str, v4: bool) -> SocketAddr {
    let number = provider.bytes().fold(0u32, |n, b| (n * 31 + u32::from(b)) % 9973);
    let port = 15000 + number as u16;
    if v4 { (Ipv4Addr::LOCALHOST, port).into() } else { (Ipv6Addr::LOCALHOST, port).into() }
}

impl Lab {
    /// A provider that redirects everything; its members are the processes of the lab's cgroup `name`.
    #[must_use]
    pub fn provider(&self, name: &str, rank: i64) -> Provider {
        Provider {
            name: name.into(),
            guid: guid(name),
            rank,
            listen_v4: Some(listener(name, true).into()),
            listen_v6: Some(listener(name, false).into()),
            bypass: false,
            context: 0,
            members: Members { cgroups: vec![self.cgroup(name)], ..Members::default() },
            filters: vec![Filter::all(Action::Redirect)],
        }
    }

    /// Acme with rank 200 and beta with rank 100, both redirecting everything.
    #[must_use]
    pub fn two(&self) -> Vec<Provider> {
        vec![self.provider("acme", 200), self.provider("beta", 100)]
    }
}
