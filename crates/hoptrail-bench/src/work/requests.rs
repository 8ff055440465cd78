//! Connections with one request each, and connections that are held.

use super::answer::{LAST, MESSAGE, MORE};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const SILENCE: Duration = Duration::from_secs(5);
/// Answers that are waited for together: it spares wake-ups.
const BATCH: usize = 256;

/// How many connections `clients` made in `millis`, and the nanoseconds they took.
pub(super) fn run(to: SocketAddr, clients: u32, millis: u64) -> io::Result<(u64, u64)> {
    let start = Instant::now();
    let end = start + Duration::from_millis(millis);
    let counts: io::Result<Vec<u64>> = thread::scope(|scope| {
        let others: Vec<_> = (1..clients).map(|_| scope.spawn(move || client(to, end))).collect();
        let own = client(to, end);
        let joined = others.into_iter().map(|client| {
            client.join().map_err(|_| io::Error::other("a client panicked")).flatten()
        });
        [own].into_iter().chain(joined).collect()
    });
    let took = start.elapsed().as_nanos() as u64;
    Ok((counts?.iter().sum(), took))
}

/// One connection after another.
fn client(to: SocketAddr, end: Instant) -> io::Result<u64> {
    let mut count = 0;
    while Instant::now() < end {
        one(to)?;
        count += 1;
    }
    Ok(count)
}

/// Connect, ask, read to the end: whoever answers closes first.
fn one(to: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(&[LAST; MESSAGE])?;
    let mut answer = [0; MESSAGE + 1];
    let mut filled = 0;
    loop {
        match stream.read(&mut answer[filled..])? {
            0 if answer[..MESSAGE] == [LAST; MESSAGE] && filled == MESSAGE => return Ok(()),
            0 => return Err(io::Error::other(format!("{filled} bytes came back and the end"))),
            n => filled += n,
        }
    }
}

/// Makes connections, round about to all of `to`, and uses each once.
pub(super) fn hold(to: &[SocketAddr], count: u32, held: &mut Vec<TcpStream>) -> io::Result<()> {
    for first in (0..count as usize).step_by(BATCH) {
        let batch = BATCH.min(count as usize - first);
        let begin = held.len();
        for address in to.iter().cycle().skip(begin % to.len()).take(batch) {
            let stream = TcpStream::connect(address)?;
            // Closed by a reset: no port waits in TIME_WAIT for the next measurement.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            stream.set_read_timeout(Some(SILENCE))?;
            held.push(stream);
        }
        let answered = probe(&mut held[begin..])?;
        if answered != batch as u64 {
            return Err(io::Error::other(format!(
                "after {begin} connections, {} of {batch} new ones do not answer",
                batch as u64 - answered
            )));
        }
    }
    Ok(())
}

/// How many answer.
pub(super) fn probe(held: &mut [TcpStream]) -> io::Result<u64> {
    let mut answered = 0;
    for batch in held.chunks_mut(BATCH) {
        let asked: Vec<bool> =
            batch.iter_mut().map(|stream| stream.write_all(&[MORE; MESSAGE]).is_ok()).collect();
        for (stream, asked) in batch.iter_mut().zip(asked) {
            let mut answer = [0; MESSAGE];
            answered += u64::from(asked && stream.read_exact(&mut answer).is_ok());
        }
    }
    Ok(answered)
}
