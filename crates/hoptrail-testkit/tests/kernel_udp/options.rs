//! The socket options themselves: peers, sizes, errors, and blobs of any bytes.

use crate::scene::{Way, bound, canonical, errno, is_alias, one, proxy, sockaddr, socket};
use hoptrail_core::abi;
use hoptrail_core::compile::Members;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Lab, Person, listener, option};
use std::io;
use std::os::fd::AsFd;

const IP: i32 = libc::IPPROTO_IP;
const IPV6: i32 = libc::IPPROTO_IPV6;

/// `SO_ORIGINAL_DST` after the peer is selected, in both its forms.
pub(crate) fn original_destination() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        for n in [30, 40] {
            client.send_to(b"q", way.to(n, 53)).unwrap();
            let (_, peer) = acme.recv_from();
            let unselected = acme.actor.probe(acme.fd, IPV6, abi::SO_ORIGINAL_DST, 28);
            assert!(unselected.errno.is_some(), "{way:?}: an answer about no peer");
            acme.select(peer).unwrap();
            let at = canonical(way.to(n, 53));
            let mapped = if at.is_ipv4() { Way::Mapped.to(n, 53) } else { at };
            let v6 = acme.actor.probe(acme.fd, IPV6, abi::SO_ORIGINAL_DST, 28);
            assert_eq!(v6.value().unwrap(), sockaddr(mapped), "{way:?}");
            let v4 = acme.actor.probe(acme.fd, IP, abi::SO_ORIGINAL_DST, 64);
            if at.is_ipv4() {
                assert!(v4.untouched_from(16));
                assert_eq!(v4.value().unwrap(), sockaddr(at), "{way:?}");
            } else {
                assert!(matches!(v4.errno, Some(libc::ENOPROTOOPT | libc::ENOENT)), "{v4:?}");
            }
            let short = acme.actor.probe(acme.fd, IPV6, abi::SO_ORIGINAL_DST, 27);
            assert_eq!(short.errno, Some(libc::EINVAL));
            acme.deselect().unwrap();
        }
    }
}

/// Whom do you mean? Never selected, selected and cleared, unknown.
pub(crate) fn without_a_peer() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let options = abi::REDIRECT_RECORDS..=abi::REDIRECT_CONTEXT_SIZE;
        let all = |expected: i32, when: &str| {
            for option in options.clone() {
                let probe = acme.actor.probe(acme.fd, abi::SOL_HOPTRAIL, option, 4096);
                assert_eq!(probe.errno, Some(expected), "{way:?} {when} {option}");
                assert!(probe.untouched_from(0), "{when} {option}");
            }
        };
        all(libc::ENODATA, "never used");
        socket(&app, way).send_to(b"q", way.to(30, 53)).unwrap();
        let (_, peer) = acme.recv_from();
        acme.flow(peer).unwrap();
        all(libc::ENOTCONN, "cleared");
        let mut stranger = peer;
        stranger.set_port(peer.port() ^ 1);
        acme.select(stranger).unwrap();
        all(libc::ENODATA, "another port");
        stranger.set_port(peer.port());
        stranger.set_ip(way.host(20));
        acme.select(stranger).unwrap();
        all(libc::ENODATA, "another address");
        acme.select(peer).unwrap();
        assert!(acme.records().is_ok());
        acme.deselect().unwrap();
        all(libc::ENOTCONN, "cleared again");
    }
}

/// The choice is the calling thread's, and the socket's.
pub(crate) fn selection_is_per_thread_and_socket() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let v4 = proxy(&acme, "acme", Way::V4);
    let v6 = proxy(&acme, "acme", Way::V6);
    let client = socket(&app, Way::V4);
    let remotes = [Way::V4.to(30, 53), Way::V4.to(40, 53)];
    let peers = remotes.map(|remote| {
        client.send_to(b"q", remote).unwrap();
        v4.recv_from().1
    });
    v4.select(peers[0]).unwrap();
    let mine = v4.records().unwrap();
    v6.deselect().unwrap();
    assert_eq!(errno(&v6.records()), libc::ENOTCONN, "another socket");
    let theirs = acme.begin((v4.fd.0, sockaddr(peers[1])), |(fd, peer)| {
        let before = get(fd)?;
        option::set(held(fd)?.as_fd(), abi::SOL_HOPTRAIL, abi::REDIRECT_PEER, &peer)?;
        Ok((before, get(fd)?))
    });
    let (before, theirs) = theirs.wait().unwrap();
    assert_eq!(before, Err(libc::ENOTCONN), "another thread");
    assert_ne!(theirs.unwrap(), mine);
    assert_eq!(v4.records().unwrap(), mine, "another thread's choice is not mine");
}

/// A proxy that takes both families with one socket gives peers in their IPv4-mapped form.
pub(crate) fn mapped_peers() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let acme = bound(&acme, Way::Mapped.form(listener("acme", true)));
    let client = socket(&app, Way::V4);
    for n in [30, 40] {
        client.send_to(b"q", Way::V4.to(n, 53)).unwrap();
        let (_, peer, flow) = acme.serve();
        assert!(peer.is_ipv6());
        assert_eq!(is_alias(peer), n == 40);
        assert_eq!(flow.context.destination(), Way::V4.to(n, 53));
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), Way::V4.to(n, 53)));
    }
}

/// As statement 73: no part of a record. Statements 3 to 5 and 17 of queries, for UDP.
pub(crate) fn sizes() {
    let lab = Lab::new();
    lab.load_with(one(&lab), &[("acme", b"acme/v1")]);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let acme = proxy(&acme, "acme", Way::V4);
    socket(&app, Way::V4).send_to(b"q", Way::V4.to(30, 53)).unwrap();
    acme.select(acme.recv_from().1).unwrap();
    for (option, size) in [
        (abi::REDIRECT_RECORDS, abi::REDIRECT_RECORDS_SIZE),
        (abi::REDIRECT_CONTEXT, abi::REDIRECT_CONTEXT_SIZE),
    ] {
        let value = acme.actor.get(acme.fd, option).unwrap();
        let size = acme.actor.get(acme.fd, size).unwrap();
        assert_eq!(size, (value.len() as u32).to_ne_bytes());
        for room in [0, 1, value.len() - 1] {
            let short = acme.actor.probe(acme.fd, abi::SOL_HOPTRAIL, option, room);
            assert_eq!(short.errno, Some(libc::ERANGE), "{option} {room}");
            assert!(short.untouched_from(0), "{option} {room}");
        }
        let exact = acme.actor.probe(acme.fd, abi::SOL_HOPTRAIL, option, value.len());
        assert_eq!(exact.value().unwrap(), value);
        let large = acme.actor.probe(acme.fd, abi::SOL_HOPTRAIL, option, 4096);
        assert!(large.untouched_from(value.len()));
    }
}

/// SET of anything that this kernel did not make is refused, and the socket keeps what it had;
/// statements 32 and 34.
pub(crate) fn set_of_any_bytes() {
    let lab = Lab::of(Lab::two);
    let (acme, beta, app) = (lab.actor("acme"), lab.actor("beta"), lab.actor("app"));
    let (acme, beta) = (proxy(&acme, "acme", Way::V4), proxy(&beta, "beta", Way::V4));
    let remote = Way::V4.to(30, 53);
    socket(&app, Way::V4).send_to(b"q", remote).unwrap();
    let (_, _, flow) = acme.serve();
    let up = socket(acme.actor, Way::V4);
    for all in [true, false] {
        if !all {
            up.select(remote).unwrap();
        }
        up.set_records(&flow.blob).unwrap();
        for bytes in forgeries(&flow.blob) {
            assert_eq!(errno(&up.set_records(&bytes)), libc::EINVAL, "{} bytes", bytes.len());
        }
    }
    up.deselect().unwrap();
    assert_eq!(up.records().unwrap(), flow.blob, "what was set before");
    up.send_to(b"q", remote).unwrap();
    let (_, _, seen) = beta.serve();
    assert_eq!(seen.trail().id(), flow.trail().id());
    assert_eq!(seen.trail().hops().len(), 2);
}

fn forgeries(blob: &[u8]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        [0, 1, 8, 151, 239, 241, 1560, 1561, 4096, 5000].map(|n| vec![0xff; n]).to_vec();
    all.push(Vec::new());
    all.push(blob[..blob.len() - 1].to_vec());
    all.push([blob, &[0]].concat());
    all.push([blob, &[0; 88]].concat());
    for at in (0..blob.len()).step_by(7) {
        let mut flipped = blob.to_vec();
        flipped[at] ^= 1;
        all.push(flipped);
    }
    all
}

/// Only the provider that made the last hop may SET its records; 28.
pub(crate) fn set_by_others() {
    let lab = Lab::of(|lab| {
        let mut two = lab.two();
        two[1].members = Members { users: vec![4321], ..Members::default() };
        two
    });
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let beta = lab.person(&Person { cgroup: "beta", uid: Some(4321), exe: None });
    let acme = proxy(&acme, "acme", Way::V4);
    let _beta = proxy(&beta, "beta", Way::V4);
    socket(&app, Way::V4).send_to(b"q", Way::V4.to(30, 53)).unwrap();
    let (_, _, flow) = acme.serve();
    for other in [&app, &beta] {
        let theirs = socket(other, Way::V4);
        assert_eq!(errno(&theirs.set_records(&flow.blob)), libc::EACCES);
        assert_eq!(errno(&theirs.records()), libc::ENODATA);
        theirs.select(Way::V4.to(30, 53)).unwrap();
        assert_eq!(errno(&theirs.set_records(&flow.blob)), libc::EACCES);
    }
    let up = socket(acme.actor, Way::V4);
    up.set_records(&flow.blob).unwrap();
}

/// REDIRECT_PEER of any bytes.
pub(crate) fn peer_of_any_bytes() {
    let lab = Lab::of(one);
    let acme = lab.actor("acme");
    let (v4, v6) = (sockaddr(Way::V4.to(10, 53)), sockaddr(Way::V6.to(10, 53)));
    for way in [Way::V4, Way::V6] {
        let socket = socket(&acme, way);
        let set = |bytes: &[u8]| errno(&acme.set(socket.fd, abi::REDIRECT_PEER, bytes));
        for (address, least) in [(&v4, 16), (&v6, 24)] {
            for length in 1..least {
                assert_eq!(set(&address[..length]), libc::EINVAL, "{length} of {}", address.len());
            }
            assert_eq!(set(address), 0);
        }
        for family in [0, 1, 3, 16, 255, u16::MAX] {
            let mut other = v6.clone();
            other[..2].copy_from_slice(&family.to_ne_bytes());
            assert_eq!(set(&other), libc::EINVAL, "family {family}");
        }
        assert_eq!(errno(&socket.records()), libc::ENODATA, "the last good choice stands");
        assert_eq!(set(&[]), 0);
        assert_eq!(errno(&socket.records()), libc::ENOTCONN);
    }
    let tcp = acme.socket(Way::V4.to(10, 0), Kind::Tcp).unwrap();
    let refused = errno(&acme.set(tcp, abi::REDIRECT_PEER, &v4));
    assert!([libc::EOPNOTSUPP, libc::ENOPROTOOPT].contains(&refused), "TCP: {refused}");
}

/// The version can be asked of any UDP socket.
pub(crate) fn version() {
    let lab = Lab::new();
    let generation = lab.load(one(&lab));
    let app = lab.actor("app");
    for way in Way::ALL {
        let socket = socket(&app, way);
        let version = app.get(socket.fd, abi::REDIRECT_VERSION).unwrap();
        assert_eq!(version[..2], 1u16.to_ne_bytes());
        assert_eq!(version[8..], generation.to_ne_bytes());
    }
}

/// What the client asks about its own socket has no answer: it is not a proxy's.
pub(crate) fn client_asks() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    let acme = proxy(&acme, "acme", Way::V4);
    let client = socket(&app, Way::V4);
    client.connect(Way::V4.to(30, 53)).unwrap();
    client.send(b"q").unwrap();
    acme.recv_from();
    let refused = errno(&client.records());
    assert!([libc::ENOTCONN, libc::ENODATA].contains(&refused), "{refused}");
    client.select(Way::V4.to(30, 53)).unwrap();
    assert_eq!(errno(&client.records()), libc::ENODATA);
}

/// In the actor: the records, or the errno.
fn get(fd: i32) -> io::Result<Result<Vec<u8>, i32>> {
    let probe = option::get(held(fd)?.as_fd(), abi::SOL_HOPTRAIL, abi::REDIRECT_RECORDS, 4096);
    Ok(probe.value().map_err(|e| e.raw_os_error().unwrap_or(-1)))
}
