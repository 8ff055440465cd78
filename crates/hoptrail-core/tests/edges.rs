//! Where conditions begin and end, how large a policy may be, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test")]

use hoptrail_core::compile::{
    Cgroup, CompileError, Compiled, Filter, Policy, Prefix, Provider, compile,
};
use hoptrail_core::decide::{Flow, Past, Process, Verdict, evaluate};
use hoptrail_core::image::{Action, IMAGE_WORDS, MAX_CGROUP_LEVEL, MAX_FILTERS, MAX_PROVIDERS};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Exe, Provenance};
use hoptrail_core::{Endpoint, Ip, Origin, Protocol};
use std::net::IpAddr;

#[derive(Clone, Debug, Default)]
struct Someone {
    exe: Exe,
    uid: u32,
    cgroup: Vec<u64>,
}

impl Process for Someone {
    fn exe(&self) -> Exe {
        self.exe
    }

    fn uid(&self) -> u32 {
        self.uid
    }

    fn cgroup_at(&self, level: u32) -> u64 {
        self.cgroup.get(level as usize).copied().unwrap_or(0)
    }
}

fn ip(text: &str) -> Ip {
    text.parse::<IpAddr>().unwrap().into()
}

fn prefix(text: &str) -> Prefix {
    let (address, bits) = text.split_once('/').unwrap();
    Prefix { ip: ip(address), bits: bits.parse().unwrap() }
}

fn provider(rank: i64, filters: Vec<Filter>) -> Provider {
    let mut guid = [0; 16];
    guid[..8].copy_from_slice(&rank.to_ne_bytes());
    Provider {
        name: format!("rank{rank}"),
        guid,
        rank,
        listen_v4: Some(Endpoint::new(ip("127.0.0.1"), 15000)),
        listen_v6: Some(Endpoint::new(ip("::1"), 15000)),
        bypass: false,
        context: 0,
        members: Default::default(),
        filters,
    }
}

fn one(filters: Vec<Filter>) -> Compiled {
    compile(&Policy { providers: vec![provider(1, filters)] }, 1).unwrap()
}

fn block() -> Filter {
    Filter { loopback: true, ..Filter::all(Action::Block) }
}

fn ask(compiled: &Compiled, to: &str, port: u16, who: &Someone) -> Verdict {
    let flow = Flow { protocol: Protocol::Tcp, remote: Endpoint::new(ip(to), port) };
    let past = |_| Past::fresh();
    evaluate(&compiled.words, &flow, who, past, |_, _| true, |_, _, _| {})
}

/// Whether the only filters, which block, hold for a destination.
fn holds(compiled: &Compiled, to: &str, port: u16) -> bool {
    ask(compiled, to, port, &Someone::default()).reason == Reason::FilterBlock
}

#[test]
fn ports_at_both_ends() {
    for (range, inside, outside) in [
        (0..=0, vec![0], vec![1, 65535]),
        (65535..=65535, vec![65535], vec![0, 65534]),
        (0..=65535, vec![0, 1, 65535], vec![]),
        (80..=81, vec![80, 81], vec![79, 82]),
    ] {
        let compiled = one(vec![Filter { ports: vec![range.clone()], ..block() }]);
        for port in inside {
            assert!(holds(&compiled, "192.0.2.1", port), "{port} in {range:?}");
        }
        for port in outside {
            assert!(!holds(&compiled, "192.0.2.1", port), "{port} not in {range:?}");
        }
    }
}

#[test]
fn adjacent_and_overlapping_port_ranges_are_one() {
    let compiled = one(vec![Filter { ports: vec![10..=19, 20..=29, 25..=40], ..block() }]);
    for port in 0..=50 {
        assert_eq!(holds(&compiled, "192.0.2.1", port), (10..=40).contains(&port), "{port}");
    }
}

#[test]
fn prefixes_at_both_ends() {
    for (text, inside, outside) in [
        ("0.0.0.0/0", vec!["0.0.0.0", "9.9.9.9", "255.255.255.255"], vec!["::1", "2001:db8::"]),
        ("::/0", vec!["::1", "2001:db8::", "ffff::ffff"], vec!["1.2.3.4", "::ffff:1.2.3.4"]),
        ("192.0.2.1/32", vec!["192.0.2.1", "::ffff:192.0.2.1"], vec!["192.0.2.0", "192.0.2.2"]),
        ("255.255.255.255/32", vec!["255.255.255.255"], vec!["255.255.255.254", "0.0.0.1"]),
        ("128.0.0.0/1", vec!["128.0.0.0", "255.255.255.255"], vec!["127.255.255.255"]),
        ("2001:db8::1/128", vec!["2001:db8::1"], vec!["2001:db8::", "2001:db8::2"]),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            vec!["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            vec!["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "::2"],
        ),
        ("2001:db8::/64", vec!["2001:db8::ffff:ffff:ffff:ffff"], vec!["2001:db8:0:1::"]),
        ("10.1.2.3/8", vec!["10.0.0.0", "10.255.255.255"], vec!["9.255.255.255", "11.0.0.0"]),
    ] {
        let compiled = one(vec![Filter { remote: vec![prefix(text)], ..block() }]);
        for to in inside {
            assert!(holds(&compiled, to, 80), "{to} in {text}");
        }
        for to in outside {
            assert!(!holds(&compiled, to, 80), "{to} not in {text}");
        }
    }
}

#[test]
fn overlapping_prefixes_each_hold() {
    let texts = ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.7/32", "0.0.0.0/0"];
    for (to, expected) in [("10.0.0.7", 0), ("10.0.1.1", 0), ("10.9.9.9", 0), ("11.0.0.0", 4)] {
        let filters = texts.map(|t| Filter { remote: vec![prefix(t)], ..block() });
        let compiled = one(filters.to_vec());
        assert_eq!(ask(&compiled, to, 80, &Someone::default()).filter, expected);
        // Asked from the most specific one: the longest prefix that contains it comes first.
        let mut reversed = filters.to_vec();
        reversed[..4].reverse();
        let number = ask(&one(reversed), to, 80, &Someone::default()).filter;
        let most_specific = match to {
            "10.0.0.7" => 0,
            "10.0.1.1" => 2,
            "10.9.9.9" => 3,
            _ => 4,
        };
        assert_eq!(number, most_specific, "{to}");
    }
}

#[test]
fn exclusions_cut_holes() {
    let exclusion = vec![prefix("10.0.0.0/8"), prefix("2001:db8::/32")];
    let alone = one(vec![Filter { remote_not: exclusion.clone(), ..block() }]);
    let within = vec![prefix("10.0.0.0/7"), prefix("10.9.0.0/16")];
    let both = one(vec![Filter { remote: within, remote_not: exclusion, ..block() }]);
    for (to, alone_holds, both_hold) in [
        ("9.255.255.255", true, false),
        ("10.0.0.0", false, false),
        ("10.9.0.1", false, false),
        ("10.255.255.255", false, false),
        ("11.0.0.0", true, true),
        ("2001:db8::1", false, false),
        ("2001:db9::", true, false),
    ] {
        assert_eq!(holds(&alone, to, 80), alone_holds, "{to}");
        assert_eq!(holds(&both, to, 80), both_hold, "{to}");
    }
}

#[test]
fn conditions_of_nothing_never_hold() {
    for filter in [
        Filter { exes: Some(vec![]), ..block() },
        Filter { users: Some(vec![]), ..block() },
        Filter { cgroups: Some(vec![]), ..block() },
        Filter { original_exes: Some(vec![]), ..block() },
        Filter { original_users: Some(vec![]), ..block() },
        Filter { tcp: false, udp: false, ..block() },
    ] {
        assert!(!holds(&one(vec![filter.clone()]), "192.0.2.1", 80), "{filter:?}");
        // Also when others fill the tables.
        let other = Filter { exes: Some(vec![Exe { dev: 9, ino: 9 }]), ..block() };
        assert!(!holds(&one(vec![filter.clone(), other]), "192.0.2.1", 80), "{filter:?}");
    }
}

#[test]
fn every_key_of_a_large_table_is_found_and_no_other() {
    let exe = |i: u64| Exe { dev: (i % 7) as u32, ino: i << (i % 33) };
    let exes: Vec<Exe> = (1..=4096).map(exe).collect();
    let filters = exes.iter().map(|e| Filter { exes: Some(vec![*e]), ..block() }).collect();
    let compiled = one(filters);
    for (i, exe) in exes.iter().enumerate() {
        let verdict = ask(&compiled, "192.0.2.1", 80, &Someone { exe: *exe, ..Default::default() });
        let first = exes.iter().position(|e| e == exe).unwrap();
        assert_eq!(usize::from(verdict.filter), first, "{i}");
        assert_eq!(verdict.reason, Reason::FilterBlock, "{i}");
        let stranger = Exe { dev: exe.dev + 7, ino: exe.ino };
        let who = Someone { exe: stranger, ..Default::default() };
        assert_eq!(ask(&compiled, "192.0.2.1", 80, &who), Verdict::NO_FILTER);
    }
}

#[test]
fn keys_that_no_table_spreads_are_refused() {
    // All of them fall into one slot, whatever the size of the table.
    let exes = (0..9).map(|i| Exe { dev: i, ino: u64::from(i) << 32 | 5 }).collect();
    let policy =
        Policy { providers: vec![provider(1, vec![Filter { exes: Some(exes), ..block() }])] };
    assert!(matches!(compile(&policy, 1), Err(CompileError::TooLarge { .. })));
}

#[test]
fn cgroups_hold_for_what_is_below_them() {
    let cgroups =
        |paths: &[&[u64]]| Some(paths.iter().map(|p| Cgroup { path: p.to_vec() }).collect());
    let compiled = one(vec![
        Filter { cgroups: cgroups(&[&[1, 2, 3]]), ..block() },
        Filter { cgroups: cgroups(&[&[1, 2]]), ..block() },
        Filter { cgroups: cgroups(&[&[1, 7]]), ..block() },
        Filter { cgroups: cgroups(&[&[1]]), ..block() },
    ]);
    for (path, expected) in [
        (vec![1, 2, 3], 0),
        (vec![1, 2, 3, 4, 5], 0),
        (vec![1, 2], 1),
        (vec![1, 2, 8], 1),
        (vec![1, 7, 8], 2),
        (vec![1], 3),
        (vec![1, 9], 3),
    ] {
        let who = Someone { cgroup: path.clone(), ..Default::default() };
        let verdict = ask(&compiled, "192.0.2.1", 80, &who);
        assert_eq!((verdict.filter, verdict.reason), (expected, Reason::FilterBlock), "{path:?}");
    }
}

#[test]
fn cgroups_as_deep_as_the_kernel_looks() {
    let path = |levels: u64| Cgroup { path: (1..=levels + 1).collect() };
    let policy = |levels: u64| Policy {
        providers: vec![provider(1, vec![Filter { cgroups: Some(vec![path(levels)]), ..block() }])],
    };
    let deepest = u64::from(MAX_CGROUP_LEVEL);
    let compiled = compile(&policy(deepest), 1).unwrap();
    let who = Someone { cgroup: path(deepest + 3).path, ..Default::default() };
    assert_eq!(ask(&compiled, "192.0.2.1", 80, &who).reason, Reason::FilterBlock);
    let refused = compile(&policy(deepest + 1), 1).unwrap_err();
    assert_eq!(refused, CompileError::CgroupTooDeep("rank1".into(), deepest as usize + 1));
}

#[test]
fn a_full_policy_compiles_and_answers() {
    let per_provider = MAX_FILTERS / MAX_PROVIDERS;
    let destination = |n: usize| format!("10.{}.{}.1", n / 256, n % 256);
    let filters = |p: usize| {
        (0..per_provider).map(move |f| {
            let n = p * per_provider + f;
            let remote = vec![prefix(&format!("{}/32", destination(n)))];
            Filter { remote, ports: vec![n as u16..=n as u16], ..Filter::all(Action::Redirect) }
        })
    };
    let providers: Vec<Provider> =
        (0..MAX_PROVIDERS).map(|p| provider(-(p as i64), filters(p).collect())).collect();
    let compiled = compile(&Policy { providers: providers.clone() }, 1).unwrap();
    for n in 0..MAX_FILTERS {
        let verdict = ask(&compiled, &destination(n), n as u16, &Someone::default());
        assert_eq!(verdict.reason, Reason::FilterRedirect, "{n}");
        assert_eq!(verdict.provider, Some((n / per_provider) as u8));
        assert_eq!(usize::from(verdict.filter), n);
        assert_eq!(compiled.filter(verdict.filter).unwrap().1, n % per_provider);
        let beside = ask(&compiled, &destination(n), n as u16 + 1, &Someone::default());
        assert_eq!(beside, Verdict::NO_FILTER);
    }
    let mut more = providers;
    more[0].filters.push(block());
    let refused = compile(&Policy { providers: more }, 1).unwrap_err();
    assert_eq!(refused, CompileError::TooManyFilters(MAX_FILTERS + 1));
}

#[test]
fn every_provider_is_asked_when_all_have_their_say() {
    let permit = || vec![Filter::all(Action::Permit)];
    let mut providers: Vec<Provider> =
        (0..MAX_PROVIDERS as i64).map(|p| provider(-p, permit())).collect();
    let last = providers.len() - 1;
    providers[last].filters = vec![Filter::all(Action::Block)];
    let compiled = compile(&Policy { providers }, 1).unwrap();
    let verdict = ask(&compiled, "192.0.2.1", 80, &Someone::default());
    assert_eq!((verdict.reason, verdict.provider), (Reason::FilterBlock, Some(last as u8)));
}

#[test]
fn as_many_intervals_as_an_image_holds_are_searched() {
    // Every second address: 2^17 intervals would be one halving too many for a search of 17.
    let n = 80_000u32;
    let remote =
        (0..n).map(|i| Prefix { ip: Ip::from_v4_word((i * 2).to_be()), bits: 32 }).collect();
    let compiled = one(vec![Filter { remote, ..block() }]);
    for i in (0..n).step_by(97).chain([1, n - 2, n - 1]) {
        let inside = IpAddr::from(std::net::Ipv4Addr::from(i * 2)).to_string();
        let outside = IpAddr::from(std::net::Ipv4Addr::from(i * 2 + 1)).to_string();
        // The address 0.0.0.0 is asked for loopback, which is not in the list.
        assert_eq!(holds(&compiled, &inside, 80), i != 0, "{inside}");
        assert!(!holds(&compiled, &outside, 80), "{outside}");
    }
}

#[test]
fn what_has_no_image_is_refused() {
    let many = (0..=MAX_PROVIDERS as i64).map(|p| provider(p, vec![])).collect();
    let refused = compile(&Policy { providers: many }, 1).unwrap_err();
    assert_eq!(refused, CompileError::TooManyProviders(MAX_PROVIDERS + 1));

    let mut ranks = vec![provider(3, vec![]), provider(1, vec![]), provider(2, vec![])];
    ranks[1].rank = 3;
    let refused = compile(&Policy { providers: ranks }, 1).unwrap_err();
    assert_eq!(refused, CompileError::EqualRanks("rank3".into(), "rank1".into(), 3));

    let mut handles = vec![provider(3, vec![]), provider(1, vec![]), provider(2, vec![])];
    handles[1].guid = handles[0].guid;
    handles[1].guid[15] ^= 1;
    let refused = compile(&Policy { providers: handles }, 1).unwrap_err();
    assert_eq!(refused, CompileError::EqualHandles("rank3".into(), "rank1".into()));

    let remote =
        (0..IMAGE_WORDS as u32).map(|i| Prefix { ip: Ip::from_v4_word((i * 2).to_be()), bits: 32 });
    let large = provider(1, vec![Filter { remote: remote.collect(), ..block() }]);
    let refused = compile(&Policy { providers: vec![large] }, 1).unwrap_err();
    assert!(matches!(refused, CompileError::TooLarge { words } if words > IMAGE_WORDS));
}

#[test]
fn a_trail_that_began_unrecorded_keeps_its_rank_falling() {
    let providers: Vec<Provider> =
        (0..4).map(|i| provider(-i, vec![Filter::all(Action::Redirect)])).collect();
    let compiled = compile(&Policy { providers: providers.clone() }, 1).unwrap();
    let past = |first| {
        let handle = |_| providers[1].handle();
        Past::of_trail(&compiled.words, Origin::default(), first, 1, handle)
    };
    assert_eq!(past(Provenance::Unrecorded).visited, 0b10);
    assert_eq!(past(Provenance::Unrecorded).eligible, !0b11);
    for first in [Provenance::Fresh, Provenance::Declared, Provenance::Inferred] {
        assert_eq!((past(first).visited, past(first).eligible), (0b10, u64::MAX));
    }
}

#[test]
fn unrecorded_members_leave_what_is_ranked_after_the_last_of_them() {
    assert_eq!(Past::unrecorded(0).eligible, u64::MAX);
    assert_eq!(Past::unrecorded(1).eligible, !1);
    assert_eq!(Past::unrecorded(0b101).eligible, !0b111);
    assert_eq!(Past::unrecorded(1 << 63).eligible, 0);
}
