//! More flows than the kernel remembers.

use crate::scene::{Udp, Way, is_alias, one, proxy, socket};
use hoptrail_testkit::lab::Lab;
use hoptrail_testkit::lab::stage::held;
use socket2::SockRef;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Remotes of one socket: more than twice the flows that are remembered (8,192).
const REMOTES: u32 = 20_000;
/// Datagrams that fit into a socket's buffer.
const BATCH: u32 = 100;

/// 198.18.0.0/15 and 2001:2::/48 are for such tests.
fn remote(v6: bool, n: u32) -> SocketAddr {
    if v6 {
        let n = n.to_be_bytes();
        let low = |i: usize| u16::from_be_bytes([n[i], n[i + 1]]);
        return (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, low(0), low(2)), 53).into();
    }
    (Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n), 53).into()
}

/// One socket sends to 20,000 remotes. No two have the same peer; the newest have their own records,
/// and answers to them come back from where they should.
pub(crate) fn twenty_thousand_remotes() {
    for way in [Way::V4, Way::V6] {
        let v6 = way == Way::V6;
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        let mut peers: HashMap<SocketAddr, u32> = HashMap::new();
        for begin in (0..REMOTES).step_by(BATCH as usize) {
            for (n, peer) in batch(&client, &acme, v6, begin) {
                if let Some(before) = peers.insert(peer, n) {
                    panic!("{way:?}: {peer} is remote {before} and remote {n}");
                }
            }
        }
        assert_eq!(peers.len(), REMOTES as usize);
        let mut newest: Vec<_> = peers.iter().filter(|(_, n)| **n >= REMOTES - 500).collect();
        newest.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        for (peer, n) in newest {
            let flow = acme.flow(*peer).unwrap_or_else(|e| panic!("{way:?}: {n}, {peer}: {e}"));
            assert_eq!(flow.context.destination(), remote(v6, *n));
            acme.send_to(n.to_string().as_bytes(), *peer).unwrap();
            assert_eq!(client.recv_from(), (n.to_string(), remote(v6, *n)), "{way:?}");
        }
        let counters = lab.counters();
        assert_eq!((counters.redirected, counters.link_failed), (u64::from(REMOTES), 0));
    }
}

/// A flow that is in use outlives any number of others: its datagrams reach the same peer, which has
/// its records and gets answers through. Nothing need come back meanwhile, as with syslog.
pub(crate) fn busy_flow_among_many() {
    for (way, second) in [(Way::V4, false), (Way::V6, false), (Way::V4, true), (Way::V6, true)] {
        let v6 = way == Way::V6;
        let lab = Lab::of(one);
        let (acme, app) = (lab.actor("acme"), lab.actor("app"));
        let acme = proxy(&acme, "acme", way);
        let client = socket(&app, way);
        if second {
            // The busy flow is one with a stand-in address.
            client.send_to(b"first", way.to(30, 53)).unwrap();
            acme.recv_from();
        }
        let busy = way.to(10, 514);
        client.send_to(b"log", busy).unwrap();
        let (_, peer, first) = acme.serve();
        assert_eq!(is_alias(peer), second);
        for begin in (0..REMOTES).step_by(BATCH as usize) {
            for (n, other) in batch(&client, &acme, v6, begin) {
                assert_ne!(other, peer, "{way:?} {second}: the busy flow's peer is remote {n}");
            }
            client.send_to(b"log", busy).unwrap();
            let (text, from) = acme.recv_from();
            assert_eq!((text.as_str(), from), ("log", peer), "{way:?} {second}: after {begin}");
        }
        let flow = acme.flow(peer);
        let flow =
            flow.unwrap_or_else(|e| panic!("{way:?} {second}: the busy flow's records: {e}"));
        assert_eq!(flow.blob, first.blob);
        acme.send_to(b"a", peer).unwrap();
        assert_eq!(client.recv_from(), ("a".into(), busy), "{way:?} {second}");
    }
}

/// The client sends a batch of numbers, each to its remote; what the proxy gets of it.
fn batch(client: &Udp<'_>, acme: &Udp<'_>, v6: bool, begin: u32) -> Vec<(u32, SocketAddr)> {
    client.actor.run((client.fd.0, v6, begin), send).unwrap();
    acme.actor.run(acme.fd.0, receive).unwrap()
}

fn send((fd, v6, begin): (i32, bool, u32)) -> io::Result<()> {
    let socket = held(fd)?;
    for n in begin..begin + BATCH {
        SockRef::from(&socket).send_to(&n.to_ne_bytes(), &remote(v6, n).into())?;
    }
    Ok(())
}

fn receive(fd: i32) -> io::Result<Vec<(u32, SocketAddr)>> {
    let socket = UdpSocket::from(held(fd)?.try_clone()?);
    let mut number = [0; 4];
    (0..BATCH)
        .map(|_| {
            let (_, peer) = socket.recv_from(&mut number)?;
            Ok((u32::from_ne_bytes(number), peer))
        })
        .collect()
}
