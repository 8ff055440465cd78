//! One side of a conversation: a writer and a reader, each with its own script.

use crate::route::reset;
use crate::stream::{Seen, is_reset, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What a writer does next.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Send(u64),
    Pause(u64),
}

/// How a writer leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// It finishes sending, and reads on.
    HalfClose,
    /// It resets, whatever is on its way.
    Reset,
    /// It resets once everything has arrived that it sent.
    ResetWhenRead,
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) writes: Vec<Write>,
    pub(crate) leave: Leave,
    /// Bytes that are read at once, and milliseconds of a pause before each of the first reads.
    pub(crate) reads: usize,
    pub(crate) stalls: Vec<u64>,
}

/// What one side has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    /// Bytes that its writer got rid of.
    pub(crate) sent: u64,
    pub(crate) read: u64,
    pub(crate) seen: Seen,
}

impl Script {
    pub(crate) fn bytes(&self) -> u64 {
        self.writes.iter().map(|w| if let Write::Send(n) = w { *n } else { 0 }).sum()
    }

    /// Plays one side. `arrived` are the bytes that the other side has read, `read` those that this one has.
    pub(crate) fn play(&self, stream: TcpStream, arrived: &AtomicU64, read: &AtomicU64) -> Outcome {
        let (sent, got, broken) = thread::scope(|scope| {
            let reader = scope.spawn(|| self.read(&stream, read));
            let written = self.write(&stream);
            if self.leave == Leave::ResetWhenRead && written.1 {
                let all = || arrived.load(Ordering::SeqCst) >= self.bytes();
                // The other side may reset first, and then they never arrive.
                while !all() && !is_broken(&stream, &Timespec { tv_sec: 0, tv_nsec: 0 }) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            if self.leave != Leave::HalfClose {
                // The reader comes back, and nothing is sent yet.
                let _ = stream.shutdown(Shutdown::Read);
            }
            (written.0, reader.join().unwrap(), !written.1)
        });
        let seen = if broken { Seen::Reset } else { got.1 };
        if self.leave != Leave::HalfClose {
            reset(stream);
        }
        Outcome { sent, read: got.0, seen }
    }

    /// Bytes that were taken, and whether all were.
    fn write(&self, stream: &TcpStream) -> (u64, bool) {
        let mut at = 0;
        for write in &self.writes {
            match *write {
                Write::Pause(ms) => thread::sleep(Duration::from_millis(ms)),
                Write::Send(n) => match send(stream, at, n) {
                    Ok(()) => at += n,
                    Err(error) => {
                        assert!(is_reset(&error), "{error}");
                        return (at, false);
                    }
                },
            }
        }
        if self.leave == Leave::HalfClose && stream.shutdown(Shutdown::Write).is_err() {
            return (at, false);
        }
        (at, true)
    }

    fn read(&self, stream: &TcpStream, read: &AtomicU64) -> (u64, Seen) {
        let mut stalls = self.stalls.iter();
        loop {
            if let Some(ms) = stalls.next() {
                thread::sleep(Duration::from_millis(*ms));
            }
            let at = read.load(Ordering::SeqCst);
            match receive(stream, at, self.reads) {
                Ok(0) => return (at, Seen::End),
                Ok(n) => drop(read.fetch_add(n as u64, Ordering::SeqCst)),
                Err(error) => {
                    assert!(is_reset(&error), "after {at} bytes: {error}");
                    return (at, Seen::Reset);
                }
            }
        }
    }
}

/// Whether a reset has come.
pub(crate) fn is_broken(stream: &TcpStream, wait: &Timespec) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut fds, Some(wait)).unwrap();
    fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
