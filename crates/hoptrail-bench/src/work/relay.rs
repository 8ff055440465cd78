//! The smallest relay: accept, dial, close. With records it is what the library's users write; without,
//! the same by the standard library.

use super::since;
use crate::wire::Dial;
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Relays connections that wait already; gives the time of each, from accept(2) to both closed.
pub(super) fn run(listener: &TcpListener, dial: Dial, count: u32) -> io::Result<Vec<u32>> {
    match dial {
        Dial::Records => {
            let listener = hoptrail::Listener::from(listener.try_clone()?);
            times(count, || with_records(&listener))
        }
        Dial::Plain(to) => times(count, || plain(listener, to)),
    }
}

fn times(count: u32, mut relay: impl FnMut() -> io::Result<()>) -> io::Result<Vec<u32>> {
    (0..count)
        .map(|_| {
            let start = Instant::now();
            relay()?;
            Ok(since(start))
        })
        .collect()
}

fn with_records(listener: &hoptrail::Listener) -> io::Result<()> {
    let connection = listener.accept().map_err(io::Error::other)?;
    let upstream = connection.redirect.dial().map_err(io::Error::other)?;
    close(connection.stream, upstream)
}

fn plain(listener: &TcpListener, to: SocketAddr) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    let upstream = TcpStream::connect(to)?;
    upstream.set_nodelay(true)?;
    close(stream, upstream)
}

/// With resets, for the sake of the ports.
fn close(stream: TcpStream, upstream: TcpStream) -> io::Result<()> {
    for stream in [&stream, &upstream] {
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}
