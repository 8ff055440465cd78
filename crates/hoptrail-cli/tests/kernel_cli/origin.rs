//! The destination: an HTTP server that says through whom a request came.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// It runs on threads of the test, outside of the test's cgroup.
pub(crate) struct Origin {
    connections: Arc<AtomicUsize>,
}

impl Origin {
    /// Serves at `at`, in this thread's network namespace.
    pub(crate) fn start(at: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(at)?;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(&stream));
            }
        });
        Ok(Self { connections })
    }

    /// How many connections it has had since this was asked last.
    pub(crate) fn new_connections(&self) -> usize {
        self.connections.swap(0, Ordering::SeqCst)
    }
}

/// Answers every request with `through A, B` or `directly`.
fn serve(mut stream: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let mut through = Vec::new();
        loop {
            let Some(line) = lines.next().transpose()? else { return Ok(()) };
            if line.is_empty() {
                break;
            }
            through.extend(line.strip_prefix("Via: 1.1 ").map(str::to_owned));
        }
        let said = match through.as_slice() {
            [] => "directly".to_owned(),
            all => format!("through {}", all.join(", ")),
        };
        let length = said.len() + 1;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{said}\n");
        stream.write_all(answer.as_bytes())?;
    }
}
