//! connect(2), timed alone.

use super::since;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A socket whose close is a reset: it leaves no TIME_WAIT behind, so that ports do not run out and
/// the search for a free one takes the same time in every round.
fn socket(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

/// Each connection is closed before the next is made; gives the time of each connect(2).
pub(super) fn one_by_one(to: SocketAddr, count: u32) -> io::Result<Vec<u32>> {
    let address = SockAddr::from(to);
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let socket = socket(to)?;
        let start = Instant::now();
        socket.connect(&address)?;
        times.push(since(start));
    }
    Ok(times)
}

pub(super) fn many(to: SocketAddr, count: u32) -> io::Result<Vec<Socket>> {
    let address = SockAddr::from(to);
    (0..count)
        .map(|_| {
            let socket = socket(to)?;
            socket.connect(&address)?;
            Ok(socket)
        })
        .collect()
}
