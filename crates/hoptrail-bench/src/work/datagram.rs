//! sendto(2) of UDP. The receiver reads only after a batch, so that no wake-up is part of what is timed.

use super::since;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

const MESSAGE: [u8; 64] = [0x5a; 64];

/// The first datagram, which decides about the flow, is not in the times.
pub(super) fn send(to: SocketAddr, count: u32) -> io::Result<Vec<u32>> {
    let any = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
    let socket = UdpSocket::bind(any)?;
    socket.send_to(&MESSAGE, to)?;
    (0..count)
        .map(|_| {
            let start = Instant::now();
            socket.send_to(&MESSAGE, to)?;
            Ok(since(start))
        })
        .collect()
}

/// How many have come since the last time.
pub(super) fn receive(socket: &UdpSocket) -> io::Result<u64> {
    let mut buffer = [0; MESSAGE.len()];
    let mut count = 0;
    loop {
        match socket.recv_from(&mut buffer) {
            Ok(_) => count += 1,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(count),
            Err(e) => return Err(e),
        }
    }
}
