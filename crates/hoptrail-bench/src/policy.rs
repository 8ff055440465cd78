//! The policies under which it is measured.

use crate::lab::{HOPS, PROXY, RELAY, SERVED};
use hoptrail_core::Ip;
use hoptrail_core::compile::{Cgroup, Filter, Members, Policy, Prefix, Provider};
use hoptrail_core::image::Action;
use hoptrail_core::records::Exe;
use hoptrail_engine::engine::Resolved;
use std::net::{Ipv4Addr, SocketAddr};

/// What the destination has to do with the filters: each kind has an address of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// No filter names its address or port.
    Apart,
    /// Some filters name its address and others its port, none both ([`many`] only).
    Crossed,
    /// A filter names its address, and another executable ([`many`] only).
    OtherExe,
    /// A filter permits it ([`many`] only).
    Permitted,
    /// The provider at [`PROXY`] redirects it ([`few`] only).
    Redirected,
    /// The provider at [`RELAY`] redirects it ([`few`] only).
    Relayed,
    /// nftables redirects it while [`crate::nft::Redirect`] lives.
    Nftables,
    /// One provider redirects it ([`relayed`] only).
    OneHop,
    /// Three others redirect it, one after another ([`relayed`] only).
    ThreeHops,
}

impl Target {
    pub(crate) const fn ip(self) -> Ipv4Addr {
        let [a, b, c, d] = crate::netns::BASE.octets();
        Ipv4Addr::new(a, b, c, d + self as u8)
    }

    pub(crate) fn at(self, port: u16) -> SocketAddr {
        (self.ip(), port).into()
    }
}

/// Addresses that go where [`Target::OneHop`] goes: with most ports to one destination taken, the kernel
/// takes ever longer to find another.
pub(crate) fn one_hop() -> [Ipv4Addr; 4] {
    let [a, b, c, d] = crate::netns::BASE.octets();
    [0, 20, 21, 22].map(|more| match more {
        0 => Target::OneHop.ip(),
        more => Ipv4Addr::new(a, b, c, d + more),
    })
}

/// Four filters of two providers.
pub(crate) fn few(members: &Cgroup) -> Resolved {
    let block = Filter {
        ports: vec![25..=25, 6000..=6010],
        ..to(Action::Block, Ipv4Addr::new(198, 18, 0, 0), 15)
    };
    let permit =
        Filter { users: Some(vec![65_534]), ..to(Action::Permit, [203, 0, 113, 0].into(), 24) };
    let filters = [
        vec![block, to(Action::Redirect, Target::Redirected.ip(), 32)],
        vec![permit, to(Action::Redirect, Target::Relayed.ip(), 32)],
    ];
    let ports = [PROXY, RELAY];
    let providers = filters.into_iter().zip(ports).enumerate();
    resolved(providers.map(|(i, (filters, port))| provider(i, port, members, filters)).collect())
}

/// A provider for what makes one hop, and three for what makes three; each with members of its own.
pub(crate) fn relayed(members: &[Cgroup; 4]) -> Resolved {
    let provider = |(number, members): (usize, &Cgroup)| {
        let (one, three) = (one_hop(), [Target::ThreeHops.ip()]);
        let targets = if number == 0 { &one[..] } else { &three };
        let filters = targets.iter().map(|&ip| to(Action::Redirect, ip, 32)).collect();
        provider(number, HOPS + number as u16, members, filters)
    };
    resolved(members.iter().enumerate().map(provider).collect())
}

/// That many filters, shared out evenly to that many providers.
pub(crate) fn many(filters: usize, providers: usize, members: &Cgroup) -> Resolved {
    let mut all = (0..filters - 2).map(distractor).collect::<Vec<_>>();
    let other = Exe { dev: u32::MAX, ino: 1 };
    all.push(Filter { exes: Some(vec![other]), ..to(Action::Redirect, Target::OtherExe.ip(), 32) });
    all.push(to(Action::Permit, Target::Permitted.ip(), 32));
    let shares = all.chunks(filters.div_ceil(providers)).enumerate();
    resolved(shares.map(|(i, share)| provider(i, 1 + i as u16, members, share.to_vec())).collect())
}

/// A filter that matches none of our connections. The four kinds alternate, so that those that name
/// the crossed address and those that name its port are neighbours, and no summary tells them apart.
fn distractor(number: usize) -> Filter {
    let (high, low) = ((number >> 11) as u8, (number >> 3) as u8);
    let exe = Exe { dev: u32::MAX, ino: 2 + (number as u64 & 0xff) };
    match number % 4 {
        0 => Filter {
            ports: vec![20_000 + number as u16 % 1024..=20_000 + number as u16 % 1024],
            ..to(Action::Redirect, Target::Crossed.ip(), 32)
        },
        1 => Filter {
            ports: vec![SERVED..=SERVED],
            ..to(Action::Redirect, Ipv4Addr::new(198, 18 + high, low, 0), 24)
        },
        2 => Filter {
            exes: Some(vec![exe]),
            ..to(Action::Block, Ipv4Addr::new(10, high, low, 0), 24)
        },
        _ => Filter {
            ports: vec![443..=443],
            users: Some(vec![100_000 + number as u32 % 64]),
            ..to(Action::Permit, Ipv4Addr::new(172, 16 + high, low, 0), 24)
        },
    }
}

fn to(action: Action, ip: Ipv4Addr, bits: u8) -> Filter {
    Filter {
        remote: vec![Prefix { ip: Ip::from(std::net::IpAddr::V4(ip)), bits }],
        ..Filter::all(action)
    }
}

fn provider(number: usize, port: u16, members: &Cgroup, filters: Vec<Filter>) -> Provider {
    let listener = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Provider {
        name: format!("provider-{number}"),
        guid: [number as u8 + 1; 16],
        rank: -(number as i64),
        listen_v4: Some(listener.into()),
        listen_v6: None,
        bypass: false,
        context: 0,
        members: Members { cgroups: vec![members.clone()], ..Members::default() },
        filters,
    }
}

fn resolved(providers: Vec<Provider>) -> Resolved {
    let context = |p: &Provider| (p.name.clone(), b"bench/v1".to_vec());
    let contexts = providers.iter().map(context).collect();
    Resolved { policy: Policy { providers }, contexts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoptrail_core::compile::compile;
    use hoptrail_core::image::{MAX_FILTERS, MAX_PROVIDERS};

    #[test]
    fn the_largest_policy_compiles() {
        let members = Cgroup { path: vec![1, 2] };
        let many = many(MAX_FILTERS, MAX_PROVIDERS, &members).policy;
        assert_eq!(many.providers.len(), MAX_PROVIDERS);
        assert_eq!(many.providers.iter().map(|p| p.filters.len()).sum::<usize>(), MAX_FILTERS);
        compile(&many, 1).unwrap();
        compile(&few(&members).policy, 1).unwrap();
        compile(&relayed(&[(); 4].map(|()| members.clone())).policy, 1).unwrap();
    }
}
