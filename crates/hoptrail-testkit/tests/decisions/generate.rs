//! Random policies, and questions biased to hit what they say: all values come from small pools of
//! neighbours and extremes.

use hoptrail_core::compile::{Cgroup, Filter, Members, Policy, Prefix, Provider, handle_of};
use hoptrail_core::decide::Flow;
use hoptrail_core::image::Action;
use hoptrail_core::records::{Exe, MAX_HOPS, Origin, Provenance};
use hoptrail_core::{Endpoint, Ip, Protocol};
use hoptrail_testkit::cases::Realised;
use hoptrail_testkit::reference::{Before, Connector};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::net::IpAddr;
use std::ops::RangeInclusive;

const ADDRESSES: &[&str] = &[
    "0.0.0.0",
    "9.255.255.255",
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.127",
    "10.0.0.128",
    "10.0.0.255",
    "10.128.0.0",
    "127.0.0.1",
    "127.0.0.2",
    "224.0.0.251",
    "255.255.255.255",
    "::ffff:10.0.0.1",
    "::",
    "::1",
    "::2",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8::8000:0:0:0",
    "2001:db8:0:1::",
    "ff02::fb",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const PORTS: &[u16] = &[0, 1, 79, 80, 81, 443, 65534, 65535];
const USERS: &[u32] = &[0, 33, 1000, 1001, u32::MAX];
const CGROUPS: &[&[u64]] =
    &[&[1], &[1, 2], &[1, 2, 3], &[1, 2, 4], &[1, 2, 4, 40], &[1, 5], &[1, 5, 6, 7, 8], &[1, 9]];
/// Redirect handles of providers that are in no policy.
const STRANGER: u64 = 0xdead;

/// A policy and connections to ask it about.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) policy: Policy,
    connections: Vec<Connection>,
}

#[derive(Clone, Debug)]
struct Connection {
    flow: Flow,
    connector: Connector,
    before: Before,
    down: Vec<Endpoint>,
}

impl Scenario {
    pub(crate) fn questions(&self) -> impl Iterator<Item = Realised> {
        self.connections.iter().map(|c| Realised {
            policy: self.policy.clone(),
            flow: c.flow,
            connector: c.connector.clone(),
            before: c.before.clone(),
            down: c.down.clone(),
        })
    }
}

pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    (0usize..=8)
        .prop_flat_map(|n| {
            let ranks = subsequence(vec![i64::MIN + 1, -5, -1, 0, 1, 2, 100, 200, i64::MAX], n);
            (ranks.prop_shuffle(), vec(provider(), n))
        })
        .prop_map(|(ranks, mut providers)| {
            for (i, (provider, rank)) in providers.iter_mut().zip(ranks).enumerate() {
                provider.rank = rank;
                provider.name = format!("p{i}");
                provider.guid = [i as u8 + 1; 16];
            }
            Policy { providers }
        })
        .prop_flat_map(|policy| {
            let connections = vec(connection(&policy), 6);
            (Just(policy), connections)
        })
        .prop_map(|(policy, connections)| Scenario { policy, connections })
}

fn ip() -> impl Strategy<Value = Ip> {
    select(ADDRESSES).prop_map(|text| text.parse::<IpAddr>().unwrap().into())
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (ip(), select(PORTS)).prop_map(|(ip, port)| Endpoint::new(ip, port))
}

fn exe() -> impl Strategy<Value = Exe> {
    (select(&[0u32, 1, 8][..]), select(&[0u64, 7, 1 << 32][..]))
        .prop_map(|(dev, ino)| Exe { dev, ino })
}

fn cgroup() -> impl Strategy<Value = Cgroup> {
    select(CGROUPS).prop_map(|path| Cgroup { path: path.to_vec() })
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let wide = select(&[0u8, 1, 7, 8, 24, 25, 31, 32][..]);
    let long = select(&[0u8, 1, 8, 32, 64, 65, 127, 128][..]);
    (ip(), wide, long)
        .prop_map(|(ip, v4, v6)| Prefix { ip, bits: if ip.is_v4() { v4 } else { v6 } })
}

fn ports() -> impl Strategy<Value = RangeInclusive<u16>> {
    (select(PORTS), select(PORTS)).prop_map(|(a, b)| a.min(b)..=a.max(b))
}

fn members() -> impl Strategy<Value = Members> {
    let some = |n: usize| 0..=n;
    (vec(cgroup(), some(1)), vec(exe(), some(1)), vec(select(USERS), some(1))).prop_map(
        |(cgroups, exes, users)| {
            // One kind at a time, or everybody is everybody's member.
            let users = if cgroups.is_empty() && exes.is_empty() { users } else { Vec::new() };
            Members { cgroups, exes, users }
        },
    )
}

/// Present now and then, and then sometimes of nothing.
fn condition<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Vec<T>>> {
    weighted(0.2, vec(value, 0..=4))
}

fn filter() -> impl Strategy<Value = Filter> {
    let action = prop_oneof![
        2 => Just(Action::Permit),
        1 => Just(Action::Block),
        6 => Just(Action::Redirect),
    ];
    let address = (
        weighted(0.5, vec(prefix(), 1..=4)).prop_map(Option::unwrap_or_default),
        weighted(0.3, vec(prefix(), 1..=3)).prop_map(Option::unwrap_or_default),
        weighted(0.3, vec(ports(), 1..=3)).prop_map(Option::unwrap_or_default),
    );
    let process = (
        condition(exe()),
        condition(select(USERS)),
        condition(cgroup()),
        condition(exe()),
        condition(select(USERS)),
    );
    let kinds = (prop::bool::weighted(0.9), prop::bool::weighted(0.9), any::<bool>());
    (action, kinds, address, process).prop_map(|(action, kinds, address, process)| Filter {
        action,
        tcp: kinds.0,
        udp: kinds.1,
        remote: address.0,
        remote_not: address.1,
        ports: address.2,
        exes: process.0,
        users: process.1,
        cgroups: process.2,
        original_exes: process.3,
        original_users: process.4,
        loopback: kinds.2,
    })
}

fn provider() -> impl Strategy<Value = Provider> {
    // Now and then so many that the policy's filters fill more than a word of 64.
    let filters = prop_oneof![6 => vec(filter(), 0..=6), 1 => vec(filter(), 30..=70)];
    (weighted(0.9, endpoint()), weighted(0.9, endpoint()), any::<bool>(), members(), filters)
        .prop_map(|(listen_v4, listen_v6, bypass, members, filters)| Provider {
            name: String::new(),
            guid: [0; 16],
            rank: 0,
            listen_v4,
            listen_v6,
            bypass,
            context: 0,
            members,
            filters,
        })
}

fn before(policy: &Policy) -> impl Strategy<Value = Before> + use<> {
    let mut known: Vec<u64> = policy.providers.iter().map(|p| handle_of(p.guid)).collect();
    known.push(STRANGER);
    let all = known.len();
    let short = subsequence(known, 0..=all.min(4)).prop_shuffle();
    let handles = prop_oneof![8 => short, 1 => Just(vec![STRANGER; MAX_HOPS])];
    let first = select(&[Provenance::Fresh, Provenance::Unrecorded][..]);
    let trail = (exe(), select(USERS), first, handles).prop_map(|(exe, uid, first, handles)| {
        Before::Trail { origin: Origin { exe, uid }, first, handles }
    });
    prop_oneof![1 => Just(Before::Nothing), 1 => trail]
}

fn connection(policy: &Policy) -> impl Strategy<Value = Connection> + use<> {
    let listeners: Vec<Endpoint> =
        policy.providers.iter().flat_map(|p| [p.listen_v4, p.listen_v6]).flatten().collect();
    let n = listeners.len();
    let protocol = select(&[Protocol::Tcp, Protocol::Udp][..]);
    let to = if n == 0 {
        endpoint().boxed()
    } else {
        prop_oneof![8 => endpoint(), 1 => select(listeners.clone())].boxed()
    };
    let connector = (exe(), select(USERS), cgroup()).prop_map(|(exe, uid, cgroup)| Connector {
        exe,
        uid,
        cgroup: cgroup.path,
    });
    // Most listeners are up, or nothing would ever be redirected.
    let down = subsequence(listeners, 0..=n.min(2));
    (protocol, to, connector, before(policy), down).prop_map(
        |(protocol, remote, connector, before, down)| Connection {
            flow: Flow { protocol, remote },
            connector,
            before,
            down,
        },
    )
}
