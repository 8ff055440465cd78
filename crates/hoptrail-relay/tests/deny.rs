//! Denials as real clients see them: curl and openssl.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail_relay::inspect::{self, Look};
use hoptrail_relay::rules::deny;
use hoptrail_testkit::lab::{need, run_anywhere};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, ExitCode, Output, Stdio};

fn main() -> ExitCode {
    run_anywhere(&[
        ("http1_gets_a_page", http1_gets_a_page),
        ("http1_head_gets_no_body", http1_head_gets_no_body),
        ("a_tunnel_is_refused", a_tunnel_is_refused),
        ("tls_gets_an_alert", tls_gets_an_alert),
        ("http2_is_sent_away", http2_is_sent_away),
    ])
}

/// Runs a client against a listener that answers what it says first with the denial. `PORT` in its words is the
/// listener's.
fn denied(program: &str, words: &[&str]) -> Output {
    need(program, program);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let words = words.iter().map(|word| word.replace("PORT", &port.to_string()));
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A second connection would be a client that tries again: nobody accepts it, so it is refused.
    let client = command.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    drop(listener);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let finding = loop {
        match inspect::client(&bytes, port) {
            Look::Found(finding) => break finding,
            Look::More => {
                let read = stream.read(&mut buffer).unwrap();
                assert_ne!(read, 0, "the client ended");
                bytes.extend_from_slice(&buffer[..read]);
            }
        }
    };
    stream.write_all(deny::answer(&finding).unwrap()).unwrap();
    // A client that has closed already needs no end.
    let _ = stream.shutdown(Shutdown::Write);
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    client.wait_with_output().unwrap()
}

fn curl(words: &[&str]) -> (Option<i32>, String, String) {
    let always = ["-q", "-sS", "-k", "--noproxy", "*", "-m", "60", "-w", "status %{http_code}"];
    let output = denied("curl", &[&always, words].concat());
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn http1_gets_a_page() {
    let (code, out, err) = curl(&["http://127.0.0.1:PORT/x"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "Denied by a rule of the Hoptrail relay\nstatus 403"),
        "{err}"
    );
    let (code, out, err) = curl(&["-d", "k=v", "http://127.0.0.1:PORT/x"]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "Denied by a rule of the Hoptrail relay\nstatus 403"),
        "{err}"
    );
    let (code, _, err) = curl(&["-f", "http://127.0.0.1:PORT/x"]);
    assert_eq!(code, Some(22), "{err}");
}

fn http1_head_gets_no_body() {
    let (code, out, err) = curl(&["-I", "http://127.0.0.1:PORT/x"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.ends_with("\r\n\r\nstatus 403"), "{out}");
}

fn a_tunnel_is_refused() {
    let proxied = ["-x", "http://127.0.0.1:PORT", "--noproxy", "", "https://a.example/"];
    let (code, _, err) = curl(&proxied);
    assert_eq!(code, Some(56), "{err}");
    assert!(err.contains("403"), "{err}");
}

fn tls_gets_an_alert() {
    let (code, _, err) = curl(&["https://127.0.0.1:PORT/x"]);
    assert_eq!(code, Some(35), "{err}");
    assert!(err.contains("access denied"), "{err}");
    for version in ["-tls1_2", "-tls1_3"] {
        let words = ["s_client", "-connect", "127.0.0.1:PORT", "-servername", "a.example", version];
        let output = denied("openssl", &words);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("access denied") && err.contains("alert number 49"), "{err}");
    }
}

fn http2_is_sent_away() {
    let (code, _, err) = curl(&["--http2-prior-knowledge", "http://127.0.0.1:PORT/x"]);
    assert_ne!(code, Some(0), "{err}");
    assert_ne!(code, Some(7), "it tried again: {err}");
    assert_ne!(code, Some(28), "it waited: {err}");
}
