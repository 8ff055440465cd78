//! Connections with one request each, and connections that are held.

use super::answer::{LAST, MESSAGE, MORE};
use socket2::{Domain, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
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
            let stream = connect_from(source(held.len()), *address)?;
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

/// One of some addresses, as ports are searched for ever longer when most of one address are taken.
fn source(number: usize) -> Ipv4Addr {
    let [a, b, c, d] = crate::netns::BASE.octets();
    Ipv4Addr::new(a, b, c, d + 100 + (number % 4) as u8)
}

/// Closed by a reset: no port waits in TIME_WAIT for the next measurement.
fn connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_linger(Some(Duration::ZERO))?;
    port_at_connect(&socket)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// A port taken by bind(2) would be taken for every destination.
#[expect(unsafe_code, reason = "the socket library has no IP_BIND_ADDRESS_NO_PORT")]
fn port_at_connect(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open; the value is a live int of the size given, which the kernel reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
