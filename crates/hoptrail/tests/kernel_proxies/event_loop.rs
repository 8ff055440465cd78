//! Dials that are started and finished by a loop.

use hoptrail::{Accepted, Connection, Dialling, ErrorKind, Listener, Operation, relay};
use hoptrail_core::compile::{Filter, Provider};
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Actor, Lab, Manner, PORT, V4, V6, at, listener};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// The next connection at acme's listener, by a loop that waits for it.
pub(crate) fn accept(on: &Listener) -> io::Result<Connection> {
    on.as_std().set_nonblocking(true)?;
    loop {
        match on.try_accept()? {
            Some(Accepted::Redirected(connection)) => return Ok(connection),
            Some(Accepted::Direct(..)) => return Err(io::Error::other("a direct connection")),
            None => until(on.as_std(), PollFlags::IN)?,
        }
    }
}

fn until(socket: &impl AsFd, events: PollFlags) -> io::Result<()> {
    poll(&mut [PollFd::new(socket, events)], None)?;
    Ok(())
}

fn wait(dialling: &Dialling) -> io::Result<()> {
    until(dialling, PollFlags::OUT)
}

/// Acme's proxy: one connection, relayed to its end.
fn serve_one(at: SocketAddr) -> io::Result<u64> {
    let on = Listener::bind(at)?;
    let Connection { stream, redirect, .. } = accept(&on)?;
    assert!(stream.nodelay()?, "inherited");
    let dialling = redirect.start_dial()?;
    assert_eq!(dialling.destination(), redirect.destination());
    wait(&dialling)?;
    Ok(relay(stream, dialling.finish()?).from_first)
}

/// Acme's proxy: how the dial of one connection to `to` fails, where it would not be the original destination.
fn fail_one((at, to): (SocketAddr, Option<SocketAddr>)) -> io::Result<(String, String)> {
    let on = Listener::bind(at)?;
    let connection = accept(&on)?;
    let to = to.unwrap_or(connection.redirect.destination());
    let error = match connection.redirect.start_dial_to(to) {
        Ok(dialling) => {
            wait(&dialling)?;
            dialling.finish().expect_err("the dial fails")
        }
        Err(error) => error,
    };
    assert_eq!(error.operation(), Operation::Connect(to));
    connection.refuse()?;
    Ok((format!("{:?}", error.kind()), error.to_string()))
}

/// Waits until the actor listens, then connects.
fn dial(lab: &Lab, app: &Actor, to: SocketAddr) -> hoptrail_testkit::lab::Fd {
    let at = listener("acme", to.is_ipv4());
    crate::ready::listens(lab, at);
    app.dial(to).unwrap()
}

pub(crate) fn a_started_dial_carries_the_records() {
    for to in [SocketAddr::from((V4, PORT)), (V6, PORT).into()] {
        let lab = Lab::of(Lab::two);
        let origin = lab.origin(to);
        let beta = lab.proxy("beta", Manner::Declares);
        let (app, acme) = (lab.actor("app"), lab.actor("acme"));
        let served = acme.begin(listener("acme", to.is_ipv4()), serve_one);
        let connection = dial(&lab, &app, to);
        app.send(connection, b"hello").unwrap();
        assert_eq!(app.recv(connection).unwrap(), b"hello");
        assert_eq!(app.peer(connection).unwrap(), to);
        app.close(connection);
        assert_eq!(served.wait().unwrap(), 5);
        assert_eq!(beta.seen().len(), 1, "beta follows acme");
        origin.expect(1);
        let names: Vec<_> = lab.events().iter().map(|event| event.provenance.name()).collect();
        assert_eq!(names, ["fresh", "declared", "declared"]);
    }
}

/// What acme's proxy saw of the socket before it was dialled, and after; and how a dial fails whose
/// socket is not to its liking.
fn configure_two(at: SocketAddr) -> io::Result<(String, String, String)> {
    let on = Listener::bind(at)?;
    let connection = accept(&on)?;
    let (redirect, to) = (&connection.redirect, connection.redirect.destination());
    let mut before = String::new();
    let dialling = redirect.start_dial_with(to, |socket| {
        let socket = socket2::SockRef::from(&socket);
        before = format!("{:?}", socket.peer_addr().map_err(|e| e.kind()));
        socket.set_tcp_congestion(b"reno")
    })?;
    wait(&dialling)?;
    let stream = dialling.finish()?;
    let after = socket2::SockRef::from(&stream).tcp_congestion()?;
    let denied = redirect.start_dial_with(to, |_| Err(io::ErrorKind::PermissionDenied.into()));
    let denied = denied.expect_err("it fails");
    assert_eq!(relay(connection.stream, stream).from_first, 5);
    let after = String::from_utf8_lossy(&after).trim_end_matches('\0').to_owned();
    Ok((before, after, format!("{:?}", denied.operation())))
}

pub(crate) fn a_socket_is_configured_before_it_is_dialled() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let to = SocketAddr::from((V4, PORT));
    let origin = lab.origin(to);
    let (app, acme) = (lab.actor("app"), lab.actor("acme"));
    let served = acme.begin(listener("acme", true), configure_two);
    let connection = dial(&lab, &app, to);
    app.send(connection, b"hello").unwrap();
    assert_eq!(app.recv(connection).unwrap(), b"hello");
    app.close(connection);
    let (before, after, failed) = served.wait().unwrap();
    assert_eq!((&*before, &*after), ("Err(NotConnected)", "reno"));
    assert_eq!(failed, format!("{:?}", Operation::OpenSocket));
    origin.expect(1);
}

pub(crate) fn a_dial_that_fails_later_says_why() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let (app, acme) = (lab.actor("app"), lab.actor("acme"));
    let at = listener("acme", true);
    let failed = acme.begin((at, None::<SocketAddr>), fail_one);
    let connection = dial(&lab, &app, (V4, PORT).into());
    let (kind, text) = failed.wait().unwrap();
    assert_eq!(kind, format!("{:?}", ErrorKind::Refused), "{text}");
    assert!(text.starts_with("cannot connect to 192.0.2.10:80: "), "{text}");
    let error = app.recv(connection).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "the application sees it at once");
}

pub(crate) fn what_the_kernel_refuses_at_once_is_told_at_once() {
    let lab = Lab::of(|lab| {
        let acmes = Some(vec![lab.cgroup("acme")]);
        let block = Filter { cgroups: acmes, ..Filter::all(Action::Block) };
        let beta = Provider { filters: vec![block], ..lab.provider("beta", 100) };
        vec![lab.provider("acme", 200), beta]
    });
    let (app, acme) = (lab.actor("app"), lab.actor("acme"));
    let at = listener("acme", true);
    let failed = acme.begin((at, None::<SocketAddr>), fail_one);
    let connection = dial(&lab, &app, (V4, PORT).into());
    let (kind, text) = failed.wait().unwrap();
    assert_eq!(kind, format!("{:?}", ErrorKind::Blocked), "{text}");
    assert!(text.contains("`hoptrail explain`"), "{text}");
    let error = app.recv(connection).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

pub(crate) fn a_started_dial_leaves_by_the_applications_device() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let neighbour = lab.neighbour("ht0");
    let to = at("198.51.100.2:80");
    let origin = neighbour.origin(to);
    let (app, acme) = (lab.actor("app"), lab.actor("acme"));
    let on = listener("acme", true);
    let device = acme.begin(on, |on| {
        let on = Listener::bind(on)?;
        let mut devices = Vec::new();
        for _ in 0..2 {
            let dialling = accept(&on)?.redirect.start_dial()?;
            wait(&dialling)?;
            devices.push(socket2::SockRef::from(&dialling.finish()?).device()?);
        }
        Ok(devices)
    });
    crate::ready::listens(&lab, on);
    app.dial(to).unwrap();
    let bound = app.socket(to, Kind::Tcp).unwrap();
    app.set_at(bound, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"ht0\0").unwrap();
    app.connect(bound, to).unwrap();
    assert_eq!(device.wait().unwrap(), [None, Some(b"ht0".to_vec())]);
    origin.expect(2);
}

pub(crate) fn nothing_waits_is_no_error() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let acme = lab.actor("acme");
    acme.run(listener("acme", true), |at| {
        let on = Listener::bind(at)?;
        on.as_std().set_nonblocking(true)?;
        assert!(on.try_accept()?.is_none());
        Ok(())
    })
    .unwrap();
}
