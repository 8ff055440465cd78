//! Made-up ids for the symbolic names of the table.

use hoptrail_core::Endpoint;
use hoptrail_core::compile::Cgroup;
use hoptrail_core::records::Exe;
use hoptrail_testkit::cases::{EVERYONE, MISSING, World};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) struct Fake;

/// A small number of its own for every name that the table uses.
fn number(name: &str) -> u16 {
    let known = ["app", "other", "acme", "beta", "gamma"];
    match known.iter().position(|k| *k == name) {
        Some(i) => i as u16,
        None => 100 + name.trim_start_matches('p').parse::<u16>().unwrap(),
    }
}

fn exists(name: &str) -> Option<u16> {
    (name != MISSING).then(|| number(name))
}

impl World for Fake {
    fn exe(&self, person: &str) -> Option<Exe> {
        exists(person).map(|n| Exe { dev: 8 << 20 | 1, ino: 1000 + u64::from(n) })
    }

    fn user(&self, person: &str) -> Option<u32> {
        exists(person).map(|n| 1000 + u32::from(n))
    }

    fn cgroup(&self, person: &str) -> Option<Cgroup> {
        if person == EVERYONE {
            return Some(Cgroup { path: vec![1, 20] });
        }
        exists(person).map(|n| Cgroup { path: vec![1, 20, 3000 + u64::from(n)] })
    }

    fn listener(&self, provider: &str, v4: bool) -> Endpoint {
        let port = 15000 + number(provider);
        if v4 {
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
        } else {
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)).into()
        }
    }
}
