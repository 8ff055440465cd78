//! A rule needs the name that a client asks for, and the client does not say it.

use crate::running::{end, start};
use crate::server::{GREETING, Server};
use hoptrail_testkit::lab::{Actor, Lab, at};
use std::io::ErrorKind;
use std::time::Duration;

const WEB: &str = "192.0.2.10:80";

fn scene(patience: &str) -> (Lab, Actor, Actor, Server) {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let settings =
        format!("patience = \"{patience}\"\n[[rule]]\naction = \"deny\"\nname = \"bad.example\"\n");
    let (relay, app) = (start(&lab, "acme", &settings), lab.actor("app"));
    let server = Server::start(&lab, at(WEB));
    (lab, relay, app, server)
}

/// Neither the client's first byte nor the server's greeting.
pub(crate) fn nothing_passes_before_it_is_decided() {
    let (_lab, relay, app, server) = scene("1h");
    let socket = app.dial(at(WEB)).unwrap();
    app.send(socket, b"G").unwrap();
    // A relay that lets something through has time to do so.
    std::thread::sleep(Duration::from_millis(300));
    app.send(socket, b"ET / HTTP/1.1\r\nHost: bad.example\r\n\r\n").unwrap();
    let error = app.recv(socket).expect_err("not even the greeting");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    let heard = server.heard();
    assert_eq!((&*heard.bytes, heard.end), (&b""[..], Some(Err(ErrorKind::ConnectionReset))));
    let line = end(&relay);
    assert_eq!((&*line.end, line.rule, line.bytes), ("Denied", Some(1), (0, 0)), "{line:?}");
}

/// What is said by neither side in time is no name: the rule does not match.
fn undecided(first: &[u8]) {
    let (_lab, relay, app, server) = scene("200ms");
    let socket = app.dial(at(WEB)).unwrap();
    if !first.is_empty() {
        app.send(socket, first).unwrap();
    }
    let wanted = [GREETING, first].concat();
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        got.extend(app.recv(socket).unwrap());
    }
    assert_eq!(got, wanted);
    app.close(socket);
    let heard = server.heard();
    assert_eq!((&*heard.bytes, heard.end), (first, Some(Ok(()))));
    let line = end(&relay);
    assert_eq!((&*line.end, line.rule, line.name), ("Closed", None, None));
    assert_eq!(line.bytes, (first.len() as u64, wanted.len() as u64));
}

pub(crate) fn a_silent_client() {
    undecided(b"");
}

pub(crate) fn a_client_that_waits_after_one_byte() {
    undecided(b"G");
}
