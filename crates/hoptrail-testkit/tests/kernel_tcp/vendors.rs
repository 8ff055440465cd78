//! Several providers inspect one connection, whatever their manners and ranks: statements 50 to 53 and
//! DESIGN.md section 2, points 1 and 2.

use hoptrail_core::compile::{Provider, handle_of};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::Provenance;
use hoptrail_engine::event::{Event, EventKind};
use hoptrail_testkit::cases::guid;
use hoptrail_testkit::lab::{Lab, Manner, PORT, Proxy, V4, V6, eventually};
use std::net::SocketAddr;

const DECLARES: Manner = Manner::Declares;
const ASKS: Manner = Manner::AsksDestination;

/// Runs one connection through `providers`, highest rank first, and looks at everything: each proxy
/// dials once, the destination accepts once, and the events tell the trail.
fn run(providers: &[(&str, i64, Manner)], to: SocketAddr, expected: &[Provenance]) {
    let lab = Lab::of(|lab| {
        let mut list: Vec<Provider> =
            providers.iter().map(|(name, rank, _)| lab.provider(name, *rank)).collect();
        // The order of the configuration says nothing.
        list.reverse();
        list
    });
    let origin = lab.origin(to);
    let proxies: Vec<Proxy> =
        providers.iter().map(|(name, _, manner)| lab.proxy(name, *manner)).collect();
    let app = lab.actor("app");
    let connection = app.dial(to).unwrap();
    app.send(connection, b"hello").unwrap();
    assert_eq!(app.recv(connection).unwrap(), b"hello");
    assert_eq!(app.peer(connection).unwrap(), to);
    assert_eq!(origin.accepted(), 1);
    for (proxy, (name, ..)) in proxies.iter().zip(providers) {
        let seen = proxy.seen();
        assert_eq!(seen.len(), 1, "{name} saw {seen:?}");
        assert_eq!((seen[0].dialled, seen[0].errno), (Some(to), 0), "{name}");
    }
    let names: Vec<&str> = providers.iter().map(|p| p.0).collect();
    let pids: Vec<u32> =
        [app.pid()].into_iter().chain(proxies.iter().map(|p| p.actor.pid())).collect();
    check_events(&lab.events(), &names, &pids, to, expected);
    app.close(connection);
    eventually("every link is gone", || lab.links().is_empty());
}

fn check_events(
    events: &[Event],
    names: &[&str],
    pids: &[u32],
    to: SocketAddr,
    expected: &[Provenance],
) {
    assert_eq!(events.len(), names.len() + 1, "{events:?}");
    let handles: Vec<u64> = names.iter().map(|name| handle_of(guid(name))).collect();
    for (i, event) in events.iter().enumerate() {
        let last = i == names.len();
        assert_eq!(event.kind, if last { EventKind::Reached } else { EventKind::Redirected });
        assert_eq!(event.by.pid, pids[i], "leg {i}");
        assert_eq!(event.asked, to.into());
        assert_eq!(event.provenance, expected[i], "leg {i}");
        let hops: Vec<u64> = event.trail.hops().iter().map(|hop| hop.handle).collect();
        assert_eq!(hops, handles[..(i + 1).min(names.len())], "leg {i}");
        if !last {
            assert_eq!((event.handle, event.reason), (handles[i], Reason::FilterRedirect));
        }
        if expected.iter().all(|p| *p != Provenance::Unrecorded) {
            assert_eq!(event.trail.header.pid, pids[0], "the application is known on leg {i}");
            assert_eq!(event.trail.header.id, events[0].trail.header.id);
        }
    }
}

use Provenance::{Declared, Fresh, Inferred};

fn web() -> SocketAddr {
    (V4, PORT).into()
}

/// Statement 50.
pub(crate) fn two_declaring() {
    run(&[("acme", 200, DECLARES), ("beta", 100, DECLARES)], web(), &[Fresh, Declared, Declared]);
}

/// Statement 50 with the ranks swapped.
pub(crate) fn two_declaring_in_the_other_order() {
    run(&[("beta", 200, DECLARES), ("acme", 100, DECLARES)], web(), &[Fresh, Declared, Declared]);
}

/// Statement 50 over IPv6.
pub(crate) fn two_declaring_over_ipv6() {
    let to = (V6, PORT).into();
    run(&[("acme", 200, DECLARES), ("beta", 100, DECLARES)], to, &[Fresh, Declared, Declared]);
}

/// Statement 51 turned round: WFP loops here, Hoptrail does not.
pub(crate) fn the_first_is_rude() {
    run(&[("acme", 200, ASKS), ("beta", 100, DECLARES)], web(), &[Fresh, Inferred, Declared]);
}

/// As above with the rude one second.
pub(crate) fn the_second_is_rude() {
    run(&[("acme", 200, DECLARES), ("beta", 100, ASKS)], web(), &[Fresh, Declared, Inferred]);
}

/// As above with two rude ones, over both families.
pub(crate) fn both_are_rude() {
    let providers = [("acme", 200, ASKS), ("beta", 100, ASKS)];
    run(&providers, web(), &[Fresh, Inferred, Inferred]);
    run(&providers, (V6, PORT).into(), &[Fresh, Inferred, Inferred]);
}

/// Proxies that ask for nothing at all: they know where to dial.
pub(crate) fn neither_asks_anything() {
    let fixed = Manner::Fixed(web());
    run(&[("acme", 200, fixed), ("beta", 100, fixed)], web(), &[Fresh, Inferred, Inferred]);
    run(&[("beta", 200, fixed), ("acme", 100, DECLARES)], web(), &[Fresh, Inferred, Declared]);
}

/// Three, in several orders and manners.
pub(crate) fn three_providers() {
    let all = [Fresh, Declared, Declared, Declared];
    run(&[("acme", 3, DECLARES), ("beta", 2, DECLARES), ("gamma", 1, DECLARES)], web(), &all);
    run(&[("gamma", 3, DECLARES), ("acme", 2, DECLARES), ("beta", 1, DECLARES)], web(), &all);
    let rude = [Fresh, Declared, Inferred, Inferred];
    let fixed = Manner::Fixed(web());
    run(&[("acme", 3, DECLARES), ("beta", 2, ASKS), ("gamma", 1, fixed)], web(), &rude);
    let rude = [Fresh, Inferred, Declared, Inferred];
    run(&[("beta", 3, fixed), ("gamma", 2, DECLARES), ("acme", 1, ASKS)], web(), &rude);
}

/// Many connections of several clients through one well-mannered and one rude proxy: no connection is
/// lost or doubled.
pub(crate) fn a_hundred_connections_through_a_rude_pair() {
    for manners in [[ASKS, ASKS], [Manner::Fixed(web()), DECLARES], [DECLARES, ASKS]] {
        let lab = Lab::of(Lab::two);
        let origin = lab.origin(web());
        let proxies = [lab.proxy("acme", manners[0]), lab.proxy("beta", manners[1])];
        let app = lab.actor("app");
        let work: Vec<_> = (0..4)
            .map(|n: u8| {
                app.begin((web(), n), |(to, n): (SocketAddr, u8)| {
                    use std::io::{Read, Write};
                    for i in 0..25u8 {
                        let mut stream = std::net::TcpStream::connect(to)?;
                        stream.write_all(&[n, i])?;
                        let mut back = [0; 2];
                        stream.read_exact(&mut back)?;
                        assert_eq!(back, [n, i]);
                    }
                    Ok(())
                })
            })
            .collect();
        work.into_iter().for_each(|task| task.wait().unwrap());
        assert_eq!(origin.accepted(), 100, "{manners:?}");
        for proxy in &proxies {
            assert_eq!(proxy.seen().len(), 100, "{manners:?}");
        }
        let counters = lab.counters();
        assert_eq!((counters.redirected, counters.link_failed), (200, 0));
        eventually("every link is gone", || lab.links().is_empty());
    }
}

/// A rude proxy's own connection, made before anything was redirected: lower ranks inspect it, higher
/// ones do not, and nothing loops.
pub(crate) fn a_rude_proxys_own_business() {
    let lab = Lab::of(Lab::two);
    let origin = lab.origin(web());
    let [acme, beta] = [lab.proxy("acme", ASKS), lab.proxy("beta", ASKS)];
    for (dialler, passes) in [(&beta, 0), (&acme, 1)] {
        let before = (acme.seen().len(), beta.seen().len(), origin.accepted());
        let socket = dialler.actor.dial(web()).unwrap();
        dialler.actor.send(socket, b"own").unwrap();
        assert_eq!(dialler.actor.recv(socket).unwrap(), b"own");
        assert_eq!(acme.seen().len(), before.0);
        assert_eq!(beta.seen().len(), before.1 + passes);
        assert_eq!(origin.accepted(), before.2 + 1);
    }
}
