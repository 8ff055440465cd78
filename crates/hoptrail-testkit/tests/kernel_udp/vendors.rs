//! Several providers and one flow: with records and without, and many flows over one socket.

use crate::scene::{Udp, Way, bound, canonical, one, proxy, socket, unused_port};
use hoptrail::Provenance;
use hoptrail_engine::event::EventKind;
use hoptrail_testkit::cases::guid;
use hoptrail_testkit::lab::{Actor, Lab};
use std::net::SocketAddr;

/// How a proxy's upstream socket gets its records, if it does, and where it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    ForAll,
    ForAllAndConnects,
    ForOne,
    Not,
    NotAndConnects,
}

impl Set {
    fn provenance(self) -> Provenance {
        match self {
            Self::Not | Self::NotAndConnects => Provenance::Inferred,
            _ => Provenance::Declared,
        }
    }
}

/// Statements 50 and 75: exactly one datagram at each, in both directions.
pub(crate) fn both_declare() {
    chains(&[[Set::ForAll, Set::ForAll], [Set::ForAllAndConnects, Set::ForAllAndConnects]]);
}

/// As above, with the records of one destination.
pub(crate) fn both_declare_for_one_destination() {
    chains(&[[Set::ForOne, Set::ForOne]]);
}

/// A proxy that sets nothing is taken to continue the flow that it most plausibly continues.
pub(crate) fn rude() {
    chains(&[
        [Set::Not, Set::ForAll],
        [Set::ForAll, Set::Not],
        [Set::NotAndConnects, Set::NotAndConnects],
        [Set::Not, Set::Not],
    ]);
}

/// Every way with every pair of manners, each to a server of its own.
fn chains(all: &[[Set; 2]]) {
    let lab = Lab::of(Lab::two);
    let people = [lab.actor("acme"), lab.actor("beta"), lab.actor("app"), lab.outsider()];
    for (way, sets) in Way::ALL.iter().flat_map(|way| all.iter().map(|sets| (*way, *sets))) {
        chain(&lab, &people, way, sets);
    }
}

fn chain(lab: &Lab, [acme, beta, app, outside]: &[Actor; 4], way: Way, sets: [Set; 2]) {
    let what = format!("{way:?} {sets:?}");
    let (acme, beta) = (proxy(acme, "acme", way), proxy(beta, "beta", way));
    let remote = way.to(10, unused_port());
    let origin = bound(outside, canonical(remote));
    let client = socket(app, way);
    client.send_to(b"query", remote).unwrap();
    let (acme_up, acme_peer) = pass(&acme, way, sets[0], remote);
    let (beta_up, beta_peer) = pass(&beta, way, sets[1], remote);
    let (text, last) = origin.recv_from();
    assert_eq!(text, "query", "{what}");
    origin.send_to(b"answer", last).unwrap();
    assert_eq!(beta_up.recv_from(), ("answer".into(), remote), "{what}");
    beta.send_to(b"answer", beta_peer).unwrap();
    assert_eq!(acme_up.recv_from(), ("answer".into(), remote), "{what}");
    acme.send_to(b"answer", acme_peer).unwrap();
    assert_eq!(client.recv_from(), ("answer".into(), remote), "{what}");
    for socket in [&acme, &beta, &origin, &client] {
        socket.assert_silent(&what);
    }
    assert_trail(lab, sets, &what);
}

/// A proxy passes the next datagram on.
fn pass<'a>(here: &Udp<'a>, way: Way, set: Set, to: SocketAddr) -> (Udp<'a>, SocketAddr) {
    let (text, peer) = here.recv_from();
    let up = socket(here.actor, way);
    if set.provenance() == Provenance::Declared {
        let flow = here.flow(peer).unwrap();
        assert_eq!(flow.context.destination(), canonical(to));
        if set == Set::ForOne {
            up.select(to).unwrap();
        }
        up.set_records(&flow.blob).unwrap();
    }
    if matches!(set, Set::ForAllAndConnects | Set::NotAndConnects) {
        up.connect(to).unwrap();
        up.send(text.as_bytes()).unwrap();
    } else {
        up.send_to(text.as_bytes(), to).unwrap();
    }
    (up, peer)
}

/// One trail: redirected by acme, then by beta, then at its destination.
fn assert_trail(lab: &Lab, sets: [Set; 2], what: &str) {
    let events = lab.events();
    let legs: Vec<_> =
        events.iter().map(|e| (e.kind, e.provenance, e.trail.hops().len())).collect();
    let expected = [
        (EventKind::Redirected, Provenance::Fresh, 1),
        (EventKind::Redirected, sets[0].provenance(), 2),
        (EventKind::Reached, sets[1].provenance(), 2),
    ];
    assert_eq!(legs, expected, "{what}");
    assert!(events.iter().all(|e| e.trail.header.id == events[0].trail.header.id), "{what}");
    let handle = |name| hoptrail_core::compile::handle_of(guid(name));
    let handles: Vec<_> = events[2].trail.hops().iter().map(|hop| hop.handle).collect();
    assert_eq!(handles, [handle("acme"), handle("beta")], "{what}");
}

/// One sending socket carries two clients' flows, each to its own destination with its own records.
/// A destination without any of its own has those of the socket.
pub(crate) fn one_socket_for_several_destinations() {
    let lab = Lab::of(Lab::two);
    let (acme, beta) = (lab.actor("acme"), lab.actor("beta"));
    let apps = [lab.actor("app"), lab.actor("app"), lab.actor("app")];
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let remotes = [way.to(30, 53), way.to(40, 53), way.to(50, 53)];
        let up = socket(acme.actor, way);
        for (i, (app, remote)) in apps.iter().zip(remotes).enumerate() {
            socket(app, way).send_to(b"q", remote).unwrap();
            let (_, _, flow) = acme.serve();
            if i == 2 {
                up.deselect().unwrap();
            } else {
                up.select(remote).unwrap();
            }
            up.set_records(&flow.blob).unwrap();
        }
        for (app, remote) in apps.iter().zip(remotes).rev() {
            up.send_to(b"q", remote).unwrap();
            let (_, peer, flow) = beta.serve();
            assert_eq!(flow.context.application().pid, app.pid(), "{way:?}");
            assert_eq!(flow.context.destination(), canonical(remote));
            assert_eq!(flow.context.provenance(), Provenance::Declared);
            beta.send_to(b"a", peer).unwrap();
            assert_eq!(up.recv_from(), ("a".into(), remote), "{way:?}");
        }
    }
}

/// One sending socket carries two clients' flows to one destination: what was SET last for it counts,
/// or one client would act under the other's name (as statement 40).
pub(crate) fn set_again_for_a_destination() {
    let lab = Lab::of(Lab::two);
    let (acme, beta) = (lab.actor("acme"), lab.actor("beta"));
    let apps = [lab.actor("app"), lab.actor("app")];
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let remote = way.to(30, 53);
        let up = socket(acme.actor, way);
        for app in &apps {
            socket(app, way).send_to(b"q", remote).unwrap();
            let (_, _, flow) = acme.serve();
            up.select(remote).unwrap();
            up.set_records(&flow.blob).unwrap();
            up.send_to(b"q", remote).unwrap();
            let (_, peer, seen) = beta.serve();
            assert_eq!(seen.context.application().pid, app.pid(), "{way:?}");
            assert_eq!(seen.trail().id(), flow.trail().id());
            beta.send_to(b"a", peer).unwrap();
            assert_eq!(up.recv_from(), ("a".into(), remote), "{way:?}");
        }
    }
}

/// The proxy's own socket is also the one with which it sends on.
pub(crate) fn listener_sends_on() {
    let lab = Lab::of(Lab::two);
    let (acme, beta, app) = (lab.actor("acme"), lab.actor("beta"), lab.actor("app"));
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let remote = canonical(way.to(30, 53));
        let client = socket(&app, way);
        client.send_to(b"q", way.to(30, 53)).unwrap();
        let (_, peer, flow) = acme.serve();
        acme.select(remote).unwrap();
        acme.set_records(&flow.blob).unwrap();
        acme.send_to(b"q", remote).unwrap();
        let (_, acme_peer, flow) = beta.serve();
        assert_eq!(flow.trail().hops().len(), 2);
        assert_eq!(acme_peer.port(), way.listener("acme").port());
        beta.send_to(b"a", acme_peer).unwrap();
        assert_eq!(acme.recv_from(), ("a".into(), remote), "{way:?}");
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), way.to(30, 53)));
    }
}

/// What a rude proxy sends of its own accord continues nothing: only those ranked after it are asked.
pub(crate) fn of_its_own_accord() {
    let lab = Lab::of(Lab::two);
    let (acme, beta) = (lab.actor("acme"), lab.actor("beta"));
    let outside = lab.outsider();
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let origin = bound(&outside, canonical(way.to(10, 53 + way as u16)));
        socket(beta.actor, way).send_to(b"beta's", way.to(10, 53 + way as u16)).unwrap();
        assert_eq!(origin.recv_from().0, "beta's", "{way:?}");
        socket(acme.actor, way).send_to(b"acme's", way.to(10, 53 + way as u16)).unwrap();
        let (text, _, flow) = beta.serve();
        assert_eq!((text.as_str(), flow.context.provenance()), ("acme's", Provenance::Unrecorded));
        for socket in [&acme, &beta, &origin] {
            socket.assert_silent(&format!("{way:?}"));
        }
    }
}

/// Two clients ask one remote through a rude proxy: each upstream socket continues another flow.
pub(crate) fn rude_with_two_clients() {
    let lab = Lab::of(Lab::two);
    let (acme, beta) = (lab.actor("acme"), lab.actor("beta"));
    let apps = [lab.actor("app"), lab.actor("app")];
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let remote = way.to(30, 53 + way as u16);
        for app in &apps {
            socket(app, way).send_to(b"q", remote).unwrap();
            acme.recv_from();
        }
        let mut pids = Vec::new();
        for _ in &apps {
            socket(acme.actor, way).send_to(b"q", remote).unwrap();
            let (_, _, flow) = beta.serve();
            assert_eq!(flow.context.provenance(), Provenance::Inferred, "{way:?}");
            assert_eq!(flow.trail().hops().len(), 2);
            pids.push(flow.context.application().pid);
        }
        assert_ne!(pids[0], pids[1], "{way:?}: one flow is continued twice");
        assert!(apps.iter().all(|app| pids.contains(&app.pid())));
    }
}

/// A rude proxy that asks for the original destination continues the flow for which it asked last.
pub(crate) fn rude_that_asks() {
    let lab = Lab::of(Lab::two);
    let (acme, beta) = (lab.actor("acme"), lab.actor("beta"));
    let apps = [lab.actor("app"), lab.actor("app")];
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let remote = way.to(30, 53 + way as u16);
        let mut peers = Vec::new();
        for app in &apps {
            socket(app, way).send_to(b"q", remote).unwrap();
            peers.push(acme.recv_from().1);
        }
        // The first one, which is not the latest.
        acme.select(peers[0]).unwrap();
        assert_eq!(acme.actor.probe(acme.fd, libc::IPPROTO_IPV6, 80, 28).errno, None);
        socket(acme.actor, way).send_to(b"q", remote).unwrap();
        let (_, _, flow) = beta.serve();
        assert_eq!(flow.context.application().pid, apps[0].pid(), "{way:?}");
    }
}

/// A provider that is alone: its proxy's datagrams are not its own once more, records or none.
pub(crate) fn alone() {
    let lab = Lab::of(one);
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    for (way, set) in Way::ALL.into_iter().flat_map(|w| [(w, Set::ForAll), (w, Set::Not)]) {
        let acme = proxy(&acme, "acme", way);
        let remote = way.to(10, unused_port());
        let origin = bound(&outside, canonical(remote));
        socket(&app, way).send_to(b"q", remote).unwrap();
        let (up, _) = pass(&acme, way, set, remote);
        assert_eq!(origin.recv_from().0, "q", "{way:?} {set:?}");
        // And later ones neither.
        up.send_to(b"q2", remote).unwrap();
        assert_eq!(origin.recv_from().0, "q2");
        acme.assert_silent(&format!("{way:?} {set:?}"));
    }
}
