//! Real servers, and a chain of relays before them.

use crate::route::{Buffers, RunningRelay, address, listener};
use hoptrail_relay::ledger::End;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server. Dropping it ends it.
pub(crate) struct Service {
    child: Child,
    pub(crate) at: SocketAddr,
    _files: tempfile::TempDir,
}

/// Three relays, one behind the other.
pub(crate) struct Chain(Vec<RunningRelay>);

pub(crate) fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Exit status and output of a shell command.
pub(crate) fn sh(command: &str, at: SocketAddr) -> (Option<i32>, String) {
    let output = Command::new("timeout")
        .args(["100", "bash", "-o", "pipefail", "-c", command])
        .env("A", at.to_string())
        .env("P", at.port().to_string())
        .env("PATH", format!("/usr/sbin:{}", std::env::var("PATH").unwrap()))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Service {
    pub(crate) fn nginx(root: &Path) -> Self {
        Self::start(|port, files| {
            let (root, files) = (root.display(), files.display());
            let config = format!(
                "daemon off; user root; pid {files}/pid; error_log {files}/error; events {{ worker_connections 4096; }}\n\
                 http {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096; root {root}; }} }}\n"
            );
            std::fs::write(format!("{files}/conf"), config).unwrap();
            format!("exec nginx -e {files}/error -c {files}/conf")
        })
    }

    pub(crate) fn openssl() -> Self {
        Self::start(|port, files| {
            let files = files.display();
            format!(
                "openssl req -x509 -newkey rsa:2048 -nodes -keyout {files}/k -out {files}/c -subj /CN=t 2>/dev/null; \
                 exec openssl s_server -quiet -accept 127.0.0.1:{port} -key {files}/k -cert {files}/c -www"
            )
        })
    }

    pub(crate) fn iperf3() -> Self {
        Self::start(|port, _| format!("exec iperf3 -s -B 127.0.0.1 -p {port} > /dev/null"))
    }

    pub(crate) fn redis() -> Self {
        Self::start(|port, files| {
            let files = files.display();
            format!(
                "exec redis-server --bind 127.0.0.1 --port {port} --save '' --dir {files} > /dev/null"
            )
        })
    }

    fn start(command: impl FnOnce(u16, &Path) -> String) -> Self {
        let files = tempfile::tempdir().unwrap();
        let at = address(&listener(Buffers::default()));
        let child = Command::new("bash")
            .args(["-c", &command(at.port(), files.path())])
            .env("PATH", format!("/usr/sbin:{}", std::env::var("PATH").unwrap()))
            .spawn()
            .unwrap();
        let service = Self { child, at, _files: files };
        let since = Instant::now();
        while TcpStream::connect(at).is_err() {
            assert!(since.elapsed() < Duration::from_secs(60), "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // nginx ends its workers at SIGTERM alone.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

impl Chain {
    pub(crate) fn to(service: SocketAddr) -> Self {
        let mut chain = vec![RunningRelay::to(service, |_| {})];
        for n in 0..2 {
            chain.push(RunningRelay::to(chain[n].at, |_| {}));
        }
        Self(chain)
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.0.last().unwrap().at
    }

    /// Connections that have come through.
    pub(crate) fn connections(&self) -> u64 {
        self.0[0].record.opened()
    }

    /// Ends that are the relays' own failures.
    pub(crate) fn failures(&self) -> Vec<String> {
        let own = |end: &End| {
            matches!(
                end,
                End::Failed(_) | End::Unreachable(_) | End::Idle | End::Drained | End::Denied
            )
        };
        self.0
            .iter()
            .flat_map(|relay| relay.record.ends(relay.record.ended()))
            .filter(|(_, end)| own(end))
            .map(|(ledger, end)| format!("{end:?}: {ledger:?}"))
            .collect()
    }
}
