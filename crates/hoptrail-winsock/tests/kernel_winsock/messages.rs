//! UDP by control messages (statements 67 to 80).

use super::scene::Started;
use super::winsock::{
    WSACloseEvent, WSACreateEvent, WSAGetLastError, WSAGetOverlappedResult, WSARecvMsg, WSASendMsg,
    hoptrail_getsockopt, hoptrail_recv, hoptrail_setsockopt,
};
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Actor, Fd, Lab, PORT, V4, V4_OTHER, V6, at, eventually, listener};
use hoptrail_winsock::codes;
use hoptrail_winsock::types::{WSABUF, WSAMSG};
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, UdpSocket};
use std::ptr::null_mut;
use std::time::Duration;

const RECORDS: (i32, i32) = (libc::IPPROTO_IP, codes::IP_WFP_REDIRECT_RECORDS);
const CONTEXT: (i32, i32) = (libc::IPPROTO_IP, codes::IP_WFP_REDIRECT_CONTEXT);
const RECORDS_V6: (i32, i32) = (libc::IPPROTO_IPV6, codes::IPV6_WFP_REDIRECT_RECORDS);
const CONTEXT_V6: (i32, i32) = (libc::IPPROTO_IPV6, codes::IPV6_WFP_REDIRECT_CONTEXT);
/// More than records and context need.
const ROOM: usize = 2048;

struct Scene {
    app: Actor,
    acme: Actor,
    beta: Actor,
    lab: Lab,
}

/// What came with a datagram.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Got {
    error: i32,
    text: String,
    /// Level, type, data.
    messages: Vec<(i32, i32, Vec<u8>)>,
    flags: i32,
    name: Vec<u8>,
}

impl Scene {
    /// Acme redirects everything.
    fn new() -> Self {
        Self::on(Lab::of(|lab| vec![lab.provider("acme", 200)]))
    }

    /// Acme and beta do, acme first.
    fn two() -> Self {
        Self::on(Lab::of(Lab::two))
    }

    fn on(lab: Lab) -> Self {
        Self { app: lab.actor("app"), acme: lab.actor("acme"), beta: lab.actor("beta"), lab }
    }

    /// Acme's socket with switches on.
    fn proxy(&self, on: SocketAddr, switches: &[(i32, i32)]) -> Fd {
        socket_of(&self.acme, on, switches)
    }
}

fn socket_of(actor: &Actor, on: SocketAddr, switches: &[(i32, i32)]) -> Fd {
    let socket = actor.socket(on, Kind::Udp).unwrap();
    actor.bind(socket, on).unwrap();
    for switch in switches {
        assert_eq!(set_switch(actor, socket, *switch, 1), 0);
    }
    socket
}

fn set_switch(actor: &Actor, socket: Fd, switch: (i32, i32), on: i32) -> i32 {
    actor
        .run((socket.0, switch, on), |(fd, (level, number), on)| {
            let _started = Started::new();
            let value = (&raw const on).cast();
            Ok(error(hoptrail_setsockopt(fd as usize, level, number, value, 4)))
        })
        .unwrap()
}

fn error(result: i32) -> i32 {
    if result == 0 { 0 } else { WSAGetLastError() }
}

/// The next datagram with so much room for control messages.
fn receive(actor: &Actor, socket: Fd, room: usize) -> Got {
    let readable = |fd| {
        let socket = UdpSocket::from(held(fd)?.try_clone()?);
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(())
    };
    actor.run(socket.0, readable).unwrap();
    actor.run((socket.0, room), |(fd, room)| Ok(receive_here(fd, room, 0))).unwrap()
}

fn receive_here(fd: i32, room: usize, flags: u32) -> Got {
    let _started = Started::new();
    let (mut bytes, mut name, mut control) = ([0u8; 64], [0u8; 28], vec![0u8; room]);
    let mut buffer = buffer(&mut bytes);
    let mut message = message(&mut buffer, &mut name, &mut control);
    message.dwFlags = flags;
    let mut count = 0;
    let got = WSARecvMsg(fd as usize, &raw mut message, &raw mut count, null_mut(), None);
    let error = error(got);
    control.truncate(message.Control.len as usize);
    Got {
        error,
        text: String::from_utf8_lossy(&bytes[..count as usize]).into_owned(),
        messages: if error == 0 { parse(&control) } else { Vec::new() },
        flags: message.dwFlags as i32,
        name: name[..(message.namelen as usize).min(28)].to_vec(),
    }
}

fn buffer(bytes: &mut [u8]) -> WSABUF {
    WSABUF { len: bytes.len() as u32, buf: bytes.as_mut_ptr() as usize, ..WSABUF::default() }
}

fn message(buffers: &mut WSABUF, name: &mut [u8], control: &mut [u8]) -> WSAMSG {
    WSAMSG {
        name: if name.is_empty() { 0 } else { name.as_mut_ptr() as usize },
        namelen: name.len() as i32,
        lpBuffers: (&raw mut *buffers) as usize,
        dwBufferCount: 1,
        Control: buffer(control),
        ..WSAMSG::default()
    }
}

fn parse(mut control: &[u8]) -> Vec<(i32, i32, Vec<u8>)> {
    let mut all = Vec::new();
    while control.len() >= 16 {
        let length = usize::from_ne_bytes(control[..8].try_into().unwrap());
        let number = |at: usize| i32::from_ne_bytes(control[at..at + 4].try_into().unwrap());
        all.push((number(8), number(12), control[16..length].to_vec()));
        control = &control[length.next_multiple_of(8).min(control.len())..];
    }
    all
}

/// Sends a datagram to `to` (or the peer) with control messages as they were received.
fn send(actor: &Actor, socket: Fd, to: Option<SocketAddr>, control: &[(i32, i32, Vec<u8>)]) -> i32 {
    actor
        .run((socket.0, to, control.to_vec()), |(fd, to, control)| {
            let _started = Started::new();
            let mut control: Vec<u8> = control
                .iter()
                .flat_map(|(level, kind, data)| bytes_of(*level, *kind, data))
                .collect();
            let mut bytes = *b"carried on";
            let mut buffer = buffer(&mut bytes);
            let mut name = to.map(sockaddr).unwrap_or_default();
            let mut message = message(&mut buffer, &mut name, &mut control);
            let mut count = 0;
            let at = &raw mut message;
            Ok(error(WSASendMsg(fd as usize, at, 0, &raw mut count, null_mut(), None)))
        })
        .unwrap()
}

fn bytes_of(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn sockaddr(at: SocketAddr) -> Vec<u8> {
    let address = socket2::SockAddr::from(at);
    match at {
        SocketAddr::V4(v4) => {
            let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.resize(address.len() as usize, 0);
            bytes
        }
        SocketAddr::V6(v6) => {
            let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(v6.ip().octets());
            bytes.resize(address.len() as usize, 0);
            bytes
        }
    }
}

fn destination(records: &[u8]) -> SocketAddr {
    hoptrail::Records::from_bytes(records).trail().unwrap().destination()
}

/// Statements 67 to 70.
pub(crate) fn records_and_context_come_with_the_first_datagram() {
    let scene = Scene::new();
    let to = (V4, PORT).into();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS, CONTEXT]);
    let app = scene.app.socket(to, Kind::Udp).unwrap();
    for n in 0..3 {
        scene.app.send_to(app, b"hello", to).unwrap();
        let peeked =
            scene.acme.run(proxy.0, |fd| Ok(receive_here(fd, ROOM, libc::MSG_PEEK as u32)));
        let got = receive(&scene.acme, proxy, ROOM);
        assert_eq!((got.error, &*got.text, got.flags), (0, "hello", 0));
        assert_eq!(peeked.unwrap(), got, "what is looked at only is told again");
        if n > 0 {
            assert_eq!(got.messages, []);
            continue;
        }
        let [(0, 60, records), (0, 70, context)] = &got.messages[..] else { panic!("{got:?}") };
        assert_eq!(destination(records), to);
        assert_eq!(hoptrail::Context::parse(context).unwrap().destination(), to);
    }
    for switch in [RECORDS, CONTEXT] {
        assert_eq!(set_switch(&scene.acme, proxy, switch, 0), 0);
    }
    let other = scene.app.socket(to, Kind::Udp).unwrap();
    scene.app.send_to(other, b"silent", to).unwrap();
    assert_eq!(receive(&scene.acme, proxy, ROOM).messages, []);
}

/// Statements 75 and 76.
pub(crate) fn records_are_carried_on() {
    let scene = Scene::two();
    let to = (V4, PORT).into();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS, CONTEXT]);
    let next = socket_of(&scene.beta, listener("beta", true), &[RECORDS]);
    let app = scene.app.socket(to, Kind::Udp).unwrap();
    scene.app.send_to(app, b"hello", to).unwrap();
    let got = receive(&scene.acme, proxy, ROOM);
    let upstream = scene.acme.socket(to, Kind::Udp).unwrap();
    assert_eq!(send(&scene.acme, upstream, Some(to), &got.messages), 0);
    let at_beta = receive(&scene.beta, next, ROOM);
    assert_eq!(at_beta.text, "carried on");
    let trail = hoptrail::Records::from_bytes(&at_beta.messages[0].2).trail().unwrap();
    assert_eq!(trail.hops().len(), 2);
    assert_eq!(trail.application().pid, scene.app.pid());
    assert_eq!(send(&scene.acme, upstream, Some(to), &[]), 0);
    assert_eq!(receive(&scene.beta, next, ROOM).messages, []);
    // The application may not use them.
    assert_eq!(send(&scene.app, app, Some(to), &got.messages), codes::WSAEACCES);
    let half = (0, 60, got.messages[0].2[..100].to_vec());
    assert_eq!(send(&scene.acme, upstream, Some(to), &[half]), codes::WSAEINVAL);
}

pub(crate) fn a_connected_socket_carries_on_too() {
    let scene = Scene::two();
    let to = (V4, PORT).into();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS]);
    let next = socket_of(&scene.beta, listener("beta", true), &[RECORDS]);
    let app = scene.app.socket(to, Kind::Udp).unwrap();
    scene.app.send_to(app, b"hello", to).unwrap();
    let got = receive(&scene.acme, proxy, ROOM);
    let upstream = scene.acme.socket(to, Kind::Udp).unwrap();
    scene.acme.connect(upstream, to).unwrap();
    assert_eq!(send(&scene.acme, upstream, None, &got.messages), 0);
    let at_beta = receive(&scene.beta, next, ROOM);
    let trail = hoptrail::Records::from_bytes(&at_beta.messages[0].2).trail().unwrap();
    assert_eq!((trail.hops().len(), trail.application().pid), (2, scene.app.pid()));
    assert_eq!(trail.hops().nth(1).unwrap().provenance, hoptrail::Provenance::Declared);
    let alone = scene.acme.socket(to, Kind::Udp).unwrap();
    assert_eq!(send(&scene.acme, alone, None, &got.messages), codes::WSAENOTCONN);
}

/// Statements 77 and 80.
pub(crate) fn two_remotes_are_two_flows() {
    let scene = Scene::new();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS]);
    let app = scene.app.socket((V4, PORT).into(), Kind::Udp).unwrap();
    let mut peers = Vec::new();
    for to in [SocketAddr::from((V4, PORT)), (V4_OTHER, PORT).into()] {
        scene.app.send_to(app, b"hello", to).unwrap();
        let got = receive(&scene.acme, proxy, ROOM);
        assert_eq!(destination(&got.messages[0].2), to);
        peers.push(got.name);
    }
    assert_ne!(peers[0], peers[1]);
}

/// Statement 73.
pub(crate) fn truncation_is_flagged() {
    let scene = Scene::new();
    let to = (V4, PORT).into();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS]);
    for room in [0, 15, 16, 200] {
        let app = scene.app.socket(to, Kind::Udp).unwrap();
        scene.app.send_to(app, b"hello", to).unwrap();
        let got = receive(&scene.acme, proxy, room);
        assert_eq!((got.error, &*got.text, got.flags), (0, "hello", libc::MSG_CTRUNC), "{room}");
        assert_eq!(got.messages, []);
    }
    scene.app.send_to(scene.app.socket(to, Kind::Udp).unwrap(), &[b'x'; 100], to).unwrap();
    let got = receive(&scene.acme, proxy, ROOM);
    assert_eq!((got.error, got.flags), (codes::WSAEMSGSIZE, libc::MSG_TRUNC));
}

/// Statements 71 and 72.
pub(crate) fn a_dual_stack_socket_takes_both() {
    let scene = Scene::new();
    let both = [RECORDS, CONTEXT, RECORDS_V6, CONTEXT_V6];
    let v6 = scene.proxy(listener("acme", false), &both);
    let to = (V6, PORT).into();
    let app = scene.app.socket(to, Kind::Udp).unwrap();
    scene.app.send_to(app, b"hello", to).unwrap();
    let kinds = |got: &Got| got.messages.iter().map(|m| (m.0, m.1)).collect::<Vec<_>>();
    assert_eq!(kinds(&receive(&scene.acme, v6, ROOM)), [(41, 60), (41, 70)]);
    // IPv4 at a socket of IPv6.
    let mapped = at(&format!("[::ffff:127.0.0.1]:{}", listener("acme", true).port()));
    for (switches, level) in [(&both[..], 0), (&both[2..], 41)] {
        let dual = scene.proxy(mapped, switches);
        let to = (V4, PORT).into();
        let app = scene.app.socket(to, Kind::Udp).unwrap();
        scene.app.send_to(app, b"hello", to).unwrap();
        assert_eq!(kinds(&receive(&scene.acme, dual, ROOM)), [(level, 60), (level, 70)]);
        scene.acme.close(dual);
    }
}

/// Statement 74.
pub(crate) fn a_plain_receive_loses_the_records() {
    let scene = Scene::new();
    let to = (V4, PORT).into();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS]);
    let app = scene.app.socket(to, Kind::Udp).unwrap();
    scene.app.send_to(app, b"first", to).unwrap();
    let text = scene.acme.run(proxy.0, |fd| {
        let _started = Started::new();
        let mut bytes = [0u8; 64];
        let n = hoptrail_recv(fd as usize, bytes.as_mut_ptr().cast(), 64, 0);
        Ok(String::from_utf8_lossy(&bytes[..n as usize]).into_owned())
    });
    assert_eq!(text.unwrap(), "first");
    scene.app.send_to(app, b"second", to).unwrap();
    let got = receive(&scene.acme, proxy, ROOM);
    assert_eq!((&*got.text, &got.messages[..]), ("second", &[][..]));
}

/// Statement 79.
pub(crate) fn tcp_has_no_switches() {
    let scene = Scene::new();
    let tcp = scene.acme.socket((V4, PORT).into(), Kind::Tcp).unwrap();
    let udp = scene.acme.socket((V4, PORT).into(), Kind::Udp).unwrap();
    for switch in [RECORDS, CONTEXT, RECORDS_V6, CONTEXT_V6] {
        assert_eq!(set_switch(&scene.acme, tcp, switch, 1), codes::WSAENOPROTOOPT);
    }
    assert_eq!(set_switch(&scene.acme, udp, RECORDS_V6, 1), codes::WSAENOPROTOOPT);
    assert_eq!(set_switch(&scene.acme, udp, RECORDS, 1), 0);
    let read = |socket: Fd, switch: (i32, i32)| {
        let work = |(fd, (level, number)): (i32, (i32, i32))| {
            let _started = Started::new();
            let (mut on, mut size) = (7, 4);
            let at = (&raw mut on).cast();
            let got = hoptrail_getsockopt(fd as usize, level, number, at, &raw mut size);
            Ok((error(got), on, size))
        };
        scene.acme.run((socket.0, switch), work).unwrap()
    };
    assert_eq!(read(udp, RECORDS), (0, 1, 4));
    assert_eq!(read(udp, CONTEXT), (0, 0, 4));
    assert_eq!(read(tcp, RECORDS), (codes::WSAENOPROTOOPT, 7, 4));
}

pub(crate) fn an_overlapped_receive_pends() {
    let scene = Scene::new();
    let to = (V4, PORT).into();
    let proxy = scene.proxy(listener("acme", true), &[RECORDS]);
    let task = scene.acme.begin(proxy.0, |fd| {
        let _started = Started::new();
        let event = WSACreateEvent();
        let mut over = super::scene::overlapped(event as usize);
        let (mut bytes, mut control) = (vec![0u8; 64], vec![0u8; ROOM]);
        let mut buffer = Box::new(buffer(&mut bytes));
        let mut message = Box::new(message(&mut buffer, &mut [], &mut control));
        let (s, at, over) = (fd as usize, &raw mut *message, &raw mut *over);
        assert_eq!(error(WSARecvMsg(s, at, null_mut(), over, None)), codes::WSA_IO_PENDING);
        let (mut count, mut flags) = (0, 0);
        assert_eq!(WSAGetOverlappedResult(s, over, &raw mut count, 1, &raw mut flags), 1);
        control.truncate(message.Control.len as usize);
        WSACloseEvent(event);
        Ok((count, parse(&control)))
    });
    let begun = std::time::Instant::now();
    eventually("it has begun", || begun.elapsed() > Duration::from_millis(100));
    let app = scene.app.socket(to, Kind::Udp).unwrap();
    scene.app.send_to(app, b"hello", to).unwrap();
    let (count, messages) = task.wait().unwrap();
    assert_eq!((count, messages.len()), (5, 1));
    assert_eq!(destination(&messages[0].2), to);
    let _ = &scene.lab;
}
