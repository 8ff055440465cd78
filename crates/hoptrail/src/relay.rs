//! Copies between two connections until both have ended: one thread, half-close and resets kept.

use crate::error::{Error, Operation, Result};
use crate::reset;
use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

const BUFFER_BYTES: usize = 64 * 1024;
/// Reads of one direction before the other has its turn.
const TURN: usize = 8;

/// How a relayed pair of connections ended.
#[derive(Debug)]
#[must_use]
pub struct Relayed {
    /// Bytes that the first connection sent and the second one was given.
    pub from_first: u64,
    /// Bytes that the second connection sent and the first one was given.
    pub from_second: u64,
    /// What ended it, unless both sides ended by themselves. Both were then closed with a reset.
    pub error: Option<Error>,
}

/// One way.
struct Direction {
    buffer: Box<[u8]>,
    filled: std::ops::Range<usize>,
    bytes: u64,
    /// The source has nothing more to say, and the target was told so.
    ended: bool,
}

/// Copies both ways until both sides have ended. The end of one side's data is passed on while the
/// other still flows; when one side is reset, so is the other.
pub fn relay(first: TcpStream, second: TcpStream) -> Relayed {
    let mut ways = [Direction::new(), Direction::new()];
    let error = copy(&first, &second, &mut ways).map_err(Error::of(Operation::Relay)).err();
    if error.is_some() {
        for stream in [&first, &second] {
            // Where the option is refused, an ordinary close is the best that is left.
            let _: Result<()> = reset::on_close(stream);
        }
    }
    Relayed { from_first: ways[0].bytes, from_second: ways[1].bytes, error }
}

fn copy(first: &TcpStream, second: &TcpStream, ways: &mut [Direction; 2]) -> io::Result<()> {
    for stream in [first, second] {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    loop {
        ways[0].pump(first, second)?;
        ways[1].pump(second, first)?;
        if ways.iter().all(|way| way.ended) {
            return Ok(());
        }
        let [up, down] = &*ways;
        wait([(first, up, down), (second, down, up)])?;
    }
}

impl Direction {
    fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES].into(), filled: 0..0, bytes: 0, ended: false }
    }

    /// Moves what can be moved without waiting, for one turn.
    fn pump(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        for _ in 0..TURN {
            while !self.filled.is_empty() {
                let Some(n) = unless_blocked(to.write(&self.buffer[self.filled.clone()]))? else {
                    return Ok(());
                };
                self.filled.start += n;
                self.bytes += n as u64;
            }
            if self.ended {
                return Ok(());
            }
            let Some(n) = unless_blocked(from.read(&mut self.buffer))? else {
                return Ok(());
            };
            if n == 0 {
                // At once: after a turn's last read nothing would wake this direction again.
                self.ended = true;
                return to.shutdown(Shutdown::Write);
            }
            self.filled = 0..n;
        }
        Ok(())
    }

    fn wants_to_read(&self) -> bool {
        self.filled.is_empty() && !self.ended
    }
}

/// Waits until a socket, given with what leaves it and what enters it, can go on or has failed.
fn wait(sockets: [(&TcpStream, &Direction, &Direction); 2]) -> io::Result<()> {
    let watched = sockets.map(|(stream, out, into)| {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, out.wants_to_read());
        events.set(PollFlags::OUT, !into.filled.is_empty());
        // Without events poll(2) still tells of a reset. Once both directions of a socket are shut
        // it would tell of that without end.
        (!events.is_empty() || !into.ended).then_some((stream, events))
    });
    let mut polled: Vec<_> =
        watched.iter().flatten().map(|&(stream, events)| PollFd::new(stream, events)).collect();
    loop {
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let results: Vec<_> = polled.iter().map(PollFd::revents).collect();
    for ((stream, events), result) in watched.into_iter().flatten().zip(results) {
        let failed = result.contains(PollFlags::ERR)
            || (events.is_empty() && result.contains(PollFlags::HUP));
        if failed {
            let reset = || io::Error::from_raw_os_error(libc::ECONNRESET);
            return Err(SockRef::from(stream).take_error()?.unwrap_or_else(reset));
        }
    }
    Ok(())
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}
