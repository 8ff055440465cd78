//! Connected sockets: the redirect is decided at connect.

use crate::scene::{Way, bound, canonical, errno, is_alias, one, proxy, socket, unused_port};
use hoptrail_engine::event::EventKind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Lab, option};
use std::collections::HashSet;
use std::os::fd::AsFd;

/// Statement 78: one record for connect and sends together. The application sees the remote.
pub(crate) fn connect_send_receive() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let remote = way.to(10, 53);
        client.connect(remote).unwrap();
        assert_eq!(app.peer(client.fd).unwrap(), remote, "{way:?}");
        let mut peers = HashSet::new();
        for text in ["one", "two"] {
            client.send(text.as_bytes()).unwrap();
            let (got, peer, flow) = acme.serve();
            assert_eq!(got, text);
            assert_eq!(canonical(client.local()), peer, "{way:?}");
            assert_eq!(flow.context.destination(), canonical(remote));
            assert_eq!(flow.context.local(), peer);
            assert_eq!(flow.context.application().pid, app.pid());
            acme.send_to(text.as_bytes(), peer).unwrap();
            // recv(2) takes it, so it comes from whom the socket is connected to.
            assert_eq!(app.recv(client.fd).unwrap(), text.as_bytes());
            acme.send_to(text.as_bytes(), peer).unwrap();
            assert_eq!(client.recv_from(), (text.into(), remote), "{way:?}");
            peers.insert(peer);
        }
        assert_eq!(peers.len(), 1);
        let redirects = lab.events().iter().filter(|e| e.kind == EventKind::Redirected).count();
        assert_eq!(redirects, 1);
    }
}

/// A socket with its own address and port, connected.
pub(crate) fn bound_and_connected() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let own = way.to(10, unused_port());
        let client = bound(&app, own);
        client.connect(way.to(30, 53)).unwrap();
        assert_eq!(client.local(), own);
        client.send(b"q").unwrap();
        let (_, peer, flow) = acme.serve();
        assert_eq!(peer, canonical(own), "{way:?}");
        assert_eq!(flow.trail().local(), canonical(own));
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), way.to(30, 53)));
    }
}

/// Many at once: each has a port of its own, and its own flow.
pub(crate) fn three_hundred() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let acme = proxy(&acme, "acme", Way::V4);
    let mut peers = HashSet::new();
    for n in 0..300u16 {
        let client = socket(&app, Way::V4);
        client.connect(Way::V4.to(10, 1000 + n)).unwrap();
        client.send(b"q").unwrap();
        let (_, peer, flow) = acme.serve();
        assert_eq!(flow.context.destination().port(), 1000 + n);
        assert!(peers.insert(peer), "{peer} is two flows");
    }
}

/// A connected socket that sends elsewhere: that is a flow of its own, and as without a proxy, only
/// the one to whom it is connected is heard.
pub(crate) fn sends_elsewhere() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        client.connect(way.to(30, 53)).unwrap();
        client.send(b"connected").unwrap();
        let (_, peer, _) = acme.serve();
        client.send_to(b"elsewhere", way.to(40, 53)).unwrap();
        let (text, other, flow) = acme.serve();
        assert_eq!(text, "elsewhere");
        assert_eq!(flow.context.destination(), canonical(way.to(40, 53)));
        assert_ne!(other, peer, "{way:?}: one peer is two flows");
        assert_eq!(acme.flow(peer).unwrap().context.destination(), canonical(way.to(30, 53)));
        acme.send_to(b"from elsewhere", other).unwrap();
        client.assert_silent("the socket is connected to another");
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), way.to(30, 53)), "{way:?}");
    }
}

/// A connected socket that names its own remote once more: that is the flow it has; statement 78.
pub(crate) fn sends_to_the_same() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let remote = way.to(30, 53);
        client.connect(remote).unwrap();
        client.send(b"send").unwrap();
        let (_, peer, flow) = acme.serve();
        client.send_to(b"sendto", remote).unwrap();
        assert_eq!(acme.recv_from(), ("sendto".into(), peer), "{way:?}");
        assert_eq!(acme.flow(peer).unwrap().blob, flow.blob);
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
    }
}

/// A socket that is disconnected and then sends to several remotes. (A disconnected IPv6 socket still
/// hears nobody but its former remote: the kernel keeps that address, Hoptrail or not.)
pub(crate) fn disconnected() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in [Way::V4, Way::Mapped] {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        client.connect(way.to(30, 53)).unwrap();
        client.send(b"connected").unwrap();
        let (_, connected, _) = acme.serve();
        app.run(client.fd.0, |fd| option::dissolve(held(fd)?.as_fd())).unwrap();
        assert_eq!(errno(&app.peer(client.fd)), libc::ENOTCONN);
        let mut peers = vec![connected];
        for n in [40, 50] {
            client.send_to(b"q", way.to(n, 53)).unwrap();
            let (_, peer, flow) = acme.serve();
            assert_eq!(flow.context.destination(), canonical(way.to(n, 53)), "{way:?}");
            assert!(!peers.contains(&peer), "{way:?}: {peer} is two flows");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), way.to(n, 53)), "{way:?}");
            peers.push(peer);
        }
    }
}

/// Connecting again: the records are those of the new destination when they are asked again, and so
/// is what the application sees.
pub(crate) fn connects_again() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let mut ids = HashSet::new();
        for n in [30, 40, 30] {
            client.connect(way.to(n, 53)).unwrap();
            assert_eq!(app.peer(client.fd).unwrap(), way.to(n, 53));
            client.send(b"q").unwrap();
            let (_, peer, flow) = acme.serve();
            assert!(!is_alias(peer), "a connected socket has one address");
            assert_eq!(flow.context.destination(), canonical(way.to(n, 53)), "{way:?}");
            assert!(ids.insert(flow.trail().id()));
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), way.to(n, 53)), "{way:?}");
        }
    }
}

/// A socket with a flow to one remote that is then connected to another.
pub(crate) fn sends_then_connects() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        client.send_to(b"q", way.to(30, 53)).unwrap();
        acme.serve();
        client.connect(way.to(40, 53)).unwrap();
        client.send(b"q").unwrap();
        let (_, peer, flow) = acme.serve();
        assert_eq!(flow.context.destination(), canonical(way.to(40, 53)), "{way:?}");
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), way.to(40, 53)), "{way:?}");
    }
}

/// A connected socket keeps what was decided at connect, also an IPv6 one with an IPv4-mapped remote,
/// for whose every send(2) the kernel runs the hook of sendto(2).
pub(crate) fn decided_at_connect() {
    let lab = Lab::new();
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let remote = way.to(10, 53);
        let origin = bound(&outside, canonical(remote));
        let client = socket(&app, way);
        lab.load(Vec::new());
        client.connect(remote).unwrap();
        lab.load(one(&lab));
        client.send(b"direct").unwrap();
        let (text, from) = origin.recv_from();
        assert_eq!(text, "direct", "{way:?}");
        origin.send_to(b"a", from).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        acme.assert_silent("it was let through at connect");
    }
}

/// A filter for loopback does not take the proxy's own listener for a destination.
pub(crate) fn loopback_filter() {
    let lab = Lab::of(|lab| {
        let mut providers = one(lab);
        providers[0].filters[0].loopback = true;
        providers
    });
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let before = lab.counters().redirected;
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        client.connect(way.to(10, 53)).unwrap();
        for text in ["one", "two"] {
            client.send(text.as_bytes()).unwrap();
            let (got, peer, flow) = acme.serve();
            assert_eq!(got, text);
            assert_eq!(flow.context.destination(), canonical(way.to(10, 53)), "{way:?}");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), way.to(10, 53)), "{way:?}");
        }
        assert_eq!(lab.counters().redirected, 1 + before, "{way:?}");
    }
}
