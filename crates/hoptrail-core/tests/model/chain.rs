//! One connection on its way: leg after leg from the application to the destination, with the real
//! decision, the real records, and what a kernel does between them.

use super::network::{FLOW, Network, Who, listener};
use hoptrail_core::decide::{Past, Verdict, evaluate};
use hoptrail_core::image::Action;
use hoptrail_core::records::{Exe, MAX_HOPS, Provenance, Trail};
use hoptrail_core::siphash::Key;

const KEY: Key = [7, 11];
/// More legs than any network here can need.
const ENDLESS: usize = 32;

/// What a simulation leaves out, to see whether the check notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rules {
    /// Nothing: the real thing.
    All,
    /// Proxies' connections count as fresh ones.
    NoPast,
    /// A trail that began unrecorded counts like any other.
    NoMarkOfLoss,
}

/// How a chain ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Reached,
    Refused,
    /// It did not end.
    Loop,
}

/// One leg, as it was decided.
#[derive(Clone)]
pub(crate) struct Leg {
    pub(crate) by: Who,
    /// The first process of the trail, or the connecting one without a trail.
    pub(crate) original: Exe,
    pub(crate) provenance: Provenance,
    pub(crate) verdict: Verdict,
}

/// A chain of legs.
pub(crate) struct Chain {
    pub(crate) legs: Vec<Leg>,
    /// The providers that redirected, in order.
    pub(crate) redirects: Vec<usize>,
    /// The trail after every redirect.
    pub(crate) trails: Vec<Trail>,
    pub(crate) end: End,
}

/// Runs the chain of one connection.
pub(crate) fn run(network: &Network, rules: Rules) -> Chain {
    let mut chain = Chain { legs: vec![], redirects: vec![], trails: vec![], end: End::Loop };
    let mut by = Who::App;
    while chain.legs.len() < ENDLESS {
        let (carried, provenance) = carry(network, by, chain.trails.last());
        let verdict = judge(network, by, carried.as_ref(), rules);
        let original = carried.map_or(by.exe(), |t| t.header.origin().exe);
        chain.legs.push(Leg { by, original, provenance, verdict });
        if verdict.action != Action::Redirect {
            chain.end = if verdict.action == Action::Block { End::Refused } else { End::Reached };
            return chain;
        }
        let to = network.asked[usize::from(verdict.provider.unwrap())];
        chain.trails.push(extend(carried, by, network.handle(to), to, provenance));
        chain.redirects.push(to);
        by = Who::Proxy(to);
    }
    chain
}

/// What the socket of `by` carries, when its owner accepted a connection with `accepted`.
fn carry(network: &Network, by: Who, accepted: Option<&Trail>) -> (Option<Trail>, Provenance) {
    use super::network::Kind;
    let (Who::Proxy(n), Some(trail)) = (by, accepted) else {
        return (None, Provenance::Fresh);
    };
    match network.nodes[n].kind {
        // Through the bytes, as a proxy would.
        Kind::Declares => {
            (Some(Trail::open(trail.seal(KEY).as_bytes(), KEY).unwrap()), Provenance::Declared)
        }
        Kind::Adoptable => {
            let last = trail.hops().last().unwrap();
            assert_eq!((last.handle, last.asked()), (network.handle(n), FLOW.remote));
            (Some(*trail), Provenance::Inferred)
        }
        Kind::Rude => (None, Provenance::Unrecorded),
        kind => panic!("{kind:?} has no proxy that connects"),
    }
}

/// The decision on a leg of `by` whose socket carries `trail`.
pub(crate) fn judge(network: &Network, by: Who, trail: Option<&Trail>, rules: Rules) -> Verdict {
    let image = &network.compiled.words;
    evaluate(
        image,
        &FLOW,
        &by,
        |members| match trail {
            _ if rules == Rules::NoPast => Past::fresh(),
            Some(trail) => {
                let first = match rules {
                    Rules::NoMarkOfLoss => Provenance::Fresh,
                    _ => trail.hops[0].provenance(),
                };
                let hops = u32::from(trail.header.hops);
                let origin = trail.header.origin();
                Past::of_trail(image, origin, first, hops, |i| trail.hops[i as usize].handle)
            }
            // Of an application, which is no provider's member, this is a fresh connection.
            None => Past::unrecorded(members),
        },
        |provider, v4| {
            let n = network.asked[provider as usize];
            let asked = &network.compiled.providers[provider as usize];
            assert!(v4 && asked.listen_v4 == Some(listener(n)));
            network.nodes[n].kind.listens()
        },
        |_, _, _| {},
    )
}

/// The trail after a redirect to provider `to`.
pub(crate) fn extend(
    carried: Option<Trail>,
    by: Who,
    handle: u64,
    to: usize,
    provenance: Provenance,
) -> Trail {
    let mut trail = carried.unwrap_or_else(|| begin(by));
    let n = usize::from(trail.header.hops);
    // Only with the rules switched off does a trail get so long.
    let n = n.min(MAX_HOPS - 1);
    let hop = &mut trail.hops[n];
    hop.handle = handle;
    hop.flags = provenance as u16;
    hop.asked = FLOW.remote.ip;
    hop.asked_port = hoptrail_core::addr::Port::new(FLOW.remote.port);
    hop.to = listener(to).ip;
    hop.to_port = hoptrail_core::addr::Port::new(listener(to).port);
    trail.header.hops = n as u8 + 1;
    trail
}

fn begin(by: Who) -> Trail {
    let mut trail = Trail::default();
    let exe = by.exe();
    (trail.header.exe_dev, trail.header.exe_ino) = (exe.dev, exe.ino);
    trail.header.uid = 1000;
    trail
}
