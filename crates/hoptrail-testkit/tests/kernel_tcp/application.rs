//! The application notices nothing: DESIGN.md section 2, point 8.

use crate::scene::{Scene, acme, errno, loopback, trail};
use hoptrail_core::compile::Filter;
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{
    Actor, Fd, Lab, Manner, PORT, Proxy, V4_OTHER, V6, at, listener, option, stage,
};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

/// Sends and gets back over a connection that works.
fn echoes(app: &Actor, socket: Fd) {
    app.send(socket, b"are you there?").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"are you there?");
}

/// Acme and beta work by themselves; the application and the two proxies are given.
fn two_at_work() -> (Lab, Actor, Vec<Proxy>) {
    let lab = Lab::of(Lab::two);
    let app = lab.actor("app");
    let proxies = vec![lab.proxy("acme", Manner::Declares), lab.proxy("beta", Manner::Declares)];
    (lab, app, proxies)
}

/// The peer's address is the one that was asked for, in the form in which it was asked for.
pub(crate) fn getpeername_gives_what_was_asked_for() {
    let (lab, app, proxies) = two_at_work();
    let (v4, v6) = (at("192.0.2.10:80"), SocketAddr::from((V6, PORT)));
    let origins = [lab.origin(v4), lab.origin(v6)];
    let mapped = at("[::ffff:192.0.2.10]:80");
    for to in [v4, v6, mapped] {
        let socket = app.dial(to).unwrap();
        assert_eq!(app.peer(socket).unwrap(), to);
        echoes(&app, socket);
        assert_eq!(app.peer(socket).unwrap(), to);
    }
    assert_eq!((origins[0].accepted(), origins[1].accepted()), (2, 1));
    for proxy in &proxies {
        assert_eq!(proxy.seen().len(), 3);
    }
}

/// connect gives EINPROGRESS, poll tells the end, SO_ERROR is zero.
pub(crate) fn a_non_blocking_connect() {
    let (lab, app, _proxies) = two_at_work();
    let origins = [lab.origin(at("192.0.2.10:80")), lab.origin(at("[2001:db8::10]:80"))];
    for origin in &origins {
        let fd = app.run(origin.at(), begin_and_poll).unwrap();
        assert_eq!(app.peer(fd).unwrap(), origin.at());
        echoes(&app, fd);
    }
}

fn begin_and_poll(to: SocketAddr) -> io::Result<Fd> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let begun = socket.connect(&to.into()).unwrap_err();
    assert_eq!(begun.raw_os_error(), Some(libc::EINPROGRESS));
    while socket.peer_addr().is_err() {
        assert!(socket.take_error()?.is_none());
        std::thread::yield_now();
    }
    assert!(socket.take_error()?.is_none());
    let again = socket.connect(&to.into());
    assert!(again.is_ok() || again.unwrap_err().raw_os_error() == Some(libc::EISCONN));
    socket.set_nonblocking(false)?;
    Ok(Fd(stage::keep(socket)))
}

/// A refusal comes from connect itself, also without blocking.
pub(crate) fn a_refusal_of_a_non_blocking_connect() {
    let lab = Lab::of(|lab| acme(lab, vec![Filter::all(Action::Block)]));
    let app = lab.actor("app");
    let refused = app.run(at("192.0.2.10:80"), |to: SocketAddr| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&to.into())
    });
    assert_eq!(errno(refused), libc::EACCES);
}

/// The source address that the application chose is seen by the proxy, and a port that it chose.
pub(crate) fn a_bound_source_address() {
    let s = Scene::new();
    for (local, to) in [
        (SocketAddr::from((V4_OTHER, 0)), s.origin.at()),
        ((V4_OTHER, 4444).into(), s.origin.at()),
        (at("[::ffff:192.0.2.20]:0"), at("[::ffff:192.0.2.10]:80")),
    ] {
        let socket = s.app.socket(to, Kind::Tcp).unwrap();
        s.app.bind(socket, local).unwrap();
        s.app.connect(socket, to).unwrap();
        let (accepted, peer) = s.acme.accept(s.listener).unwrap();
        assert_eq!(peer.ip(), IpAddr::from(V4_OTHER));
        assert!(local.port() == 0 || peer.port() == local.port());
        assert_eq!(s.app.peer(socket).unwrap(), to);
        let trail = trail(&s.acme.records(accepted).unwrap());
        assert_eq!(SocketAddr::from(trail.header.local()), peer);
        assert_eq!(SocketAddr::from(trail.header.destination()), s.origin.at());
    }
    let six = s.acme.listen(listener("acme", false), 8).unwrap();
    let to = SocketAddr::from((V6, PORT));
    let socket = s.app.socket(to, Kind::Tcp).unwrap();
    s.app.bind(socket, (V6, 0).into()).unwrap();
    s.app.connect(socket, to).unwrap();
    let (_, peer) = s.acme.accept(six).unwrap();
    assert_eq!(peer.ip(), IpAddr::from(V6));
}

/// One socket: refused, then accepted; and after a connection another one.
pub(crate) fn repeated_connects_of_one_socket() {
    let s = Scene::of(|lab| {
        let mut blocked = Filter::all(Action::Block);
        blocked.ports = vec![81..=81];
        let all = Filter::all(Action::Redirect);
        acme(lab, vec![blocked, all])
    });
    let socket = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(s.app.connect(socket, at("192.0.2.10:81"))), libc::EACCES);
    s.app.connect(socket, s.origin.at()).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    let first = trail(&s.acme.records(accepted).unwrap());
    assert_eq!(SocketAddr::from(first.header.destination()), s.origin.at());
    assert_eq!(errno(s.app.connect(socket, s.origin.at())), libc::EISCONN);
    assert_eq!(s.app.peer(socket).unwrap(), s.origin.at());
    // Dissolved, and connected elsewhere.
    for port in [90, 91, 92] {
        s.app.run(socket, dissolve).unwrap();
        assert_eq!(errno(s.app.peer(socket)), libc::ENOTCONN);
        let to = SocketAddr::from(([192, 0, 2, 10], port));
        s.app.connect(socket, to).unwrap();
        assert_eq!(s.app.peer(socket).unwrap(), to);
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        let trail = trail(&s.acme.records(accepted).unwrap());
        assert_eq!(SocketAddr::from(trail.header.destination()), to);
        assert_eq!(trail.hops().len(), 1, "an application's connects are no hops of each other");
        assert_ne!(trail.header.id, first.header.id);
    }
    // And directly, when the policy has gone: nothing of the former redirect is left.
    s.lab.load(Vec::new());
    s.app.run(socket, dissolve).unwrap();
    s.app.connect(socket, s.origin.at()).unwrap();
    assert_eq!(s.app.peer(socket).unwrap(), s.origin.at());
    echoes(&s.app, socket);
    let local = at("127.0.0.1:7777");
    let server = s.acme.listen(local, 1).unwrap();
    s.app.run(socket, dissolve).unwrap();
    s.app.connect(socket, local).unwrap();
    assert_eq!(s.app.peer(socket).unwrap(), local);
    s.acme.accept(server).unwrap();
}

fn dissolve(Fd(fd): Fd) -> io::Result<()> {
    option::dissolve(stage::held(fd)?.as_fd())
}

/// A connect to a closed port, let through, and then a redirected one on the same socket.
pub(crate) fn refused_by_the_destination_then_redirected() {
    let s = Scene::of(|lab| {
        let mut all = Filter::all(Action::Redirect);
        all.ports = vec![80..=80];
        acme(lab, vec![all])
    });
    let socket = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(s.app.connect(socket, at("192.0.2.10:9"))), libc::ECONNREFUSED);
    s.app.connect(socket, s.origin.at()).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    s.acme.records(accepted).unwrap();
}

/// Loopback destinations are left alone, in every spelling.
pub(crate) fn loopback_is_left_alone() {
    let (lab, app, proxies) = two_at_work();
    let origins = [lab.origin(at("0.0.0.0:80")), lab.origin(at("[::1]:80"))];
    for to in [
        "127.0.0.1:80",
        "127.1.2.3:80",
        "0.0.0.0:80",
        "[::1]:80",
        "[::]:80",
        "[::ffff:127.0.0.1]:80",
    ] {
        let socket = app.dial(at(to)).unwrap();
        echoes(&app, socket);
    }
    assert_eq!(origins[0].accepted() + origins[1].accepted(), 6);
    assert!(proxies.iter().all(|p| p.seen().is_empty()));
    assert_eq!(lab.counters().redirected, 0);
}

/// A filter can ask for loopback; then `0.0.0.0` does not get past it.
pub(crate) fn loopback_can_be_asked_for() {
    let lab = Lab::of(|lab| acme(lab, vec![loopback(Action::Redirect)]));
    let origin = lab.origin(at("0.0.0.0:80"));
    let proxy = lab.proxy("acme", Manner::Declares);
    let app = lab.actor("app");
    for (n, to) in ["127.0.0.1:80", "127.0.0.3:80", "0.0.0.0:80"].into_iter().enumerate() {
        let socket = app.dial(at(to)).unwrap();
        echoes(&app, socket);
        assert_eq!(proxy.seen().len(), n + 1, "{to}");
        assert_eq!(origin.accepted(), n + 1, "{to}");
    }
}

/// Whoever connects to a proxy's port directly gets there, without records and without a loop.
pub(crate) fn the_proxys_own_port() {
    for filter in [Filter::all(Action::Redirect), loopback(Action::Redirect)] {
        let s = Scene::of(|lab| acme(lab, vec![filter]));
        for dialler in [&s.app, &s.acme] {
            let socket = dialler.dial(listener("acme", true)).unwrap();
            let (accepted, peer) = s.acme.accept(s.listener).unwrap();
            assert_eq!(peer, dialler.local(socket).unwrap());
            assert_eq!(errno(s.acme.records(accepted)), libc::ENODATA);
            assert_eq!(errno(s.acme.context(accepted)), libc::ENODATA);
            assert_eq!(dialler.peer(socket).unwrap(), listener("acme", true));
        }
        assert_eq!(s.lab.counters().redirected, 0);
    }
}

/// No route leads to the destination: the redirected connect does not need one.
pub(crate) fn a_destination_without_a_route() {
    let s = Scene::new();
    let redirected = s.connect_to(at("203.0.113.5:80"));
    assert_eq!(s.app.peer(redirected.client).unwrap(), at("203.0.113.5:80"));
    let blob = s.acme.records(redirected.accepted).unwrap();
    let upstream = s.acme.socket(at("203.0.113.5:80"), Kind::Tcp).unwrap();
    s.acme.set_records(upstream, &blob).unwrap();
    assert_eq!(errno(s.acme.connect(upstream, at("203.0.113.5:80"))), libc::ENETUNREACH);
}

/// Half-closes and resets pass through two proxies.
pub(crate) fn the_ends_of_a_connection_pass_through() {
    let (lab, app, _proxies) = two_at_work();
    let server = lab.outsider();
    let to = at("192.0.2.10:8080");
    let listening = server.listen(to, 8).unwrap();
    let client = app.dial(to).unwrap();
    let (accepted, _) = server.accept(listening).unwrap();
    app.send(client, b"question").unwrap();
    app.finish(client).unwrap();
    assert_eq!(server.recv(accepted).unwrap(), b"question");
    assert_eq!(server.recv(accepted).unwrap(), b"");
    server.send(accepted, b"answer").unwrap();
    assert_eq!(app.recv(client).unwrap(), b"answer");
    server.close(accepted);
    assert_eq!(app.recv(client).unwrap(), b"");
    let client = app.dial(to).unwrap();
    let (accepted, _) = server.accept(listening).unwrap();
    app.send(client, b"x").unwrap();
    assert_eq!(server.recv(accepted).unwrap(), b"x");
    server.reset(accepted);
    assert_eq!(errno(app.recv(client)), libc::ECONNRESET);
}
