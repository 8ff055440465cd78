//! What a relay does not let through.

use crate::running::{end, ended, start};
use crate::server::{GREETING, Server};
use hoptrail_testkit::lab::{Lab, at};
use std::io::{self, ErrorKind, Write};
use std::process::{Command, Stdio};

const WEB: &str = "192.0.2.10:80";
const ANSWERED: &str =
    "[[rule]]\naction = \"deny\"\nname = \"bad.example\"\ndeny-with = \"answer\"\n";

/// curl's exit code and what it prints, for a request with that many bytes behind it.
fn curl(bytes: usize) -> io::Result<(Option<i32>, String)> {
    let mut command = Command::new("curl");
    command.args(["-q", "-sS", "--noproxy", "*", "-m", "60", "-w", "status %{http_code}"]);
    command.args(["-H", "Host: bad.example", "-H", "Expect:", "http://192.0.2.10/"]);
    if bytes > 0 {
        command.args(["--data-binary", "@-"]);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // curl may end before it has read all.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(&vec![b'x'; bytes]));
    let output = child.wait_with_output()?;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

pub(crate) fn a_denied_client_gets_its_whole_answer() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let (relay, app) = (start(&lab, "acme", ANSWERED), lab.actor("app"));
    let origin = lab.origin(at(WEB));
    for (n, bytes) in [0, 500_000].into_iter().enumerate() {
        let got = app.run(bytes, curl).expect("curl: apt-get install curl");
        let page = "Denied by a rule of the Hoptrail relay\nstatus 403".to_owned();
        assert_eq!(got, (Some(0), page), "with {bytes} bytes");
        let line = ended(&relay, n + 1).remove(n);
        assert_eq!((&*line.end, line.rule, line.bytes.0), ("Denied", Some(1), 0), "{line:?}");
        assert_eq!(line.name.as_deref(), Some("bad.example"));
        assert_eq!(line.hops, 1);
    }
    assert!(origin.accepted() <= 2);
}

/// It says all that it has to say, and hears the answer then.
pub(crate) fn a_client_that_writes_before_it_reads() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let (relay, app) = (start(&lab, "acme", ANSWERED), lab.actor("app"));
    let _origin = lab.origin(at(WEB));
    let socket = app.dial(at(WEB)).unwrap();
    app.send(socket, b"POST / HTTP/1.1\r\nHost: bad.example\r\nContent-Length: 100000\r\n\r\n")
        .unwrap();
    for _ in 0..10 {
        assert_eq!(app.send(socket, &[b'x'; 10_000]).unwrap(), 10_000);
    }
    let mut answer = Vec::new();
    loop {
        match app.recv(socket).unwrap() {
            bytes if bytes.is_empty() => break,
            bytes => answer.extend(bytes),
        }
    }
    app.close(socket);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nDenied by a rule of the Hoptrail relay\n"), "{answer}");
    assert_eq!(end(&relay).end, "Denied");
}

/// What the application says up to the pattern's last byte has passed; that byte has not.
pub(crate) fn a_watched_pattern_resets_both() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let settings = "inspect = \"all\"\nwatch = [\"SECRET\"]\non-match = \"deny\"\n";
    let (relay, app) = (start(&lab, "acme", settings), lab.actor("app"));
    let server = Server::start(&lab, at(WEB));
    let socket = app.dial(at(WEB)).unwrap();
    assert_eq!(app.recv(socket).unwrap(), GREETING);
    app.send(socket, b"a SECRE").unwrap();
    assert_eq!(app.recv(socket).unwrap(), b"a SECRE");
    app.send(socket, b"T").unwrap();
    let error = app.recv(socket).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    let heard = server.heard();
    assert_eq!(heard.bytes, b"a SECRE");
    assert_eq!(heard.end, Some(Err(ErrorKind::ConnectionReset)));
    let line = end(&relay);
    assert_eq!((&*line.end, line.watched, line.bytes.0), ("Denied", Some(1), 7), "{line:?}");
    assert_eq!(line.pid, Some(app.pid()));
}

pub(crate) fn a_pattern_from_the_server_resets_both() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let settings = "inspect = \"all\"\nwatch = [\"SECRET\", \"22\"]\non-match = \"deny\"\n";
    let (relay, app) = (start(&lab, "acme", settings), lab.actor("app"));
    let server = Server::start(&lab, at(WEB));
    let socket = app.dial(at(WEB)).unwrap();
    let error = app.recv(socket).expect_err("the greeting has the pattern");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    assert_eq!(server.heard().end, Some(Err(ErrorKind::ConnectionReset)));
    let line = end(&relay);
    assert_eq!((&*line.end, line.watched, line.bytes), ("Denied", Some(2), (0, 0)), "{line:?}");
}
