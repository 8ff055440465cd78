//! A relay that runs for a test, what it prints, and the echo server behind it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longer than anything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A relay; killed with the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    stderr: Receiver<String>,
    said: String,
}

impl Running {
    /// Starts it with standard error read from the beginning.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::of(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// One that was started with standard error piped.
    pub(crate) fn of(mut child: Child) -> Self {
        let stderr = lines(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// A forwarder to `to` with these options, which listens at a port of its own.
    pub(crate) fn forwarder(to: SocketAddr, options: &[&str]) -> (Self, SocketAddr) {
        Self::forwarder_of(relay(&["--forward", &to.to_string()]).args(options))
    }

    pub(crate) fn forwarder_of(command: &mut Command) -> (Self, SocketAddr) {
        let mut running = Self::start(command.args(["--listen", "127.0.0.1:0"]));
        let said = running.await_line("relay listens at ");
        let at = between(&said, "listens at ", ",").parse().unwrap();
        (running, at)
    }

    /// Waits for a line on standard error that has `what` in it.
    pub(crate) fn await_line(&mut self, what: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no \"{what}\" in:\n{}", self.said));
            self.said += &format!("{line}\n");
            if line.contains(what) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end; gives exit code and standard error.
    pub(crate) fn end(mut self) -> (i32, String) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the relay does not end; it said:\n{}", self.said);
            std::thread::sleep(Duration::from_millis(2));
        }
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        while let Ok(line) = self.stderr.recv_timeout(PATIENCE) {
            self.said += &format!("{line}\n");
        }
        (code, std::mem::take(&mut self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `hoptrail relay` with these options, standard output piped.
pub(crate) fn relay(options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hoptrail"));
    command.arg("relay").args(options).stdout(Stdio::piped()).env_remove("NOTIFY_SOCKET");
    command
}

/// Gives back every byte, and an end for an end; ends with the test program.
pub(crate) fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    at
}

pub(crate) fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `bytes` and gets them back.
pub(crate) fn exchange(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, bytes);
}

/// What an HTTP server answers.
pub(crate) fn get(at: &str, path: &str) -> String {
    get_of(at, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
}

/// What comes back for these bytes, up to the end.
pub(crate) fn get_of(at: &str, request: &[u8]) -> String {
    let mut stream = connect(at.parse().unwrap());
    stream.write_all(request).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

/// The text between two others.
pub(crate) fn between<'t>(text: &'t str, begin: &str, end: &str) -> &'t str {
    let from = text.find(begin).unwrap() + begin.len();
    let rest = &text[from..];
    &rest[..rest.find(end).unwrap_or(rest.len())]
}

/// Each line as it comes.
pub(crate) fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
