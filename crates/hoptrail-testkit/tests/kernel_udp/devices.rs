//! Sockets that are bound to a device: the proxy's loopback address cannot be reached from it.

use crate::scene::{Udp, Way, canonical, errno, one, proxy, socket};
use hoptrail_testkit::lab::{Actor, Lab, Neighbour, at};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// A server at the other end of the device.
const BEYOND: &str = "198.51.100.2:53";
/// This end.
const HERE: &str = "198.51.100.1";

fn server(neighbour: &Neighbour) -> UdpSocket {
    neighbour.inside(|| {
        let server = UdpSocket::bind(BEYOND).expect("a server");
        server.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        server
    })
}

fn recv(server: &UdpSocket) -> (String, SocketAddr) {
    let mut bytes = [0; 64];
    let (n, from) = server.recv_from(&mut bytes).expect("a datagram");
    (String::from_utf8_lossy(&bytes[..n]).into_owned(), from)
}

fn assert_silent(server: &UdpSocket) {
    server.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    let got = server.recv_from(&mut [0; 64]);
    assert_eq!(got.as_ref().err().map(io::Error::kind), Some(io::ErrorKind::WouldBlock), "{got:?}");
}

fn bind(socket: &Udp<'_>, device: &str) {
    let name = format!("{device}\0");
    let level = libc::SOL_SOCKET;
    socket.actor.set_at(socket.fd, level, libc::SO_BINDTODEVICE, name.as_bytes()).unwrap();
}

fn bound(app: &Actor, way: Way) -> Udp<'_> {
    let socket = socket(app, way);
    bind(&socket, "ht0");
    socket
}

/// Connected, it is redirected, and its records name the device.
pub(crate) fn connected() {
    let lab = Lab::of(one);
    let neighbour = lab.neighbour("ht0");
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let server = server(&neighbour);
    for way in [Way::V4, Way::Mapped] {
        let acme = proxy(&acme, "acme", way);
        let (client, to) = (bound(&app, way), way.form(at(BEYOND)));
        client.connect(to).unwrap();
        client.send(b"q").unwrap();
        let (_, peer, flow) = acme.serve();
        assert_eq!(flow.context.destination(), canonical(to), "{way:?}");
        let trail = flow.trail();
        assert_eq!(trail.device().unwrap().get(), neighbour.interface);
        let up = bound(acme.actor, way);
        up.set_records(&flow.blob).unwrap();
        up.connect(to).unwrap();
        up.send(b"q").unwrap();
        let (text, from) = recv(&server);
        assert_eq!((text.as_str(), from.ip().to_string().as_str()), ("q", HERE));
        server.send_to(b"a", from).unwrap();
        assert_eq!(up.recv_from(), ("a".into(), to));
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), to), "{way:?}");
    }
}

/// Unconnected, its datagrams find no listener: they are refused, or let past.
pub(crate) fn unconnected() {
    let lab = Lab::new();
    let neighbour = lab.neighbour("ht0");
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let server = server(&neighbour);
    for way in [Way::V4, Way::Mapped] {
        let acme = proxy(&acme, "acme", way);
        let (client, to) = (bound(&app, way), way.form(at(BEYOND)));
        lab.load(one(&lab));
        for _ in 0..2 {
            assert_eq!(errno(&client.send_to(b"q", to)), libc::ECONNREFUSED, "{way:?}");
        }
        let mut bypass = one(&lab);
        bypass[0].bypass = true;
        lab.load(bypass);
        for text in ["past", "again"] {
            client.send_to(text.as_bytes(), to).unwrap();
            let (got, from) = recv(&server);
            assert_eq!(got, text, "{way:?}");
            server.send_to(b"a", from).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), to), "{way:?}");
        }
        acme.assert_silent("it cannot be reached");
    }
    assert_silent(&server);
}

/// That one provider is passed by says nothing for the next: it may have to block.
pub(crate) fn bypassed() {
    let lab = Lab::of(|lab| {
        let mut two = lab.two();
        two[0].bypass = true;
        two
    });
    let neighbour = lab.neighbour("ht0");
    let (acme, beta, app) = (lab.actor("acme"), lab.actor("beta"), lab.actor("app"));
    let (acme, beta) = (proxy(&acme, "acme", Way::V4), proxy(&beta, "beta", Way::V4));
    let server = server(&neighbour);
    let client = bound(&app, Way::V4);
    assert_eq!(errno(&client.send_to(b"q", at(BEYOND))), libc::ECONNREFUSED);
    assert_silent(&server);
    acme.assert_silent("unreachable");
    beta.assert_silent("unreachable");
}

/// A socket that has a flow and is bound to a device then: its datagrams must not leave by the device
/// for the proxy's loopback address, nor past the proxy.
pub(crate) fn bound_later() {
    for way in [Way::V4, Way::Mapped] {
        let lab = Lab::of(one);
        let neighbour = lab.neighbour("ht0");
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
        let acme = proxy(&acme, "acme", way);
        let server = server(&neighbour);
        let (client, to) = (socket(&app, way), way.form(at(BEYOND)));
        client.send_to(b"q", to).unwrap();
        let (_, peer) = acme.recv_from();
        bind(&client, "ht0");
        assert_eq!(errno(&client.send_to(b"q", to)), libc::ECONNREFUSED, "{way:?}");
        assert_silent(&server);
        bind(&client, "");
        client.send_to(b"free", to).unwrap();
        assert_eq!(acme.recv_from(), ("free".into(), peer), "{way:?}: its flow goes on");
    }
}

/// From `lo` it can be reached.
pub(crate) fn lo() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        bind(&client, "lo");
        for n in [10, 30] {
            client.send_to(b"q", way.to(n, 53)).unwrap();
            let (_, peer, flow) = acme.serve();
            assert_eq!(flow.trail().device().unwrap().get(), 1, "{way:?}");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), way.to(n, 53)), "{way:?}");
        }
    }
}
