//! `examples/winsock_proxy.c` as providers' proxies: compiled against the header, run as a user would.

use crate::client::CURL;
use crate::process::Said;
use crate::stage::{Stage, provider, provider_with, python_proxy};
use hoptrail_testkit::lab::cc;
use hoptrail_testkit::lab::need;
use std::path::{Path, PathBuf};

const CONFIG: &str = include_str!("../../../../examples/winsock.toml");

/// Sends a request, ends its own direction, and reads to the other's end.
const HALF_CLOSE: &str = r#"
import socket
s = socket.create_connection(("192.0.2.10", 80), timeout=10)
s.sendall(b"GET / HTTP/1.1\r\nHost: o\r\n\r\n")
s.shutdown(socket.SHUT_WR)
said = b""
while part := s.recv(4096):
    said += part
print(said.partition(b"\r\n\r\n")[2].decode().strip())
"#;

/// The executable, where the example's configuration has `target/winsock_proxy`.
fn built(stage: &Stage) -> PathBuf {
    let executable = stage.dir.path().join("winsock_proxy");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/winsock_proxy.c");
    let program =
        cc::Program { executable: &executable, sources: &[source], headers: &[], flags: &["-O2"] };
    program.compile().unwrap();
    executable
}

/// As a provider's command.
fn command(executable: &Path, name: &str, port: u16, overlapped: bool) -> String {
    let more = if overlapped { ", \"--overlapped\"" } else { "" };
    format!("command = [{executable:?}, \"{port}\", \"--name\", \"{name}\"{more}]")
}

pub(crate) fn the_example_works_as_two_providers() {
    let stage = Stage::new();
    let executable = built(&stage);
    let place = executable.to_str().unwrap();
    let config = stage.file("t.toml", &CONFIG.replace("target/winsock_proxy", place));
    let output = stage.run(&config, &[&["--"], &CURL[..]].concat());
    let said = output.err();
    assert_eq!((output.code(), &*output.out()), (0, "directly\n"), "{said}");
    assert_eq!(stage.origin.new_connections(), 1);
    let hops: Vec<_> = said.lines().filter(|l| l.starts_with("   ")).collect();
    assert!(
        hops.len() == 3 && hops[1].ends_with(" declared") && hops[2].ends_with(" declared"),
        "{said}"
    );
    assert!(hops[2].contains("192.0.2.10:80 reached from beta's winsock_proxy["), "{said}");
}

pub(crate) fn it_shares_a_connection_with_other_proxies() {
    let stage = Stage::new();
    let executable = built(&stage);
    let config = provider("first", 400, 15870, "")
        + &provider_with("acme", 300, 15871, "", &command(&executable, "acme", 15871, true))
        + &provider_with("beta", 200, 15872, "", &python_proxy("beta", 15872))
        + &provider_with("gamma", 100, 15873, "", &command(&executable, "gamma", 15873, false));
    let config = stage.file("t.toml", &config);
    for _ in 0..3 {
        let output = stage.run(&config, &[&["--"], &CURL[..]].concat());
        assert_eq!((output.code(), &*output.out()), (0, "through first\n"), "{}", output.err());
        let declared = output.err().lines().filter(|l| l.ends_with(" declared")).count();
        assert_eq!(declared, 4, "{}", output.err());
    }
    assert_eq!(stage.origin.new_connections(), 3);
}

pub(crate) fn it_passes_ends_and_failures_on() {
    need("python3", "python3");
    let stage = Stage::new();
    let executable = built(&stage);
    for overlapped in [false, true] {
        let who = command(&executable, "acme", 15871, overlapped);
        let acme =
            provider_with("acme", 200, 15871, "", &who).replace("ports = 80", "ports = [80, 81]");
        let config = stage.file("t.toml", &acme);
        let output = stage.run(&config, &["--", "python3", "-c", HALF_CLOSE]);
        assert_eq!((output.code(), &*output.out()), (0, "directly\n"), "{}", output.err());
        // Nothing listens there: the application sees a reset (56; 7 when it comes at once), and no empty answer (52).
        let refused: Vec<_> =
            CURL.iter().map(|arg| arg.replace("192.0.2.10/", "192.0.2.10:81/")).collect();
        let refused: Vec<_> = refused.iter().map(String::as_str).collect();
        let output = stage.run(&config, &[&["--"], &refused[..]].concat());
        assert!(matches!(output.code(), 7 | 56), "{}", output.err());
    }
}
