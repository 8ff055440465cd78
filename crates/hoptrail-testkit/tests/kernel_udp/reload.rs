//! A new policy: flows that were redirected stay so, flows that were let through are decided again;
//! as statement 59.

use crate::scene::{Way, bound, canonical, errno, one, proxy, socket};
use hoptrail_core::compile::{Filter, Provider};
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::{Lab, listener};

/// Policies under which a new flow would be decided otherwise.
fn others(lab: &Lab) -> [(&'static str, Vec<Provider>); 4] {
    let with = |change: &dyn Fn(&mut Provider)| {
        let mut providers = one(lab);
        change(&mut providers[0]);
        providers
    };
    [
        ("nothing", Vec::new()),
        ("permit", with(&|acme| acme.filters = vec![Filter::all(Action::Permit)])),
        ("block", with(&|acme| acme.filters = vec![Filter::all(Action::Block)])),
        (
            "elsewhere",
            with(&|acme| {
                acme.listen_v4 = Some(listener("zeta", true).into());
                acme.listen_v6 = Some(listener("zeta", false).into());
            }),
        ),
    ]
}

/// A redirected flow goes on, in both directions, with its records.
pub(crate) fn redirected_flow() {
    let lab = Lab::new();
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        lab.load(one(&lab));
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        // A first flow, and one that has a stand-in address.
        let flows = [30, 40].map(|n| {
            client.send_to(b"q", way.to(n, 53)).unwrap();
            let (_, peer, flow) = acme.serve();
            (way.to(n, 53), peer, flow.blob)
        });
        for (what, providers) in others(&lab) {
            lab.load(providers);
            for (remote, peer, blob) in &flows {
                let sent = client.send_to(b"after", *remote);
                assert_eq!(errno(&sent), 0, "{way:?} {what}");
                assert_eq!(acme.recv_from(), ("after".into(), *peer), "{way:?} {what}");
                assert_eq!(acme.flow(*peer).unwrap().blob, *blob, "{way:?} {what}");
                acme.send_to(b"a", *peer).unwrap();
                assert_eq!(client.recv_from(), ("a".into(), *remote), "{way:?} {what}");
            }
        }
    }
}

/// A connected socket likewise; connected again, it is decided again.
pub(crate) fn connected_socket() {
    let lab = Lab::new();
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    for way in Way::ALL {
        lab.load(one(&lab));
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let remote = way.to(10, 53);
        client.connect(remote).unwrap();
        client.send(b"q").unwrap();
        let (_, peer) = acme.recv_from();
        for (what, providers) in others(&lab) {
            lab.load(providers);
            client.send(b"after").unwrap();
            assert_eq!(acme.recv_from(), ("after".into(), peer), "{way:?} {what}");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?} {what}");
            assert_eq!(app.peer(client.fd).unwrap(), remote);
        }
        lab.load(Vec::new());
        let origin = bound(&outside, canonical(remote));
        let fresh = socket(&app, way);
        for client in [&fresh, &client] {
            client.connect(remote).unwrap();
            assert_eq!(app.peer(client.fd).unwrap(), remote);
        }
        fresh.send(b"direct").unwrap();
        let (_, from) = origin.recv_from();
        origin.send_to(b"a", from).unwrap();
        assert_eq!(fresh.recv_from(), ("a".into(), remote));
    }
}

/// A flow that was let through is decided again at its next datagram.
pub(crate) fn permitted_flow() {
    let lab = Lab::new();
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let remote = way.to(10, 53);
        let origin = bound(&outside, canonical(remote));
        let client = socket(&app, way);
        let load = |action| {
            let mut providers = one(&lab);
            providers[0].filters = vec![Filter::all(action)];
            lab.load(providers);
        };
        load(Action::Permit);
        for _ in 0..2 {
            client.send_to(b"direct", remote).unwrap();
            assert_eq!(origin.recv_from().0, "direct");
        }
        load(Action::Block);
        assert_eq!(errno(&client.send_to(b"q", remote)), libc::EACCES, "{way:?}");
        load(Action::Redirect);
        client.send_to(b"redirected", remote).unwrap();
        let (text, peer, flow) = acme.serve();
        assert_eq!(text, "redirected", "{way:?}");
        assert_eq!(flow.context.destination(), canonical(remote));
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        origin.assert_silent("redirected");
    }
}
