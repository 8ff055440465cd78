//! The kernel's tables are empty again after any kind of connection.

use crate::scene::{Scene, errno};
use hoptrail_engine::kernel::KernelOptions;
use hoptrail_testkit::lab::{Fd, Lab, eventually, listener, stage};
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A scene whose table of connections that no proxy has accepted yet holds one entry: whatever is left
/// behind there makes the next connection fail to link.
fn tight() -> Scene {
    let tuples = vec![("TUPLES".into(), 1), ("LINKS".into(), 4)];
    let lab = Lab::with(&KernelOptions { map_entries: tuples, ..Default::default() });
    lab.load(vec![lab.provider("acme", 200)]);
    Scene::on(lab)
}

fn nothing_left(s: &Scene, what: &str) {
    eventually(what, || s.lab.links().is_empty());
    assert_eq!(s.lab.counters().link_failed, 0, "{what}");
    // Room for another one in both tables.
    let redirected = s.connect();
    s.acme.records(redirected.accepted).unwrap();
    s.acme.close(redirected.accepted);
    s.app.close(redirected.client);
    eventually(what, || s.lab.links().is_empty());
}

/// In the order of closing, and by reset.
pub(crate) fn every_way_to_close() {
    let s = tight();
    for round in 0..50 {
        let r = s.connect();
        match round % 5 {
            0 => {
                s.app.close(r.client);
                s.acme.recv(r.accepted).unwrap();
                s.acme.close(r.accepted);
            }
            1 => {
                s.acme.close(r.accepted);
                s.app.recv(r.client).unwrap();
                s.app.close(r.client);
            }
            2 => {
                s.app.reset(r.client);
                assert_eq!(errno(s.acme.recv(r.accepted)), libc::ECONNRESET);
                s.acme.close(r.accepted);
            }
            3 => {
                s.acme.reset(r.accepted);
                assert_eq!(errno(s.app.recv(r.client)), libc::ECONNRESET);
                s.app.close(r.client);
            }
            _ => {
                s.app.finish(r.client).unwrap();
                s.acme.finish(r.accepted).unwrap();
                s.app.close(r.client);
                s.acme.close(r.accepted);
            }
        }
        eventually("the link is gone", || s.lab.links().is_empty());
    }
    nothing_left(&s, "after every way to close");
}

/// The client gives up before anybody accepts.
pub(crate) fn never_accepted() {
    let s = tight();
    for round in 0..20 {
        let client = s.app.dial(s.origin.at()).unwrap();
        if round % 2 == 0 {
            s.app.close(client)
        } else {
            s.app.reset(client)
        }
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        s.acme.close(accepted);
        eventually("the link is gone", || s.lab.links().is_empty());
    }
    // With the listener they go that nobody accepted.
    for _ in 0..3 {
        let _client = s.app.dial(s.origin.at()).unwrap();
    }
    assert_eq!(s.lab.links().len(), 3);
    s.acme.close(s.listener);
    eventually("the links are gone", || s.lab.links().is_empty());
    assert_eq!(s.lab.counters().link_failed, 0);
}

/// Connects that fail after they were redirected: the source address cannot reach the listener, no
/// port is free, or the handshake never ends.
pub(crate) fn connects_that_fail() {
    let s = tight();
    // The local port is taken by a connection to the same listener.
    let first = s.connect();
    let taken = s.app.local(first.client).unwrap();
    for _ in 0..20 {
        let second = s.app.run((taken, s.origin.at()), |(from, to): (SocketAddr, SocketAddr)| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            SockRef::from(&socket).set_reuse_port(true)?;
            socket.bind(&from.into())?;
            socket.connect(&to.into())
        });
        assert!(second.is_err());
    }
    s.app.close(first.client);
    s.acme.close(first.accepted);
    nothing_left(&s, "after connects that found their port taken");
    // A handshake that never ends: the listener's queue is full, and the client gives up.
    s.acme.close(s.listener);
    let full = s.acme.listen(listener("acme", true), 0).unwrap();
    let waiting = s.app.dial(s.origin.at()).unwrap();
    for round in 0..10 {
        let gave_up = s.app.run((s.origin.at(), round), |(to, round): (SocketAddr, i32)| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            let begun = socket.connect(&to.into());
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            drop(socket);
            begun
        });
        assert_eq!(errno(gave_up), libc::EINPROGRESS);
        eventually("the unfinished one is gone", || s.lab.links().len() == 1);
    }
    s.app.close(waiting);
    s.acme.close(full);
    eventually("all links are gone", || s.lab.links().is_empty());
    assert_eq!(s.lab.counters().link_failed, 0);
}

/// A socket that connects again and again, dissolved in between.
pub(crate) fn reconnecting_sockets() {
    let s = tight();
    let socket = s.app.dial(s.origin.at()).unwrap();
    for _ in 0..20 {
        let (accepted, _) = s.acme.accept(s.listener).unwrap();
        s.app
            .run(socket, |Fd(fd)| {
                use std::os::fd::AsFd;
                hoptrail_testkit::lab::option::dissolve(stage::held(fd)?.as_fd())
            })
            .unwrap();
        s.acme.close(accepted);
        eventually("the link is gone", || s.lab.links().is_empty());
        s.app.connect(socket, s.origin.at()).unwrap();
    }
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    s.acme.close(accepted);
    s.app.close(socket);
    nothing_left(&s, "after reconnecting");
}

/// Two thousand connections from four threads, ending in five ways.
pub(crate) fn two_thousand_connections() {
    let s = Scene::new();
    s.acme.run(s.listener, serve).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            s.app.begin((s.origin.at(), thread), |(to, thread): (SocketAddr, u32)| {
                (0..500).try_for_each(|i| one(to, thread + i))
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.wait().unwrap());
    eventually("all links are gone", || s.lab.links().is_empty());
    let counters = s.lab.counters();
    assert_eq!((counters.redirected, counters.link_failed), (2000, 0));
}

/// In the application: one connection that ends in way `how`.
fn one(to: SocketAddr, how: u32) -> io::Result<()> {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(to)?;
    match how % 5 {
        0 => {}
        1 => SockRef::from(&stream).set_linger(Some(Duration::ZERO))?,
        // Acme ends it.
        2 => drop(stream.write_all(b"close").and_then(|()| stream.read(&mut [0; 8]))),
        3 => drop(stream.write_all(b"reset").and_then(|()| stream.read(&mut [0; 8]))),
        _ => {
            stream.write_all(b"close")?;
            stream.shutdown(std::net::Shutdown::Write)?;
        }
    }
    Ok(())
}

/// In acme: accepts for ever, and ends each connection as it is told.
fn serve(Fd(fd): Fd) -> io::Result<()> {
    use std::io::Read;
    let listener = std::net::TcpListener::from(stage::held(fd)?.try_clone()?);
    std::thread::spawn(move || {
        loop {
            let Ok((mut stream, _)) = listener.accept() else { continue };
            std::thread::spawn(move || {
                let mut told = [0; 5];
                let _ = stream.read_exact(&mut told);
                if &told == b"reset" {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
            });
        }
    });
    Ok(())
}
