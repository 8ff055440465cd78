//! Connected sockets: the redirect is decided at connect.

use crate::scene::{Way, bound, canonical, errno, is_alias, one, proxy, socket};
use hoptrail_engine::event::EventKind;
use hoptrail_testkit::lab::Lab;
use hoptrail_testkit::lab::stage::held;
use std::collections::HashSet;
use std::os::fd::AsRawFd;

/// Statement 78: one record for connect and sends together. The application sees the remote.
pub(crate) fn connect_send_receive() {
    for way in Way::ALL {
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
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
    for way in Way::ALL {
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
        let acme = proxy(&acme, "acme", way);
        let own = way.to(10, 7777);
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
    for way in Way::ALL {
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
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

/// A socket that is disconnected and then sends to several remotes.
pub(crate) fn disconnected() {
    for way in Way::ALL {
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        client.connect(way.to(30, 53)).unwrap();
        client.send(b"connected").unwrap();
        let (_, connected, _) = acme.serve();
        app.run(client.fd.0, disconnect).unwrap();
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
    for way in Way::ALL {
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
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
    for way in Way::ALL {
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
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

#[expect(unsafe_code, reason = "no safe wrapper connects to AF_UNSPEC")]
fn disconnect(fd: i32) -> std::io::Result<()> {
    let socket = held(fd)?;
    let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
    // SAFETY: the descriptor is open, and `nowhere` is a whole `struct sockaddr`.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const nowhere,
            size_of::<libc::sockaddr>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
