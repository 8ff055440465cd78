//! A server that speaks first and remembers what it was told.

use hoptrail_testkit::lab::{Lab, eventually};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it says first: the begin of more than one protocol's greeting, so that it decides nothing.
pub(crate) const GREETING: &[u8] = b"22";

/// Serves one connection.
pub(crate) struct Server(Arc<Mutex<Heard>>);

/// What came, and how it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: Option<Result<(), ErrorKind>>,
}

impl Server {
    /// Sends back what it gets, behind the greeting.
    pub(crate) fn start(lab: &Lab, at: SocketAddr) -> Self {
        let listener = lab.inside(|| TcpListener::bind(at)).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            let end = serve(&listener, &shared).map_err(|error| error.kind());
            shared.lock().unwrap().end = Some(end);
        });
        Self(heard)
    }

    /// When the connection has ended.
    pub(crate) fn heard(&self) -> Heard {
        eventually("the server's connection ends", || self.0.lock().unwrap().end.is_some());
        self.0.lock().unwrap().clone()
    }
}

fn serve(listener: &TcpListener, heard: &Mutex<Heard>) -> std::io::Result<()> {
    let mut stream: TcpStream = listener.accept()?.0;
    stream.write_all(GREETING)?;
    let mut bytes = [0; 4096];
    loop {
        let n = stream.read(&mut bytes)?;
        if n == 0 {
            return Ok(());
        }
        heard.lock().unwrap().bytes.extend_from_slice(&bytes[..n]);
        stream.write_all(&bytes[..n])?;
    }
}
