//! Model check: the real decision and the real records over every network of up to three providers.
//!
//! Every chain of legs ends; no provider is in a trail twice; nothing gets past a provider that says
//! block; and with a rule switched off, the check finds the loop that the rule prevents.
#![expect(clippy::unwrap_used, reason = "a test")]

mod model {
    pub(crate) mod adoption;
    pub(crate) mod chain;
    pub(crate) mod network;
}

use model::adoption::{Adopt, Crowd};
use model::chain::{Chain, End, Leg, Rules, run};
use model::network::{Kind, Matches, Network, Node, Who};

/// Every choice of one of `options` for each of `n`.
fn choices<T: Copy>(options: &[T], n: usize) -> Vec<Vec<T>> {
    (0..n).fold(vec![vec![]], |all, _| {
        all.iter().flat_map(|c| options.iter().map(|o| [c.as_slice(), &[*o]].concat())).collect()
    })
}

fn rank_orders(n: usize) -> Vec<Vec<i64>> {
    let ranks: Vec<i64> = (1..=n as i64).collect();
    choices(&ranks, n).into_iter().filter(|c| ranks.iter().all(|r| c.contains(r))).collect()
}

/// What holds for every chain of every network.
fn check(network: &Network, chain: &Chain) {
    let told = || {
        let legs: Vec<_> =
            chain.legs.iter().map(|l| (l.by, l.provenance, l.verdict.reason)).collect();
        format!("{:#?}\n{legs:#?}\nredirects: {:?}", network.nodes, chain.redirects)
    };
    assert_ne!(chain.end, End::Loop, "a loop: {}", told());
    for trail in &chain.trails {
        let hops = trail.hops();
        for (i, hop) in hops.iter().enumerate() {
            assert!(hops[..i].iter().all(|h| h.handle != hop.handle), "twice: {}", told());
        }
    }
    check_length(network, chain, &told);
    check_blocks(network, chain, &told);
    if chain.end == End::Reached {
        let last = chain.legs.last().unwrap();
        check_last_leg(network, chain, last, &told);
    }
}

/// With records at most one redirect per provider; once they are lost, the rank strictly falls.
fn check_length(network: &Network, chain: &Chain, told: &dyn Fn() -> String) {
    let n = network.nodes.len();
    let rank = |i: usize| network.nodes[i].rank;
    let lost = chain.redirects.iter().position(|p| network.nodes[*p].kind == Kind::Rude);
    match lost {
        None => assert!(chain.redirects.len() <= n, "too long: {}", told()),
        Some(at) => {
            assert!(chain.redirects.len() < 2 * n, "too long: {}", told());
            let after = &chain.redirects[at..];
            assert!(after.windows(2).all(|w| rank(w[0]) > rank(w[1])), "rank: {}", told());
        }
    }
}

/// A leg is refused exactly when a provider that matches it says so.
fn check_blocks(network: &Network, chain: &Chain, told: &dyn Fn() -> String) {
    let (last, before) = chain.legs.split_last().unwrap();
    let must = |leg: &Leg| network.must_block(leg.by, leg.original);
    assert!(!before.iter().any(must), "past a block: {}", told());
    assert_eq!(chain.end == End::Refused, must(last), "block: {}", told());
}

/// Whoever matches the leg to the destination and runs has had the connection, unless records were lost.
fn check_last_leg(network: &Network, chain: &Chain, last: &Leg, told: &dyn Fn() -> String) {
    let rude = chain.redirects.iter().any(|p| network.nodes[*p].kind == Kind::Rude);
    for (n, node) in network.nodes.iter().enumerate() {
        let wants = node.kind.listens() && node.matches.leg(last.by, last.original);
        assert!(!wants || rude || chain.redirects.contains(&n), "not asked: {}", told());
        let times = chain.redirects.iter().filter(|p| **p == n).count();
        assert!(rude || times <= 1, "{times} times: {}", told());
    }
}

/// Every network of `n` providers: all ranks, all kinds, filters that match the application, the
/// proxies, both, none, or what the application began.
fn networks(n: usize) -> impl Iterator<Item = Network> {
    let proxies = ((1u8 << n) - 1) << 1;
    let matches = [
        Matches::Connecting(0),
        Matches::Connecting(1),
        Matches::Connecting(proxies),
        Matches::Connecting(proxies | 1),
        Matches::OriginalApp,
    ];
    let nodes: Vec<(Kind, Matches)> =
        Kind::ALL.iter().flat_map(|kind| matches.map(|m| (*kind, m))).collect();
    rank_orders(n).into_iter().flat_map(move |ranks| {
        choices(&nodes, n).into_iter().map(move |choice| {
            let node = |(rank, (kind, matches)): (&i64, _)| Node { rank: *rank, kind, matches };
            Network::new(ranks.iter().zip(choice).map(node).collect())
        })
    })
}

/// Every network of `n` running providers whose filters tell each proxy from the others.
fn each_finely(n: usize, mut visit: impl FnMut(&Network)) {
    let masks: Vec<Matches> = (0..2u8 << n).map(Matches::Connecting).collect();
    let kinds = choices(&Kind::UP, n);
    for choice in choices(&masks, n) {
        let node = |(i, matches)| Node { rank: -(i as i64), kind: Kind::Declares, matches };
        let mut network = Network::new(choice.into_iter().enumerate().map(node).collect());
        for kinds in &kinds {
            network.become_kinds(kinds);
            visit(&network);
        }
    }
}

#[test]
fn every_chain_ends_and_passes_nobody_who_blocks() {
    let (mut explored, mut legs, mut longest) = (0u64, 0u64, 0);
    for n in 0..=3 {
        for network in networks(n) {
            let chain = run(&network, Rules::All);
            check(&network, &chain);
            explored += 1;
            legs += chain.legs.len() as u64;
            longest = longest.max(chain.redirects.len());
        }
    }
    println!("{explored} networks, {legs} legs, at most {longest} redirects");
    assert_eq!(explored, 1 + 30 + 2 * 30 * 30 + 6 * 30 * 30 * 30);
}

#[test]
fn every_chain_ends_whichever_proxies_a_filter_tells_apart() {
    let (mut explored, mut legs, mut longest) = (0u64, 0u64, 0);
    for n in 1..=3 {
        each_finely(n, |network| {
            let chain = run(network, Rules::All);
            check(network, &chain);
            explored += 1;
            legs += chain.legs.len() as u64;
            longest = longest.max(chain.redirects.len());
        });
    }
    println!("{explored} networks, {legs} legs, at most {longest} redirects");
    // Five: the lower two have it, then the highest, which loses the records, then the lower two again.
    assert_eq!(longest, 5);
}

#[test]
fn without_the_past_the_check_finds_the_loop() {
    let all = Matches::Connecting(3);
    let node = Node { rank: 1, kind: Kind::Declares, matches: all };
    let simplest = Network::new(vec![node]);
    assert_eq!(run(&simplest, Rules::NoPast).end, End::Loop);
    assert_eq!(run(&simplest, Rules::All).end, End::Reached);

    let loops = |n| networks(n).filter(|w| run(w, Rules::NoPast).end == End::Loop).count();
    let found = [loops(1), loops(2)];
    println!("loops without the past: {found:?} of [30, 1800]");
    assert!(found[0] > 0 && found[1] > found[0]);
}

#[test]
fn without_the_mark_of_lost_records_the_check_finds_the_loop() {
    let node = |rank, kind| Node { rank, kind, matches: Matches::Connecting(7) };
    let pair = Network::new(vec![node(2, Kind::Rude), node(1, Kind::Declares)]);
    let chain = run(&pair, Rules::NoMarkOfLoss);
    assert_eq!(chain.end, End::Loop);
    assert_eq!(chain.redirects[..4], [0, 1, 0, 1]);
    let chain = run(&pair, Rules::All);
    assert_eq!((chain.end, chain.redirects.as_slice()), (End::Reached, &[0, 1][..]));
    assert_eq!(chain.legs[2].by, Who::Proxy(1));
}

/// Every network of two whose filters tell applications and proxies apart, and of three whose filters
/// tell applications from proxies.
fn crowds() -> impl Iterator<Item = (Network, &'static [Who])> {
    let fine: Vec<Matches> = (0..16u8).map(|m| Matches::Connecting(m & 7 | (m & 8) << 4)).collect();
    let coarse: Vec<Matches> =
        [0, 1, 0x80, 0x81, 0x0e, 0x0f, 0x8e, 0x8f].map(Matches::Connecting).into();
    let three: &[Who] = &[Who::App, Who::Other, Who::App];
    let pairs = crowd(2, fine).map(move |network| (network, three));
    let triples = crowd(3, coarse).map(move |network| (network, &three[..2]));
    pairs.chain(triples)
}

fn crowd(n: usize, matches: Vec<Matches>) -> impl Iterator<Item = Network> {
    let kinds = choices(&Kind::UP, n);
    choices(&matches, n).into_iter().flat_map(move |choice| {
        let node = |(i, m): (usize, &Matches), kind| Node { rank: -(i as i64), kind, matches: *m };
        let nodes = |kinds: &Vec<Kind>| {
            choice.iter().enumerate().zip(kinds).map(|(m, kind)| node(m, *kind)).collect()
        };
        kinds.iter().map(|kinds| Network::new(nodes(kinds))).collect::<Vec<_>>()
    })
}

#[test]
fn a_crowd_that_adopts_each_connection_once_ends() {
    let (mut explored, mut states) = (0u64, 0u64);
    for (network, applications) in crowds() {
        let n = network.nodes.len();
        let mut crowd = Crowd::new(&network, Adopt::Once, applications.len() * (2 * n - 1));
        crowd.explore(applications).unwrap_or_else(|path| {
            panic!("{} redirects: {:#?}\n{path:?}", path.len(), network.nodes)
        });
        explored += 1;
        states += crowd.states();
    }
    println!("{explored} networks, {states} states");
}

#[test]
fn a_crowd_that_adopts_a_connection_again_need_not_end() {
    let node =
        |rank, mask| Node { rank, kind: Kind::Adoptable, matches: Matches::Connecting(mask) };
    // The higher one takes the application and proxies, the lower one also the other application.
    let network = Network::new(vec![node(2, 0b0000_0111), node(1, 0b1000_0110)]);
    let applications = [Who::App, Who::Other, Who::App];
    let far = 4 * applications.len() * 3;
    assert!(Crowd::new(&network, Adopt::Once, 9).explore(&applications).is_ok());
    let path = Crowd::new(&network, Adopt::Again, far).explore(&applications).unwrap_err();
    assert!(path.len() > far);
}
