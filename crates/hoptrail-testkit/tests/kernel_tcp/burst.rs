//! Many connections at once: every accepted one has its records and its context (statement 66).

use crate::scene::Scene;
use hoptrail_core::context::Context;
use hoptrail_testkit::lab::{Fd, eventually, listener, stage};
use socket2::{Domain, Socket, Type};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const CONNECTS: u16 = 500;

/// What acme was told of one connection: destination, local address and peer.
type Answer = Result<(SocketAddr, SocketAddr, SocketAddr), String>;

/// In acme: accepts up to `n` for so many milliseconds, and asks each at once.
fn accept_and_ask((Fd(fd), n, limit): (Fd, u16, u64)) -> io::Result<Vec<Answer>> {
    let end = Instant::now() + Duration::from_millis(limit);
    let listener = TcpListener::from(stage::held(fd)?.try_clone()?);
    socket2::SockRef::from(&listener).set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut answers = Vec::new();
    while answers.len() < usize::from(n) && Instant::now() < end {
        let (stream, peer) = match listener.accept() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            accepted => accepted?,
        };
        answers.push(ask(&stream, peer));
        stage::keep(stream);
    }
    Ok(answers)
}

fn ask(stream: &TcpStream, peer: SocketAddr) -> Answer {
    use hoptrail_core::abi::{REDIRECT_CONTEXT, REDIRECT_RECORDS, SOL_HOPTRAIL};
    use hoptrail_testkit::lab::option::get;
    let value = |option| get(stream.as_fd(), SOL_HOPTRAIL, option, 4096).value();
    let records = value(REDIRECT_RECORDS).map_err(|e| format!("records: {e}"))?;
    let trail = hoptrail_core::Trail::parse(&records).map_err(|e| e.to_string())?;
    let bytes = value(REDIRECT_CONTEXT).map_err(|e| format!("context: {e}"))?;
    let context = Context::parse(&bytes).ok_or("not a context")?;
    if context.destination() != trail.header.destination() {
        return Err("records and context differ".into());
    }
    Ok((context.destination().into(), context.local().into(), peer))
}

/// In the application: connects everywhere at once without blocking, and gives who goes where.
fn connect_all(targets: Vec<SocketAddr>) -> io::Result<Vec<(SocketAddr, SocketAddr)>> {
    let mut went = Vec::new();
    for to in targets {
        let mut socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => return Err(e),
            _ => went.extend(socket.local_addr()?.as_socket().map(|from| (to, from))),
        }
        // A connection whose handshake met a full queue is completed by its data.
        let _ = socket.write(b"x");
        stage::keep(socket);
    }
    Ok(went)
}

/// Gives the number of accepted connections.
fn burst(backlog: i32, limit: u64) -> usize {
    let s = Scene::new();
    s.acme.close(s.listener);
    let listening = s.acme.listen(listener("acme", true), backlog).unwrap();
    let targets: Vec<SocketAddr> =
        (0..CONNECTS).map(|i| ([192, 0, 2, 10], 10_000 + i).into()).collect();
    let answers = s.acme.begin((listening, CONNECTS, limit), accept_and_ask);
    let went: BTreeMap<SocketAddr, SocketAddr> =
        s.app.run(targets, connect_all).unwrap().into_iter().map(|(to, from)| (from, to)).collect();
    let answers = answers.wait().unwrap();
    let failed: Vec<&String> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} without: {}", failed.len(), failed[0]);
    let accepted = answers.len();
    for (destination, local, peer) in answers.into_iter().flatten() {
        assert_eq!(local, peer);
        assert_eq!(went.get(&peer), Some(&destination));
    }
    let counters = s.lab.counters();
    assert_eq!(counters.link_failed, 0);
    assert_eq!(counters.redirected, u64::from(CONNECTS));
    assert_eq!(s.lab.links().len(), usize::from(CONNECTS));
    drop((s.app, s.acme));
    let lab = s.lab;
    eventually("all links are gone", || lab.links().is_empty());
    accepted
}

/// Statement 66 with the smallest backlog. Linux itself lets most of the burst wait for ever longer
/// retransmissions here, with SYN cookies at that; what is accepted in time must have its records.
pub(crate) fn backlog_of_one() {
    assert!(burst(1, 6000) > 0);
}

/// Statement 66 with a small backlog.
pub(crate) fn backlog_of_eight() {
    assert!(burst(8, 4000) > 0);
}

/// Statement 66 with room for all.
pub(crate) fn backlog_of_a_thousand() {
    assert_eq!(burst(1024, 30_000), usize::from(CONNECTS));
}

/// The answer is there as soon as accept returns, though the kernel links a moment later.
pub(crate) fn asked_right_after_accept() {
    const N: u16 = 3000;
    let s = Scene::new();
    s.acme.close(s.listener);
    let listening = s.acme.listen(listener("acme", true), 4096).unwrap();
    let answers = s.acme.begin((listening, N, 30_000), accept_and_ask);
    let dialled = s.app.run((s.origin.at(), N), |(to, n): (SocketAddr, u16)| {
        for _ in 0..n {
            drop(TcpStream::connect(to)?);
        }
        Ok(())
    });
    dialled.unwrap();
    let answers = answers.wait().unwrap();
    assert_eq!(answers.len(), usize::from(N));
    let failed: Vec<&String> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {N}: {}", failed.len(), failed[0]);
}
