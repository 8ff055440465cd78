//! The daemon's control socket: a line of JSON asks, a line of JSON answers. Only root may connect (mode 0600).
//!
//! `{"verb":"reload"}` is answered by `{"ok":true,"generation":7}` or `{"ok":false,"error":"..."}`;
//! `{"verb":"status"}` likewise.

use crate::failure::Failure;
use crate::rundir::RunDir;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// A request is one short line, and comes at once: the daemon does not wait for a client that sleeps.
const LONGEST: u64 = 4096;
const PATIENCE: Duration = Duration::from_millis(500);
/// A reload resolves names and loads the policy.
const ANSWER: Duration = Duration::from_secs(30);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Request {
    /// Read the configuration anew.
    Reload,
    /// Which policy is loaded.
    Status,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Whether it was done.
    pub(crate) ok: bool,
    /// The policy's generation now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Answer {
    /// From what came of a request.
    pub(crate) fn of(result: Result<u64, String>) -> Self {
        match result {
            Ok(generation) => Self { ok: true, generation: Some(generation), error: None },
            Err(error) => Self { ok: false, generation: None, error: Some(error) },
        }
    }
}

/// The daemon's end. The socket is removed with it.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens; the run directory must be locked, so a socket that is there is a dead daemon's.
    pub(crate) fn open(dir: &RunDir) -> Result<Self, Failure> {
        let path = dir.socket();
        let _ = fs::remove_file(&path);
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = UnixListener::bind(&path).and_then(|l| l.set_nonblocking(true).map(|()| l));
        umask(before);
        let listener =
            listener.map_err(|e| Failure::os(format!("cannot listen at {}", path.display()), e))?;
        Ok(Self { listener, path })
    }

    /// Answers everyone who has come.
    pub(crate) fn serve(&self, mut answer: impl FnMut(Request) -> Answer) {
        while let Ok((stream, _)) = self.listener.accept() {
            // A client that goes away or talks nonsense harms only itself.
            let _ = converse(&stream, &mut answer);
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn converse(
    mut stream: &UnixStream,
    answer: &mut impl FnMut(Request) -> Answer,
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => answer(request),
        Err(e) => Answer::of(Err(format!("not a request: {e}"))),
    };
    stream.write_all((serde_json::to_string(&answer)? + "\n").as_bytes())
}

/// Asks the daemon of `dir`.
pub(crate) fn ask(dir: &RunDir, request: Request) -> Result<Answer, Failure> {
    let path = dir.socket();
    let stream = UnixStream::connect(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(format!(
            "no hoptrail daemon listens at {}; start `hoptrail daemon`, or say --run-dir",
            path.display()
        )),
        ErrorKind::PermissionDenied => {
            Failure::new(format!("{} is for root only: use sudo", path.display()))
        }
        _ => Failure::os(format!("cannot reach the daemon at {}", path.display()), e),
    })?;
    exchange(&stream, request).map_err(|e| Failure::os("the daemon did not answer", e))
}

fn exchange(mut stream: &UnixStream, request: Request) -> std::io::Result<Answer> {
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all((serde_json::to_string(&request)? + "\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn requests_are_answered_and_nonsense_is_refused() {
        let path = std::env::temp_dir().join(format!("hoptrail-control-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let dir = RunDir::at(&path);
        assert!(ask(&dir, Request::Reload).unwrap_err().to_string().contains("no hoptrail daemon"));
        let server = Server::open(&dir).unwrap();
        assert_eq!(fs::metadata(dir.socket()).unwrap().permissions().mode() & 0o777, 0o600);
        let client = {
            let dir = dir.clone();
            std::thread::spawn(move || {
                let answer = ask(&dir, Request::Reload).unwrap();
                let mut stream = UnixStream::connect(dir.socket()).unwrap();
                stream.write_all(b"{\"verb\":\"dance\"}\n").unwrap();
                let mut refusal = String::new();
                stream.read_to_string(&mut refusal).unwrap();
                (answer, refusal)
            })
        };
        let mut asked = Vec::new();
        while !client.is_finished() {
            server.serve(|request| {
                asked.push(request);
                Answer::of(Ok(7))
            });
        }
        let (answer, refusal) = client.join().unwrap();
        assert_eq!(answer, Answer { ok: true, generation: Some(7), error: None });
        assert!(refusal.contains("\"ok\":false") && refusal.contains("dance"), "{refusal}");
        assert_eq!(asked, [Request::Reload]);
        drop(server);
        assert!(!dir.socket().exists(), "the socket goes with the server");
        fs::remove_dir_all(&path).unwrap();
    }
}
