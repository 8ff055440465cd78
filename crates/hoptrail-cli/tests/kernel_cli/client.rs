//! Clients: curl for one request, and one that keeps its connection and asks when it is told to.

use crate::process::{Running, Said, line};
use crate::stage::Stage;
use hoptrail_testkit::lab::need;
use std::io::{BufReader, Write};
use std::process::{ChildStdout, Stdio};

/// curl with nothing of the user's own settings.
pub(crate) const CURL: [&str; 8] =
    ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", "10", "http://192.0.2.10/"];

const HOLD: &str = r#"
import socket, sys
s = socket.create_connection(("192.0.2.10", 80), timeout=10)
for _ in iter(sys.stdin.readline, ""):
    s.sendall(b"GET / HTTP/1.1\r\nHost: o\r\n\r\n")
    said = b""
    while not said.partition(b"\r\n\r\n")[2].endswith(b"\n"):
        part = s.recv(4096)
        if not part: sys.exit("closed")
        said += part
    print(said.partition(b"\r\n\r\n")[2].decode().strip(), flush=True)
"#;

impl Stage {
    /// What curl gets, run in the cgroup `apps`.
    pub(crate) fn get(&self) -> String {
        let output = self.output("apps", &CURL);
        if output.code() == 0 {
            output.out().trim().to_owned()
        } else {
            output.err().trim().to_owned()
        }
    }
}

/// A connection that stays open.
pub(crate) struct Held {
    running: Running,
    lines: BufReader<ChildStdout>,
}

impl Held {
    pub(crate) fn open(stage: &Stage) -> Self {
        need("python3", "python3");
        let mut command = stage.command("apps", &["python3", "-c", HOLD]);
        let mut running = stage.start(command.stdin(Stdio::piped()).stderr(Stdio::inherit()));
        let lines = running.lines();
        let mut held = Self { running, lines };
        assert_eq!(held.ask(), "directly", "the example's proxies add nothing to a request");
        held
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// One more request on the same connection.
    pub(crate) fn ask(&mut self) -> String {
        writeln!(self.running.0.stdin.as_mut().unwrap()).unwrap();
        line(&mut self.lines)
    }
}
