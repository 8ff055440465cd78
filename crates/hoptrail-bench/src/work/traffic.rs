//! Traffic over one established connection.

use super::since;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const CHUNK: usize = 128 << 10;
const MESSAGE: usize = 64;
/// Before it counts: the window opens.
const WARM_UP: Duration = Duration::from_millis(20);

/// Writes without pause; gives the bytes per second of each spell.
pub(super) fn stream(to: SocketAddr, spells: u32, millis: u64) -> io::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(to)?;
    let chunk = vec![0x5a; CHUNK];
    spell(&mut stream, &chunk, WARM_UP)?;
    (0..spells).map(|_| spell(&mut stream, &chunk, Duration::from_millis(millis))).collect()
}

fn spell(stream: &mut TcpStream, chunk: &[u8], length: Duration) -> io::Result<f64> {
    let start = Instant::now();
    let mut bytes = 0;
    loop {
        stream.write_all(chunk)?;
        bytes += chunk.len();
        let elapsed = start.elapsed();
        if elapsed >= length {
            return Ok(bytes as f64 / elapsed.as_secs_f64());
        }
    }
}

/// Request and response; gives the time of each pair.
pub(super) fn ping_pong(to: SocketAddr, count: u32) -> io::Result<Vec<u32>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let mut message = [0x5a; MESSAGE];
    (0..count)
        .map(|_| {
            let start = Instant::now();
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
            Ok(since(start))
        })
        .collect()
}
