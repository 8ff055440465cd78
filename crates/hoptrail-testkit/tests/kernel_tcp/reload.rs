//! The policy is switched while applications connect: every connect gets the old verdict or the new
//! one, and open connections stay as they are. Statement 59.

use crate::scene::{Scene, acme, errno};
use hoptrail_core::compile::Filter;
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::{Fd, Lab, at, listener, stage};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const WEB: &str = "192.0.2.10:80";

/// In a proxy: greets everybody with its name.
fn greet((Fd(fd), name): (Fd, String)) -> io::Result<()> {
    let listener = std::net::TcpListener::from(stage::held(fd)?.try_clone()?);
    std::thread::spawn(move || {
        loop {
            let Ok((mut stream, _)) = listener.accept() else { continue };
            let known = matches!(hoptrail::records(&stream), Ok(Some(_)));
            let _ = stream.write_all(if known { name.as_bytes() } else { b"none" });
        }
    });
    Ok(())
}

/// In the application: connects for two seconds, and counts who greeted, or the errno.
fn connect_for_a_while(to: SocketAddr) -> io::Result<BTreeMap<String, u32>> {
    let end = Instant::now() + Duration::from_secs(2);
    let mut counts = BTreeMap::new();
    while Instant::now() < end {
        let greeting = match TcpStream::connect(to) {
            Ok(mut stream) => {
                let mut bytes = [0; 4];
                // The destination says nothing before it is spoken to.
                stream.set_read_timeout(Some(Duration::from_millis(300)))?;
                match stream.read_exact(&mut bytes) {
                    Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(e) => format!("lost: {e}"),
                }
            }
            Err(e) => format!("errno {}", e.raw_os_error().unwrap_or(0)),
        };
        *counts.entry(greeting).or_insert(0) += 1;
    }
    Ok(counts)
}

/// Redirected by acme before, by beta after, a hundred times under load.
pub(crate) fn every_connect_has_one_verdict() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 1)]);
    let _origin = lab.origin(at(WEB));
    let proxies: Vec<_> = ["acme", "beta"]
        .map(|name| {
            let actor = lab.actor(name);
            let listening = actor.listen(listener(name, true), 1024).unwrap();
            actor.run((listening, name.to_owned()), greet).unwrap();
            actor
        })
        .into();
    let app = lab.actor("app");
    let work: Vec<_> = (0..4).map(|_| app.begin(at(WEB), connect_for_a_while)).collect();
    let begun = Instant::now();
    let mut switches = 0;
    while begun.elapsed() < Duration::from_millis(1900) {
        let name = ["beta", "acme"][switches % 2];
        lab.load(vec![lab.provider(name, 1)]);
        switches += 1;
    }
    // Few on a slow machine; more than one is what the test needs.
    assert!(switches >= 3, "only {switches} switches");
    let mut all = BTreeMap::new();
    for task in work {
        for (who, n) in task.wait().unwrap() {
            *all.entry(who).or_insert(0) += n;
        }
    }
    assert_eq!(all.keys().collect::<Vec<_>>(), ["acme", "beta"], "{all:?} in {switches} switches");
    assert!(all.values().all(|n| *n > 10), "{all:?}");
    drop(proxies);
}

/// A block that is in both policies holds at every moment between them, though nothing is at the same
/// place in the two images: no decision is made of halves.
pub(crate) fn a_block_holds_through_reloads() {
    let lab = Lab::new();
    let small = || acme(&lab, vec![Filter::all(Action::Block)]);
    let large = || {
        let others = (0..300u16).map(|n| Filter {
            ports: vec![10_000 + n..=10_000 + n],
            users: Some(vec![5000 + u32::from(n)]),
            ..Filter::all(Action::Permit)
        });
        acme(&lab, others.chain([Filter::all(Action::Block)]).collect())
    };
    lab.load(small());
    let origin = lab.origin(at(WEB));
    let app = lab.actor("app");
    let work: Vec<_> = (0..3).map(|_| app.begin(at(WEB), connect_for_a_while)).collect();
    let begun = Instant::now();
    let mut switches = 0;
    while begun.elapsed() < Duration::from_millis(1900) {
        lab.load(large());
        lab.load(small());
        switches += 2;
    }
    let refused = format!("errno {}", libc::EACCES);
    let mut all = BTreeMap::new();
    for task in work {
        for (what, n) in task.wait().unwrap() {
            *all.entry(what).or_insert(0) += n;
        }
    }
    assert_eq!(all.keys().collect::<Vec<_>>(), [&refused], "{all:?} in {switches} switches");
    assert_eq!(origin.accepted(), 0);
}

/// A policy that does not compile leaves the old one in force.
pub(crate) fn a_wrong_policy_changes_nothing() {
    use hoptrail_core::compile::Policy;
    use hoptrail_engine::Engine;
    use hoptrail_engine::engine::Resolved;
    let s = Scene::new();
    let equal = vec![s.lab.provider("beta", 7), s.lab.provider("gamma", 7)];
    let resolved = Resolved { policy: Policy { providers: equal }, contexts: Vec::new() };
    let generation = s.lab.engine.borrow().generation();
    s.lab.engine.borrow_mut().load_policy(&resolved).unwrap_err();
    assert_eq!(s.lab.engine.borrow().generation(), generation);
    s.connect();
}

/// Statement 59: an open connection keeps what was decided, and its records can still be set.
pub(crate) fn open_connections_stay() {
    let s = Scene::new();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    s.lab.load(vec![s.lab.provider("beta", 300), s.lab.provider("acme", 5)]);
    s.app.send(redirected.client, b"still").unwrap();
    assert_eq!(s.acme.recv(redirected.accepted).unwrap(), b"still");
    assert_eq!(s.acme.records(redirected.accepted).unwrap(), blob);
    assert_eq!(s.app.peer(redirected.client).unwrap(), s.origin.at());
    let upstream = s.acme.socket(s.origin.at(), hoptrail_testkit::lab::socket::Kind::Tcp).unwrap();
    s.acme.set_records(upstream, &blob).unwrap();
    // Beta is new, has not handled it, and is not there.
    assert_eq!(errno(s.acme.connect(upstream, s.origin.at())), libc::ECONNREFUSED);
    s.lab.load(vec![s.lab.provider("acme", 5)]);
    s.acme.connect(upstream, s.origin.at()).unwrap();
    s.origin.expect(1);
}
