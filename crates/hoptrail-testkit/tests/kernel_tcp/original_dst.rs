//! The original destination for proxies that know nothing of records.

use crate::scene::{Scene, errno};
use hoptrail_core::abi::SO_ORIGINAL_DST;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Fd, Lab, PORT, V6, at, listener, option::Probe, stage};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

const IP: i32 = libc::IPPROTO_IP;
const IPV6: i32 = libc::IPPROTO_IPV6;

fn v4(probe: Probe) -> SocketAddr {
    let bytes = probe.value().unwrap();
    assert_eq!(bytes.len(), 16);
    assert_eq!(u16::from_ne_bytes([bytes[0], bytes[1]]), libc::AF_INET as u16);
    assert!(bytes[8..].iter().all(|&b| b == 0));
    let ip: [u8; 4] = bytes[4..8].try_into().unwrap();
    (ip, u16::from_be_bytes([bytes[2], bytes[3]])).into()
}

fn v6(probe: Probe) -> SocketAddr {
    let bytes = probe.value().unwrap();
    assert_eq!(bytes.len(), 28);
    assert_eq!(u16::from_ne_bytes([bytes[0], bytes[1]]), libc::AF_INET6 as u16);
    let ip: [u8; 16] = bytes[8..24].try_into().unwrap();
    (ip, u16::from_be_bytes([bytes[2], bytes[3]])).into()
}

/// IPv4 and the mapped form of it.
pub(crate) fn of_an_ipv4_destination() {
    let s = Scene::new();
    let accepted = s.connect().accepted;
    let probe = |level, room| s.acme.probe(accepted, level, SO_ORIGINAL_DST, room);
    for room in [16, 28, 128, 4096] {
        assert_eq!(v4(probe(IP, room)), s.origin.at());
        assert!(probe(IP, room).untouched_from(16));
    }
    for room in [28, 32, 128] {
        assert_eq!(v6(probe(IPV6, room)), at("[::ffff:192.0.2.10]:80"));
    }
    for (level, size) in [(IP, 16), (IPV6, 28)] {
        for room in 0..size {
            let short = probe(level, room);
            assert_eq!(short.errno, Some(libc::EINVAL), "level {level}, room for {room}");
            assert!(short.untouched_from(0), "level {level}, room for {room}");
        }
    }
}

/// IPv6, for which there is no IPv4 form.
pub(crate) fn of_an_ipv6_destination() {
    let s = Scene::new();
    let six = s.acme.listen(listener("acme", false), 8).unwrap();
    let to = SocketAddr::from((V6, PORT));
    let _client = s.app.dial(to).unwrap();
    let (accepted, _) = s.acme.accept(six).unwrap();
    assert_eq!(v6(s.acme.probe(accepted, IPV6, SO_ORIGINAL_DST, 28)), to);
    assert!(s.acme.probe(accepted, IP, SO_ORIGINAL_DST, 28).errno.is_some());
}

/// One dual-stack listener serves both families, as many proxies do.
pub(crate) fn on_a_dual_stack_listener() {
    let lab = Lab::of(|lab| {
        let mut acme = lab.provider("acme", 200);
        let port = acme.listen_v4.unwrap().port;
        acme.listen_v6 = Some(SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)).into());
        vec![acme]
    });
    let (app, acme) = (lab.actor("app"), lab.actor("acme"));
    let listening = acme.run(listener("acme", true).port(), |port| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
        socket.set_only_v6(false)?;
        socket.bind(&SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)).into())?;
        socket.listen(8)?;
        Ok(Fd(stage::keep(socket)))
    });
    let listening = listening.unwrap();
    for to in ["192.0.2.10:80", "[::ffff:192.0.2.10]:80"].map(at) {
        let client = app.dial(to).unwrap();
        let (accepted, _) = acme.accept(listening).unwrap();
        assert_eq!(v4(acme.probe(accepted, IP, SO_ORIGINAL_DST, 16)), at("192.0.2.10:80"));
        let mapped = v6(acme.probe(accepted, IPV6, SO_ORIGINAL_DST, 28));
        assert_eq!(mapped, at("[::ffff:192.0.2.10]:80"));
        acme.records(accepted).unwrap();
        assert_eq!(app.peer(client).unwrap(), to);
    }
    let to = SocketAddr::from((V6, PORT));
    let _client = app.dial(to).unwrap();
    let (accepted, _) = acme.accept(listening).unwrap();
    assert_eq!(v6(acme.probe(accepted, IPV6, SO_ORIGINAL_DST, 28)), to);
}

/// Where nothing was redirected the kernel's own answer stands.
pub(crate) fn of_connections_that_were_not_redirected() {
    let s = Scene::new();
    let outsider = s.lab.outsider();
    let kernels = |level| {
        let fd = outsider.socket(s.origin.at(), Kind::Tcp).unwrap();
        outsider.probe(fd, level, SO_ORIGINAL_DST, 28).errno
    };
    let _direct = s.app.dial(listener("acme", true)).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    let fresh = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    for socket in [accepted, fresh, s.listener] {
        let probe = s.acme.probe(socket, IP, SO_ORIGINAL_DST, 28);
        let known = [libc::ENOPROTOOPT, libc::ENOENT, libc::ENOTCONN];
        assert!(probe.errno.is_none_or(|e| known.contains(&e)), "{probe:?}");
        if probe.errno.is_none() {
            assert_eq!(v4(probe), listener("acme", true));
        }
    }
    assert_eq!(s.acme.probe(fresh, IP, SO_ORIGINAL_DST, 28).errno, kernels(IP));
    // Other options of the same levels are none of ours.
    let ttl = s.acme.probe(accepted, IP, libc::IP_TTL, 4);
    assert_eq!((ttl.errno, ttl.length), (None, 4));
    assert_eq!(errno(s.acme.set_at(accepted, IP, SO_ORIGINAL_DST, &[0; 16])), libc::ENOPROTOOPT);
}
