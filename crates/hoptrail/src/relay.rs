//! Copies between two connections until both have ended: one thread, half-close and resets kept.

use crate::direction::{BUFFER_BYTES, Direction};
use crate::error::{Error, Operation, Result};
use crate::reset;
use crate::sys::{HANGUP_IS_RESET, reset_error};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::SockRef;
use std::io;
use std::net::TcpStream;

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

/// Copies both ways until both sides have ended. The end of one side's data is passed on while the
/// other still flows; when one side is reset, so is the other.
pub fn relay(first: TcpStream, second: TcpStream) -> Relayed {
    let mut ways = <[Direction; 2]>::default();
    let error = copy(&first, &second, &mut ways).map_err(Error::of(Operation::Relay)).err();
    if error.is_some() {
        for stream in [&first, &second] {
            // Where the option is refused, an ordinary close is the best that is left.
            let _: Result<()> = reset::on_close(stream);
        }
    }
    Relayed { from_first: ways[0].bytes(), from_second: ways[1].bytes(), error }
}

fn copy(first: &TcpStream, second: &TcpStream, ways: &mut [Direction; 2]) -> io::Result<()> {
    for stream in [first, second] {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        ways[0].pump(first, second, &mut buffer)?;
        ways[1].pump(second, first, &mut buffer)?;
        if ways.iter().all(Direction::ended) {
            return Ok(());
        }
        let [up, down] = &*ways;
        wait([(first, up, down), (second, down, up)])?;
    }
}

/// Waits until a socket, given with what leaves it and what enters it, can go on or has failed.
fn wait(sockets: [(&TcpStream, &Direction, &Direction); 2]) -> io::Result<()> {
    let watched = sockets.map(|(stream, out, into)| {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, out.wants_to_read());
        events.set(PollFlags::OUT, into.wants_to_write());
        // Without events poll(2) still tells of a reset. Once both directions of a socket are shut
        // it would tell of that without end.
        (!events.is_empty() || (HANGUP_IS_RESET && !into.ended())).then_some((stream, events))
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
            return Err(SockRef::from(stream).take_error()?.unwrap_or_else(reset_error));
        }
    }
    Ok(())
}
