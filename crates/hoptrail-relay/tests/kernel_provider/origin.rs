//! Whom the relay serves, where it dials to, and what it tells of that.

use crate::running::{end, ended, start};
use hoptrail_core::compile::Filter;
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Actor, Lab, at, listener};
use std::net::SocketAddr;

const WEB: &str = "192.0.2.10:80";
const WEB6: &str = "[2001:db8::10]:80";
const MAPPED: &str = "[::ffff:192.0.2.10]:80";
const BEYOND: &str = "198.51.100.2:80";

fn acme() -> Lab {
    Lab::of(|lab| vec![lab.provider("acme", 200)])
}

/// Says something, hears it, and closes.
fn talk(app: &Actor, to: &str) -> SocketAddr {
    let socket = app.dial(at(to)).unwrap();
    app.send(socket, b"echo").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"echo");
    let local = app.local(socket).unwrap();
    app.close(socket);
    local
}

pub(crate) fn both_families_and_mapped() {
    let lab = acme();
    let (relay, app) = (start(&lab, "acme", ""), lab.actor("app"));
    let origins = [WEB, WEB6].map(|to| lab.origin(at(to)));
    for (n, (asked, to)) in [(WEB, WEB), (WEB6, WEB6), (MAPPED, WEB)].into_iter().enumerate() {
        let local = talk(&app, asked);
        let line = ended(&relay, n + 1).remove(n);
        let told = SocketAddr::new(line.destination.ip().to_canonical(), line.destination.port());
        assert_eq!(told, at(to), "{line:?}");
        assert_eq!(line.peer.port(), local.port(), "{line:?}");
        assert_eq!((line.pid, line.hops, line.bytes), (Some(app.pid()), 1, (4, 4)), "{line:?}");
        assert_eq!(line.exe, Some(std::env::current_exe().unwrap()));
        assert_eq!(line.trail.as_ref().map(String::len), Some(32), "{line:?}");
        assert_eq!(line.end, "Closed");
    }
    origins[0].expect(2);
    origins[1].expect(1);
    assert_eq!(lab.counters().redirected, 3, "the relay's own are not redirected again");
}

/// A process that was root when it connected first is not root for ever.
pub(crate) fn an_application_that_changes_its_user() {
    let lab = acme();
    let user = "[[rule]]\naction = \"deny\"\nuser = [\"65534\"]\n";
    let (relay, app) = (start(&lab, "acme", &format!("threads = 1\n{user}")), lab.actor("app"));
    let origin = lab.origin(at(WEB));
    for n in 1..=2 {
        talk(&app, WEB);
        // They are told in the order of their ends.
        ended(&relay, n);
    }
    app.run((), |()| Ok(nix::unistd::setuid(65534.into())?)).unwrap();
    let socket = app.dial(at(WEB)).unwrap();
    assert_eq!(app.recv(socket).unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
    let lines = ended(&relay, 3);
    let told: Vec<_> = lines.iter().map(|line| (line.pid, line.uid, &*line.end)).collect();
    let pid = Some(app.pid());
    let closed = (pid, Some(0), "Closed");
    assert_eq!(told, [closed, closed, (pid, Some(65534), "Denied")]);
    origin.expect(2);
}

pub(crate) fn two_vendors() {
    let lab = Lab::of(Lab::two);
    let (acme, beta, app) = (start(&lab, "acme", ""), start(&lab, "beta", ""), lab.actor("app"));
    let origin = lab.origin(at(WEB));
    let local = talk(&app, WEB);
    origin.expect(1);
    let (first, second) = (end(&acme), end(&beta));
    assert_eq!((first.hops, second.hops), (1, 2));
    assert!(first.trail.is_some() && first.trail == second.trail, "{first:?} {second:?}");
    assert_eq!(first.peer.port(), local.port());
    assert_ne!(second.peer.port(), local.port(), "its peer is acme's relay");
    for line in [first, second] {
        assert_eq!((line.pid, line.destination), (Some(app.pid()), at(WEB)));
        assert_eq!(line.exe, Some(std::env::current_exe().unwrap()));
        assert_eq!((line.bytes, &*line.end), ((4, 4), "Closed"));
    }
}

/// Behind both devices is the same address: only the device says whose.
pub(crate) fn the_applications_device() {
    let lab = acme();
    let (relay, app) = (start(&lab, "acme", ""), lab.actor("app"));
    let neighbours = ["ht0", "ht1"].map(|name| (name, lab.neighbour(name)));
    let origins = neighbours.each_ref().map(|(_, neighbour)| neighbour.origin(at(BEYOND)));
    for (n, (name, _)) in neighbours.iter().enumerate() {
        let socket = app.socket(at(BEYOND), Kind::Tcp).unwrap();
        app.set_at(socket, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name.as_bytes()).unwrap();
        app.connect(socket, at(BEYOND)).unwrap();
        app.send(socket, b"x").unwrap();
        assert_eq!(app.recv(socket).unwrap(), b"x");
        app.close(socket);
        assert_eq!(origins.each_ref().map(|origin| origin.accepted()), [1, n], "by {name}");
        assert_eq!(ended(&relay, n + 1)[n].end, "Closed");
    }
}

pub(crate) fn what_connects_to_its_port() {
    let lab = acme();
    let (relay, outsider) = (start(&lab, "acme", ""), lab.outsider());
    for (n, v4) in [true, false].into_iter().enumerate() {
        let socket = outsider.dial(listener("acme", v4)).unwrap();
        let error = outsider.recv(socket).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
        let line = ended(&relay, n + 1).remove(n);
        assert_eq!(line.end, "Direct");
        assert_eq!((line.pid, line.trail, line.hops, line.bytes), (None, None, 0, (0, 0)));
    }
}

pub(crate) fn a_blocked_destination() {
    let lab = Lab::of(|lab| {
        let mut two = lab.two();
        let relays = Some(vec![lab.cgroup("acme")]);
        two[1].filters = vec![Filter { cgroups: relays, ..Filter::all(Action::Block) }];
        two
    });
    let (relay, app) = (start(&lab, "acme", ""), lab.actor("app"));
    let origin = lab.origin(at(WEB));
    let socket = app.dial(at(WEB)).unwrap();
    let error = app.recv(socket).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    let line = end(&relay);
    assert_eq!(
        line.end,
        format!("Unreachable(Cause {{ step: Connect, errno: {} }})", libc::EACCES)
    );
    assert_eq!((line.pid, line.hops, line.destination), (Some(app.pid()), 1, at(WEB)));
    assert_eq!(origin.accepted(), 0);
}
