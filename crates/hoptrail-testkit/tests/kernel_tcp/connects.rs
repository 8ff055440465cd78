//! The less common ways to connect: fast open, io_uring, sockets of other processes and devices.

use crate::scene::{Scene, acme, errno, trail};
use hoptrail_core::compile::Filter;
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Actor, Fd, Lab, Manner, PORT, at, listener, option, stage};
use nix::sys::socket::{self, ControlMessage, ControlMessageOwned, MsgFlags};
use socket2::{Domain, Socket, Type};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};

/// Not in the libc crate for every target.
const TCP_FASTOPEN_CONNECT: i32 = 30;

fn fast_open(lab: &Lab) {
    // A namespace's own setting, which its threads see.
    lab.inside(|| std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3")).unwrap();
}

/// A listener that takes data in the SYN.
fn take_early_data(actor: &Actor, listening: Fd) {
    let tcp = libc::IPPROTO_TCP;
    actor.set_at(listening, tcp, libc::TCP_FASTOPEN, &16i32.to_ne_bytes()).unwrap();
}

/// TCP_FASTOPEN_CONNECT: connect returns before anything is sent. The first connection fetches the
/// cookie, the later ones send their data in the SYN.
pub(crate) fn fast_open_by_option() {
    let s = Scene::new();
    fast_open(&s.lab);
    take_early_data(&s.acme, s.listener);
    for n in 0..4u8 {
        let socket = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
        let tcp = libc::IPPROTO_TCP;
        s.app.set_at(socket, tcp, TCP_FASTOPEN_CONNECT, &1i32.to_ne_bytes()).unwrap();
        s.app.connect(socket, s.origin.at()).unwrap();
        s.app.send(socket, &[n; 5]).unwrap();
        delivered(&s, socket, &[n; 5]);
    }
}

/// sendto with MSG_FASTOPEN connects, too.
pub(crate) fn fast_open_by_flag() {
    let s = Scene::new();
    fast_open(&s.lab);
    take_early_data(&s.acme, s.listener);
    for n in 0..4u8 {
        let socket = s.app.run((s.origin.at(), n), |(to, n): (SocketAddr, u8)| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.send_to_with_flags(&[n; 7], &to.into(), libc::MSG_FASTOPEN)?;
            Ok(Fd(stage::keep(socket)))
        });
        delivered(&s, socket.unwrap(), &[n; 7]);
    }
}

/// Acme accepts `socket`'s connection with its records, and the data arrive.
fn delivered(s: &Scene, socket: Fd, data: &[u8]) {
    let (accepted, peer) = s.acme.accept(s.listener).unwrap();
    assert_eq!(s.acme.recv(accepted).unwrap(), data);
    let trail = trail(&s.acme.records(accepted).unwrap());
    assert_eq!(SocketAddr::from(trail.header.local()), peer);
    assert_eq!(SocketAddr::from(trail.header.destination()), s.origin.at());
    assert_eq!(trail.header.pid, s.app.pid());
    assert_eq!(s.app.peer(socket).unwrap(), s.origin.at());
    s.app.close(socket);
    s.acme.close(accepted);
}

/// A block refuses before any early data leave.
pub(crate) fn fast_open_is_blocked_like_any_other() {
    let lab = Lab::of(|lab| acme(lab, vec![Filter::all(Action::Block)]));
    fast_open(&lab);
    let origin = lab.origin(at("192.0.2.10:80"));
    let app = lab.actor("app");
    let result = app.run(origin.at(), |to: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.send_to_with_flags(b"early", &to.into(), libc::MSG_FASTOPEN)
    });
    assert_eq!(errno(result), libc::EACCES);
    assert_eq!(origin.accepted(), 0);
}

/// io_uring, in the caller and, forced, in one of its workers.
pub(crate) fn io_uring() {
    let s = Scene::new();
    let client = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    let probe = s.app.run((client, s.origin.at(), false), |(fd, to, asynchronous)| {
        ring::connect(stage::held(fd_number(fd))?.as_fd(), to, asynchronous)
    });
    match probe {
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            panic!("this kernel has no io_uring to test ({e}): sysctl kernel.io_uring_disabled=0")
        }
        result => result.unwrap(),
    }
    ringed(&s, client);
    let client = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    let done = s.app.run((client, s.origin.at(), true), |(fd, to, asynchronous)| {
        ring::connect(stage::held(fd_number(fd))?.as_fd(), to, asynchronous)
    });
    done.unwrap();
    ringed(&s, client);
    s.lab.load(acme(&s.lab, vec![Filter::all(Action::Block)]));
    for asynchronous in [false, true] {
        let client = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
        let refused = s.app.run((client, s.origin.at(), asynchronous), |(fd, to, asynchronous)| {
            ring::connect(stage::held(fd_number(fd))?.as_fd(), to, asynchronous)
        });
        assert_eq!(errno(refused), libc::EACCES);
    }
}

const fn fd_number(fd: Fd) -> i32 {
    fd.0
}

fn ringed(s: &Scene, client: Fd) {
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    let header = trail(&s.acme.records(accepted).unwrap()).header;
    assert_eq!(header.pid, s.app.pid());
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", s.app.pid())).unwrap();
    assert_eq!(header.name(), comm.trim_end(), "the process, not the worker");
    assert_eq!(SocketAddr::from(header.destination()), s.origin.at());
    assert_eq!(s.app.peer(client).unwrap(), s.origin.at());
}

mod ring {
    //! One connect through io_uring.
    #![expect(unsafe_code, reason = "a submission names memory that must outlive it")]

    use io_uring::{IoUring, opcode, squeue::Flags, types};
    use std::io;
    use std::net::SocketAddr;
    use std::os::fd::{AsRawFd, BorrowedFd};

    pub(super) fn connect(
        socket: BorrowedFd<'_>,
        to: SocketAddr,
        asynchronous: bool,
    ) -> io::Result<()> {
        let mut ring = IoUring::new(2)?;
        let address = socket2::SockAddr::from(to);
        let fd = types::Fd(socket.as_raw_fd());
        let flags = if asynchronous { Flags::ASYNC } else { Flags::empty() };
        let entry =
            opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build().flags(flags);
        // SAFETY: `address` and the socket live until the completion below.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let completion = ring.completion().next();
        match completion.map_or(-libc::EIO, |c| c.result()) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// In one actor: sends the socket to whoever connects to the Unix socket `name`.
fn give((Fd(fd), name): (Fd, String)) -> io::Result<()> {
    let (stream, _) = UnixListener::bind(&name)?.accept()?;
    let fds = [stage::held(fd)?.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    let data = [IoSlice::new(b"x")];
    socket::sendmsg::<()>(stream.as_raw_fd(), &data, &message, MsgFlags::empty(), None)?;
    Ok(())
}

/// In the other: receives it.
fn take(name: String) -> io::Result<Fd> {
    let stream = loop {
        match UnixStream::connect(&name) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(2)),
        }
    };
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut room = nix::cmsg_space!([i32; 1]);
    let flags = MsgFlags::empty();
    let got = socket::recvmsg::<()>(stream.as_raw_fd(), &mut data, Some(&mut room), flags)?;
    for message in got.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            return Ok(Fd(stage::keep(stage::adopt(fds[0]))));
        }
    }
    Err(io::Error::other("no descriptor came"))
}

/// Gives `to` the socket of `from`.
fn hand_over(from: &Actor, socket: Fd, to: &Actor, name: &str) -> Fd {
    let dir = std::env::temp_dir().join(format!("{name}-{}", from.pid()));
    let path = dir.to_str().unwrap().to_owned();
    let giving = from.begin((socket, path.clone()), give);
    let taken = to.run(path, take).unwrap();
    giving.wait().unwrap();
    std::fs::remove_file(dir).unwrap();
    taken
}

/// A socket that another process made: who connects is the application, and the proxy may pass what it
/// accepted to a worker in another cgroup.
pub(crate) fn sockets_passed_between_processes() {
    let s = Scene::new();
    let made = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    let other = s.lab.actor("other");
    let taken = hand_over(&s.app, made, &other, "socket");
    other.connect(taken, s.origin.at()).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    let blob = s.acme.records(accepted).unwrap();
    assert_eq!(trail(&blob).header.pid, other.pid());
    assert_eq!(s.app.peer(made).unwrap(), s.origin.at());
    let worker = s.lab.actor("worker");
    let passed = hand_over(&s.acme, accepted, &worker, "accepted");
    s.acme.close(accepted);
    assert_eq!(worker.records(passed).unwrap(), blob);
    // The worker is no member; its master is.
    let upstream = worker.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(worker.set_records(upstream, &blob)), libc::EACCES);
    let prepared = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(prepared, &blob).unwrap();
    let prepared = hand_over(&s.acme, prepared, &worker, "prepared");
    worker.connect(prepared, s.origin.at()).unwrap();
    s.origin.expect(1);
}

/// A second descriptor of a socket is the same socket.
pub(crate) fn duplicated_descriptors() {
    let s = Scene::new();
    let duplicate = |actor: &Actor, fd: Fd| {
        actor.run(fd, |Fd(fd)| Ok(Fd(stage::keep(stage::held(fd)?.try_clone()?)))).unwrap()
    };
    let redirected = s.connect();
    let second = duplicate(&s.acme, redirected.accepted);
    let blob = s.acme.records(redirected.accepted).unwrap();
    s.acme.close(redirected.accepted);
    assert_eq!(s.acme.records(second).unwrap(), blob);
    assert_eq!(s.lab.links().len(), 1);
    let upstream = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(duplicate(&s.acme, upstream), &blob).unwrap();
    s.acme.connect(upstream, s.origin.at()).unwrap();
    s.origin.expect(1);
}

/// A socket bound to `lo` connects as ever, and the records name the device.
pub(crate) fn a_socket_bound_to_lo() {
    let lab = Lab::of(Lab::two);
    let origin = lab.origin(at("192.0.2.10:80"));
    let _proxies = [lab.proxy("acme", Manner::Declares), lab.proxy("beta", Manner::Declares)];
    let app = lab.actor("app");
    let socket = app.socket(origin.at(), Kind::Tcp).unwrap();
    app.set_at(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"lo\0").unwrap();
    app.connect(socket, origin.at()).unwrap();
    app.send(socket, b"x").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"x");
    assert_eq!(origin.accepted(), 1);
}

const BEYOND: &str = "198.51.100.2:80";

fn bound(app: &Actor, to: SocketAddr) -> Fd {
    let socket = app.socket(to, Kind::Tcp).unwrap();
    app.set_at(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"ht0\0").unwrap();
    socket
}

/// A socket bound to another device is redirected all the same, and the last proxy's dial goes out
/// through that device.
pub(crate) fn a_socket_bound_to_a_device() {
    let lab = Lab::of(Lab::two);
    let neighbour = lab.neighbour("ht0");
    let origin = neighbour.origin(at(BEYOND));
    let _proxies = [lab.proxy("acme", Manner::Declares), lab.proxy("beta", Manner::Declares)];
    let app = lab.actor("app");
    let socket = bound(&app, at(BEYOND));
    app.connect(socket, at(BEYOND)).unwrap();
    app.send(socket, b"x").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"x");
    assert_eq!(app.peer(socket).unwrap(), at(BEYOND));
    assert_eq!(
        origin.peers().iter().map(SocketAddr::ip).collect::<Vec<_>>(),
        ["198.51.100.1".parse::<std::net::IpAddr>().unwrap()]
    );
    let events = lab.events();
    assert_eq!(events.last().unwrap().trail.header.device, neighbour.interface);
}

/// What a redirect did to a socket's device does not outlive the redirect: a later connect of the same
/// socket that is let through leaves by the device that the application chose.
pub(crate) fn a_device_is_kept_for_later_connects() {
    let s = Scene::new();
    let neighbour = s.lab.neighbour("ht0");
    let origin = neighbour.origin(at("198.51.100.2:81"));
    let socket = bound(&s.app, at(BEYOND));
    s.app.connect(socket, at(BEYOND)).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    s.acme.records(accepted).unwrap();
    let device = |socket| {
        let level = libc::SOL_SOCKET;
        s.app.probe(socket, level, libc::SO_BINDTODEVICE, 16).value().unwrap()
    };
    // While it is redirected it cannot be bound: what comes by way of lo would not reach it.
    assert_eq!(device(socket), b"");
    s.app.run(socket, |Fd(fd)| option::dissolve(stage::held(fd)?.as_fd())).unwrap();
    s.lab.load(Vec::new());
    s.app.connect(socket, origin.at()).unwrap();
    assert_eq!(device(socket), b"ht0\0");
}

/// Multipath TCP, which some runtimes switch on by themselves: redirected, and with records. What it
/// cannot have is `getpeername` (README, limits).
pub(crate) fn multipath_tcp() {
    let s = Scene::new();
    let client = s.app.run(s.origin.at(), |to: SocketAddr| {
        let mptcp = socket2::Protocol::from(libc::IPPROTO_MPTCP);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(mptcp))?;
        socket.connect(&to.into())?;
        Ok(Fd(stage::keep(socket)))
    });
    let client = match client {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EPROTONOSUPPORT | libc::ENOPROTOOPT)) => {
            return eprintln!("not shown: this kernel has no multipath TCP ({e})");
        }
        client => client.unwrap(),
    };
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    let trail = trail(&s.acme.records(accepted).unwrap());
    assert_eq!(SocketAddr::from(trail.header.destination()), s.origin.at());
    assert_eq!(s.app.peer(client).unwrap(), listener("acme", true));
    s.app.close(client);
    s.acme.close(accepted);
    hoptrail_testkit::lab::eventually("the link is gone", || s.lab.links().is_empty());
}

/// A proxy whose listener speaks multipath TCP, as those in Go do.
pub(crate) fn a_multipath_listener() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let (app, proxy) = (lab.actor("app"), lab.actor("acme"));
    let listening = proxy.run(listener("acme", true), |on: SocketAddr| {
        let mptcp = socket2::Protocol::from(libc::IPPROTO_MPTCP);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(mptcp))?;
        socket.bind(&on.into())?;
        socket.listen(8)?;
        Ok(Fd(stage::keep(socket)))
    });
    let listening = match listening {
        Err(e) if e.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return,
        listening => listening.unwrap(),
    };
    let to = SocketAddr::from(([192, 0, 2, 10], PORT));
    let _client = app.dial(to).unwrap();
    let (accepted, _) = proxy.accept(listening).unwrap();
    let trail = trail(&proxy.records(accepted).unwrap());
    assert_eq!(SocketAddr::from(trail.header.destination()), to);
    proxy.context(accepted).unwrap();
}
