//! Unconnected sockets: a flow is a socket and a remote.

use crate::scene::{Way, bound, canonical, is_alias, one, proxy, socket, unused, unused_port};
use hoptrail::{Protocol, Provenance};
use hoptrail_engine::event::EventKind;
use hoptrail_testkit::lab::Lab;
use hoptrail_testkit::lab::stage::held;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
use socket2::SockRef;
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// Statements 67 and 70: records and context come with the first datagram of a flow; 16, 21.
pub(crate) fn one_remote() {
    for way in Way::ALL {
        let lab = Lab::new();
        lab.load_with(one(&lab), &[("acme", b"acme/v1")]);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let remote = way.to(10, 53);
        assert_eq!(client.send_to(b"query", remote).unwrap(), 5, "{way:?}");
        let (text, peer, flow) = acme.serve();
        assert_eq!(text, "query");
        assert_eq!(peer, (way.loopback(), client.local().port()).into());
        let context = &flow.context;
        assert_eq!(context.destination(), canonical(remote));
        assert_eq!(context.local(), peer);
        assert_eq!(context.protocol(), Some(Protocol::Udp));
        assert_eq!(context.hop(), 1);
        assert_eq!(context.provenance(), Provenance::Fresh);
        assert_eq!(context.application().pid, app.pid());
        assert_eq!(context.provider_bytes(), b"acme/v1");
        let trail = flow.trail();
        assert_eq!(trail.destination(), canonical(remote));
        assert_eq!(trail.local(), peer);
        let hop = trail.hops().next().unwrap();
        assert_eq!((hop.from, hop.asked, hop.to), (peer, canonical(remote), way.listener("acme")));
        acme.send_to(b"answer", peer).unwrap();
        assert_eq!(client.recv_from(), ("answer".into(), remote), "{way:?}");
    }
}

/// Statements 68 and 76: the flow's later datagrams belong to it without anything being told anew.
pub(crate) fn later_datagrams() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let before = lab.counters().redirected;
        let client = socket(&app, way);
        let remote = way.to(10, 53);
        client.send_to(b"0", remote).unwrap();
        let (_, peer, first) = acme.serve();
        for n in 1..5 {
            client.send_to(n.to_string().as_bytes(), remote).unwrap();
            let (text, again, flow) = acme.serve();
            assert_eq!((text, again), (n.to_string(), peer));
            assert_eq!(flow.blob, first.blob);
        }
        let redirects = lab.events().iter().filter(|e| e.kind == EventKind::Redirected).count();
        assert_eq!(redirects, 1, "{way:?}");
        assert_eq!(lab.counters().redirected, 1 + before, "{way:?}");
    }
}

/// Statement 77: each remote of a socket is its own flow, and replies are not confused.
pub(crate) fn two_remotes() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = unused(&app, way);
        // The last two differ by port alone.
        let remotes = [way.to(10, 53), way.to(30, 53), way.to(30, 54)];
        let mut peers = Vec::new();
        for remote in remotes {
            client.send_to(b"q", remote).unwrap();
            let (_, peer, flow) = acme.serve();
            assert_eq!(flow.context.destination(), canonical(remote), "{way:?}");
            assert!(!peers.contains(&peer), "{way:?}: {peer} is two flows");
            peers.push(peer);
        }
        assert_eq!(peers.iter().map(|p| is_alias(*p)).collect::<Vec<_>>(), [false, true, true]);
        assert!(peers.iter().all(|p| p.port() == client.local().port()));
        for (peer, remote) in peers.iter().zip(remotes).rev() {
            acme.send_to(remote.to_string().as_bytes(), *peer).unwrap();
            assert_eq!(client.recv_from(), (remote.to_string(), remote), "{way:?}");
        }
        for (peer, remote) in peers.iter().zip(remotes) {
            client.send_to(b"again", remote).unwrap();
            assert_eq!(acme.recv_from(), ("again".into(), *peer), "{way:?}");
            assert_eq!(acme.flow(*peer).unwrap().context.destination(), canonical(remote));
        }
    }
}

/// Statement 80: two clients with one source port on different addresses.
pub(crate) fn same_source_port() {
    let lab = Lab::of(one);
    let (acme, app, other) = (lab.actor("acme"), lab.actor("app"), lab.actor("other"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let second = if way == Way::V6 { way.loopback() } else { way.host(20) };
        let port = unused_port();
        let clients =
            [bound(&app, way.to(10, port)), bound(&other, way.form((second, port).into()))];
        let remote = way.to(30, 53);
        let mut peers = Vec::new();
        for client in &clients {
            client.send_to(b"q", remote).unwrap();
            let (_, peer, flow) = acme.serve();
            assert_eq!(flow.context.application().pid, client.actor.pid(), "{way:?}");
            assert_eq!(peer, canonical(client.local()));
            peers.push(peer);
        }
        for (client, peer) in clients.iter().zip(&peers).rev() {
            acme.send_to(peer.to_string().as_bytes(), *peer).unwrap();
            assert_eq!(client.recv_from(), (peer.to_string(), remote), "{way:?}");
        }
    }
}

/// A client with an address of its own: the proxy sees it, and its answers are not redirected.
pub(crate) fn bound_client() {
    let lab = Lab::of(Lab::two);
    let (acme, beta, app) = (lab.actor("acme"), lab.actor("beta"), lab.actor("app"));
    for way in Way::ALL {
        let (acme, beta) = (proxy(&acme, "acme", way), proxy(&beta, "beta", way));
        let host = if way == Way::V6 { 10 } else { 20 };
        let before = lab.counters().redirected;
        let client = bound(&app, way.to(host, unused_port()));
        let remotes = [way.to(30, 53), way.to(40, 53)];
        let mut peers: Vec<SocketAddr> = Vec::new();
        for remote in remotes {
            client.send_to(b"q", remote).unwrap();
            let (_, peer, flow) = acme.serve();
            assert_eq!(flow.context.local(), canonical(client.local()), "{way:?}");
            peers.push(peer);
        }
        assert_eq!(peers[0], canonical(client.local()));
        assert!(is_alias(peers[1]));
        for (peer, remote) in peers.iter().zip(remotes) {
            acme.send_to(b"a", *peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        }
        beta.assert_silent("acme's answers are nobody's flow");
        assert_eq!(lab.counters().redirected, 2 + before);
    }
}

/// A socket that chooses the source of each datagram (`IP_PKTINFO`, `IPV6_PKTINFO`).
pub(crate) fn chosen_source() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = unused(&app, way);
        let source = way.to(10, 0).ip();
        for (n, alias) in [(30, false), (40, true), (30, false)] {
            let remote = way.to(n, 53);
            app.run((client.fd.0, source, remote), send_from).unwrap();
            let (text, peer, flow) = acme.serve();
            assert_eq!(text, "from");
            assert_eq!(is_alias(peer), alias, "{way:?}");
            assert_eq!(flow.context.destination(), canonical(remote));
            let own = canonical((source, client.local().port()).into());
            assert_eq!(flow.context.local(), own, "{way:?}");
            assert!(alias || peer == own, "{way:?}: {peer}");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        }
    }
}

fn send_from((fd, source, to): (i32, IpAddr, SocketAddr)) -> io::Result<()> {
    let v4;
    let v6;
    let message = match source {
        IpAddr::V4(ip) => {
            let ipi_spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            let ipi_addr = libc::in_addr { s_addr: 0 };
            v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(ip) => {
            let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
            v6 = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let text = [IoSlice::new(b"from")];
    let to = SockaddrStorage::from(to);
    sendmsg(held(fd)?.as_raw_fd(), &text, &[message], MsgFlags::empty(), Some(&to))?;
    Ok(())
}

/// Several threads send over one socket to the same remotes at once: each remote is one flow.
pub(crate) fn threads_of_one_socket() {
    const THREADS: usize = 4;
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let remotes: Vec<_> = (0..50).map(|n| way.to(10, 1000 + n)).collect();
        let sending: Vec<_> = (0..THREADS)
            .map(|_| {
                app.begin((client.fd.0, remotes.clone()), |(fd, remotes)| {
                    let socket = held(fd)?;
                    for remote in remotes {
                        let text = remote.port().to_string();
                        SockRef::from(&socket).send_to(text.as_bytes(), &remote.into())?;
                    }
                    Ok(())
                })
            })
            .collect();
        let mut peers = HashMap::new();
        for _ in 0..THREADS * remotes.len() {
            let (port, peer) = acme.recv_from();
            assert_eq!(*peers.entry(peer).or_insert(port.clone()), port, "{way:?}: {peer}");
        }
        sending.into_iter().for_each(|task| task.wait().unwrap());
        assert_eq!(peers.len(), remotes.len(), "{way:?}");
        for (peer, port) in peers {
            let destination = acme.flow(peer).unwrap().context.destination();
            assert_eq!(destination.port().to_string(), port, "{way:?}");
        }
    }
}

/// A proxy that is started again goes on with the flows that there are.
pub(crate) fn proxy_starts_again() {
    let lab = Lab::of(one);
    let app = lab.actor("app");
    for way in Way::ALL {
        let client = socket(&app, way);
        let remotes = [way.to(30, 53), way.to(40, 53)];
        let first = lab.actor("acme");
        let before = {
            let acme = proxy(&first, "acme", way);
            remotes.map(|remote| {
                client.send_to(b"q", remote).unwrap();
                let (_, peer, flow) = acme.serve();
                (peer, flow.blob)
            })
        };
        drop(first);
        let second = lab.actor("acme");
        let acme = proxy(&second, "acme", way);
        for (remote, (peer, blob)) in remotes.into_iter().zip(before) {
            client.send_to(b"q", remote).unwrap();
            let (_, again, flow) = acme.serve();
            assert_eq!((again, flow.blob), (peer, blob), "{way:?}");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), remote), "{way:?}");
        }
    }
}

/// The longest datagram and the shortest.
pub(crate) fn any_length() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        for length in [65_507, 0] {
            let to = (client.fd.0, length, way.to(30, 53));
            let sent = app.run(to, |(fd, length, to)| {
                SockRef::from(&held(fd)?).send_to(&vec![b'x'; length], &to.into())
            });
            assert_eq!(sent.unwrap(), length, "{way:?}");
            let received = acme.actor.run(acme.fd.0, |fd| {
                UdpSocket::from(held(fd)?.try_clone()?).recv_from(&mut vec![0; 70_000])
            });
            assert_eq!(received.unwrap().0, length, "{way:?}");
        }
    }
}

/// A client that asks and is gone: its records are there all the same.
pub(crate) fn client_is_gone() {
    let lab = Lab::of(one);
    let acme = lab.actor("acme");
    for way in Way::ALL {
        let mut app = lab.actor("app");
        let acme = proxy(&acme, "acme", way);
        let pid = app.pid();
        socket(&app, way).send_to(b"last words", way.to(10, 514)).unwrap();
        app.kill();
        let (text, peer, flow) = acme.serve();
        assert_eq!(text, "last words");
        assert_eq!(flow.context.application().pid, pid);
        assert_eq!(flow.context.destination(), canonical(way.to(10, 514)));
        // Nobody is there to hear it.
        acme.send_to(b"too late", peer).unwrap();
    }
}

/// A port that one socket leaves to the next: a proxy that keeps what it knows of a peer must not take
/// the second for the first.
pub(crate) fn port_used_again() {
    let lab = Lab::of(one);
    let (acme, app) = (lab.actor("acme"), lab.actor("app"));
    for way in Way::ALL {
        let acme = proxy(&acme, "acme", way);
        let port = unused_port();
        let mut peers = Vec::new();
        for n in [30, 40, 50] {
            let client = bound(&app, way.to(10, port));
            client.send_to(b"q", way.to(n, 53)).unwrap();
            let (_, peer, flow) = acme.serve();
            assert_eq!(flow.context.destination(), canonical(way.to(n, 53)));
            assert!(!peers.contains(&peer), "{way:?}: {peer} is two flows");
            acme.send_to(b"a", peer).unwrap();
            assert_eq!(client.recv_from(), ("a".into(), way.to(n, 53)), "{way:?}");
            peers.push(peer);
        }
    }
}
