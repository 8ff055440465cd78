//! What filters do to datagrams, and what no filter does.

use crate::scene::{Way, bound, canonical, errno, one, proxy, socket};
use hoptrail_core::compile::{Filter, Prefix};
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Lab, eventually};
use socket2::SockRef;
use std::net::SocketAddr;

/// A block filter refuses the datagram itself.
pub(crate) fn block() {
    let lab = Lab::of(|lab| {
        let mut acme = lab.provider("acme", 200);
        acme.filters = vec![Filter::all(Action::Block)];
        vec![acme]
    });
    let (app, outside) = (lab.actor("app"), lab.outsider());
    for way in Way::ALL {
        let before = lab.counters().blocked;
        let remote = way.to(10, 53);
        let origin = bound(&outside, canonical(remote));
        for _ in 0..2 {
            let sent = socket(&app, way).send_to(b"q", remote);
            assert_eq!(errno(&sent), libc::EACCES, "{way:?}");
            assert_eq!(errno(&socket(&app, way).connect(remote)), libc::EACCES);
        }
        origin.assert_silent("refused");
        assert_eq!(lab.counters().blocked, 4 + before, "{way:?}");
    }
}

/// A block of one provider refuses what the other would redirect; statement 60.
pub(crate) fn block_by_another() {
    let lab = Lab::of(|lab| {
        let mut two = lab.two();
        two[1].filters = vec![Filter { ports: vec![53..=53], ..Filter::all(Action::Block) }];
        two
    });
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let acme = proxy(&acme, "acme", Way::V4);
    let client = socket(&app, Way::V4);
    assert_eq!(errno(&client.send_to(b"q", Way::V4.to(10, 53))), libc::EACCES);
    acme.assert_silent("refused");
    client.send_to(b"q", Way::V4.to(10, 54)).unwrap();
    // Beta says nothing about this port.
    assert_eq!(acme.serve().2.context.destination(), Way::V4.to(10, 54));
}

/// Nothing listens: the datagram is refused, or goes past the provider, as it says.
pub(crate) fn unavailable() {
    let lab = Lab::new();
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    for way in Way::ALL {
        let before = lab.counters().listener_gone;
        let remote = way.to(10, 53);
        let origin = bound(&outside, canonical(remote));
        // Of the other transport: that is no listener for datagrams.
        let tcp = acme.listen(way.listener("acme"), 8).unwrap();
        lab.load(one(&lab));
        let client = socket(&app, way);
        assert_eq!(errno(&client.send_to(b"q", remote)), libc::ECONNREFUSED, "{way:?}");
        assert_eq!(errno(&client.connect(remote)), libc::ECONNREFUSED, "{way:?}");
        origin.assert_silent("refused");
        assert_eq!(lab.counters().listener_gone, 2 + before);
        let mut bypass = one(&lab);
        bypass[0].bypass = true;
        lab.load(bypass);
        client.send_to(b"past", remote).unwrap();
        let (text, from) = origin.recv_from();
        assert_eq!(text, "past");
        origin.send_to(b"a", from).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        lab.load(one(&lab));
        acme.close(tcp);
        let proxy = proxy(&acme, "acme", way);
        client.send_to(b"there", remote).unwrap();
        assert_eq!(proxy.serve().0, "there", "{way:?}: it listens now");
    }
}

/// `protocol = ["udp"]` leaves TCP alone, and the other way round.
pub(crate) fn protocol() {
    let lab = Lab::new();
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    let remote = Way::V4.to(10, 53);
    let origin = bound(&outside, remote);
    let stream_origin = lab.origin(remote);
    let proxy = proxy(&acme, "acme", Way::V4);
    let only = |tcp, udp| {
        let mut acme = one(&lab);
        acme[0].filters = vec![Filter { tcp, udp, ..Filter::all(Action::Redirect) }];
        lab.load(acme);
    };
    only(false, true);
    app.dial(remote).unwrap();
    eventually("TCP goes where it wants to", || stream_origin.accepted() == 1);
    socket(&app, Way::V4).send_to(b"q", remote).unwrap();
    assert_eq!(proxy.serve().2.context.destination(), remote);
    only(true, false);
    // Its listener is gone, for TCP.
    let refused = app.dial(remote);
    assert_eq!(errno(&refused), libc::ECONNREFUSED);
    socket(&app, Way::V4).send_to(b"direct", remote).unwrap();
    assert_eq!(origin.recv_from().0, "direct");
    proxy.assert_silent("not its protocol");
}

/// What does not match goes where it wants to, as if there were nothing.
pub(crate) fn no_match() {
    for way in Way::ALL {
        let lab = Lab::of(|lab| {
            let mut acme = lab.provider("acme", 200);
            let other =
                Prefix { ip: way.host(40).into(), bits: if way == Way::V6 { 128 } else { 32 } };
            acme.filters = vec![Filter { remote: vec![other], ..Filter::all(Action::Redirect) }];
            vec![acme]
        });
        let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
        let proxy = proxy(&acme, "acme", way);
        let remote = way.to(10, 53);
        let origin = bound(&outside, canonical(remote));
        let client = socket(&app, way);
        // The same socket has a flow that is redirected.
        client.send_to(b"q", way.to(40, 53)).unwrap();
        let (_, peer) = proxy.recv_from();
        client.send_to(b"direct", remote).unwrap();
        let (_, from) = origin.recv_from();
        assert_eq!(from.port(), client.local().port());
        origin.send_to(b"a", from).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        proxy.send_to(b"b", peer).unwrap();
        assert_eq!(client.recv_from(), ("b".into(), way.to(40, 53)), "{way:?}");
        proxy.assert_silent("not its destination");
    }
}

/// Multicast and broadcast have many receivers: whatever becomes of them, no proxy gets them.
pub(crate) fn multicast_and_broadcast() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let proxies = [proxy(&acme, "acme", Way::V4), proxy(&acme, "acme", Way::V6)];
    for to in [
        "224.0.0.251:5353",
        "239.255.255.250:1900",
        "255.255.255.255:67",
        "[ff02::fb]:5353",
        "[ff05::2]:53",
        "[::ffff:224.0.0.251]:5353",
        "[::ffff:255.255.255.255]:67",
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let client = app.socket(to, Kind::Udp).unwrap();
        app.run(client.0, |fd| SockRef::from(&held(fd)?).set_broadcast(true)).unwrap();
        // There may be no way to it in this namespace, or an interface missing in the address.
        let sent = app.send_to(client, b"everybody", to);
        let connected = app.connect(client, to);
        for outcome in [errno(&sent), errno(&connected)] {
            assert!([0, libc::ENETUNREACH, libc::EINVAL].contains(&outcome), "{to}: {outcome}");
        }
    }
    proxies.iter().for_each(|proxy| proxy.assert_silent("many receivers"));
    assert_eq!(lab.counters().redirected, 0);
}

/// Loopback is left alone, also the unspecified address, which means it; unless a filter asks for it.
pub(crate) fn loopback() {
    let lab = Lab::new();
    let (acme, app, outside) = (lab.actor("acme"), lab.actor("app"), lab.outsider());
    for way in Way::ALL {
        lab.load(one(&lab));
        let proxy = proxy(&acme, "acme", way);
        let remote = (way.loopback(), 5353).into();
        let server = bound(&outside, remote);
        let client = socket(&app, way);
        let mut unspecified = way.form(remote);
        unspecified.set_ip(if way == Way::V6 {
            std::net::Ipv6Addr::UNSPECIFIED.into()
        } else {
            way.form("0.0.0.0:1".parse().unwrap()).ip()
        });
        for to in [way.form(remote), unspecified] {
            client.send_to(b"here", to).unwrap();
            let (_, from) = server.recv_from();
            server.send_to(b"a", from).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), way.form(remote)), "{to}");
        }
        proxy.assert_silent("loopback");
        let mut asked = one(&lab);
        asked[0].filters[0].loopback = true;
        lab.load(asked);
        client.send_to(b"here", way.form(remote)).unwrap();
        let (_, peer, flow) = proxy.serve();
        assert_eq!(flow.context.destination(), remote, "{way:?}");
        proxy.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), way.form(remote)));
        server.assert_silent("redirected");
    }
}
