//! Handshakes with SOCKS5 servers and HTTP proxies that others wrote.

use crate::peers::{Peer, Program, greeter, patient};
use hoptrail_relay::upstream::{Handshake, HandshakeError, Upstream};
use hoptrail_testkit::lab::Net;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const V4: &str = "192.0.2.10:80";
const V6: &str = "[2001:db8::10]:80";
/// Nobody listens there.
const NOBODY: &str = "192.0.2.10:81";
const SOCKS: &str = "127.0.0.1:1080";
const HTTP: &str = "127.0.0.1:8888";

pub(crate) const DANTE: Program<'_> = Program {
    name: "danted",
    package: "dante-server",
    arguments: &["-f", "FILE"],
    configuration: "
        logoutput: stderr
        internal: 127.0.0.1 port = 1080
        external: 127.0.0.1
        socksmethod: none
        clientmethod: none
        client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
        socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
    ",
};

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Talks to the upstream as the relay does, then with the destination, to the last byte.
fn through(url: &str, to: &str, name: Option<&str>) -> Result<(), HandshakeError> {
    let upstream = Upstream::of(url).unwrap();
    let mut stream = patient(upstream.address().unwrap());
    let handshake = Handshake::named(&upstream, at(to), name).unwrap();
    let first = shake(&mut stream, handshake)?;
    let greeting = format!("hello from {to}\n");
    assert!(greeting.as_bytes().starts_with(&first), "{first:?}");
    let mut rest = vec![0; greeting.len() - first.len()];
    stream.read_exact(&mut rest).unwrap();
    assert_eq!([first, rest].concat(), greeting.as_bytes());
    stream.write_all(b"and back").unwrap();
    let mut echo = [0; 8];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"and back");
    Ok(())
}

/// Gives what came behind the handshake already.
fn shake(stream: &mut TcpStream, mut handshake: Handshake) -> Result<Vec<u8>, HandshakeError> {
    let mut bytes = [0; 4096];
    loop {
        while !handshake.output().is_empty() {
            let n = stream.write(handshake.output()).unwrap();
            handshake.sent(n);
        }
        let n = stream.read(&mut bytes).unwrap();
        if n == 0 {
            return Err(HandshakeError::Closed);
        }
        let progress = handshake.input(&bytes[..n])?;
        if progress.done {
            return Ok(bytes[progress.consumed..n].to_vec());
        }
    }
}

/// A namespace with destinations and a program.
fn scene(program: &Program<'_>, listens: &str) -> (Net, Peer) {
    let net = Net::new().unwrap();
    net.inside(|| [V4, V6].map(at).into_iter().for_each(greeter));
    let peer = Peer::start(&net, program, at(listens));
    (net, peer)
}

fn microsocks<'a>(arguments: &'a [&'a str]) -> Program<'a> {
    Program { name: "microsocks", package: "microsocks", arguments, configuration: "" }
}

/// Both families; a destination that refuses; one that gives nothing.
pub(crate) fn socks5() {
    let program = microsocks(&["-i", "127.0.0.1", "-p", "1080"]);
    let (net, _peer) = scene(&program, SOCKS);
    net.inside(|| {
        let url = format!("socks5://{SOCKS}");
        assert_eq!(through(&url, V4, None), Ok(()));
        assert_eq!(through(&url, V6, None), Ok(()));
        assert_eq!(through(&url, NOBODY, None), Err(HandshakeError::Reply(5)));
        // It is asked for no login, and may be offered one.
        assert_eq!(through(&format!("socks5://u:p@{SOCKS}"), V4, None), Ok(()));
    });
}

pub(crate) fn socks5_with_login() {
    let program = microsocks(&["-i", "127.0.0.1", "-p", "1080", "-u", "us er", "-P", "p:a@ss"]);
    let (net, _peer) = scene(&program, SOCKS);
    net.inside(|| {
        let url = |login: &str| format!("socks5://{login}{SOCKS}");
        assert_eq!(through(&url("us%20er:p%3Aa%40ss@"), V4, None), Ok(()));
        assert_eq!(through(&url("us%20er:p:a@ss@"), V6, None), Ok(()));
        let refused = [HandshakeError::LoginRefused, HandshakeError::Closed];
        let wrong = through(&url("us%20er:wrong@"), V4, None).unwrap_err();
        assert!(refused.contains(&wrong), "{wrong}");
        assert_eq!(through(&url(""), V4, None), Err(HandshakeError::LoginWanted));
    });
}

pub(crate) fn socks5_of_another_make() {
    let (net, _peer) = scene(&DANTE, SOCKS);
    net.inside(|| {
        let url = format!("socks5://{SOCKS}");
        assert_eq!(through(&url, V4, None), Ok(()));
        assert_eq!(through(&url, NOBODY, None), Err(HandshakeError::Reply(5)));
    });
}

/// The server looks the name up; without one it is given the address.
pub(crate) fn socks5_by_name() {
    let program = microsocks(&["-i", "127.0.0.1", "-p", "1080"]);
    let (net, _peer) = scene(&program, SOCKS);
    net.inside(|| {
        let url = format!("socks5h://{SOCKS}");
        assert_eq!(through(&url, V4, Some("192.0.2.10")), Ok(()));
        assert_eq!(through(&url, V4, None), Ok(()));
        assert!(through(&url, V4, Some("no-such-name.invalid")).is_err());
    });
}

fn tinyproxy(more: &str) -> String {
    format!("Port 8888\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\n{more}\n")
}

fn http(configuration: &str) -> Program<'_> {
    let (name, package) = ("tinyproxy", "tinyproxy-bin");
    Program { name, package, arguments: &["-d", "-c", "FILE"], configuration }
}

pub(crate) fn http_connect() {
    let configuration = tinyproxy("ConnectPort 80\nConnectPort 81");
    let (net, _peer) = scene(&http(&configuration), HTTP);
    net.inside(|| {
        let url = format!("http://{HTTP}");
        assert_eq!(through(&url, V4, None), Ok(()));
        assert_eq!(through(&url, V6, None), Ok(()));
        let status = |to| match through(&url, to, None) {
            Err(HandshakeError::Status { code, .. }) => code,
            other => panic!("{to}: {other:?}"),
        };
        assert_eq!(status(NOBODY), 500);
        assert_eq!(status("192.0.2.10:82"), 403);
    });
}

pub(crate) fn http_connect_with_login() {
    let configuration = tinyproxy("BasicAuth user pa55");
    let (net, _peer) = scene(&http(&configuration), HTTP);
    net.inside(|| {
        let url = |login: &str| format!("http://{login}{HTTP}");
        assert_eq!(through(&url("user:pa55@"), V4, None), Ok(()));
        for login in ["", "user:wrong@"] {
            let error = through(&url(login), V4, None).unwrap_err();
            assert_eq!(error.errno(), libc::EACCES, "{error}");
        }
    });
}
