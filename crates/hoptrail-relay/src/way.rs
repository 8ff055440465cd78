//! One direction of a connection: bytes from a source to a target, the cheapest correct way.
//!
//! Small messages go through one buffer that all connections of a worker share: a read and a write.
//! When data flow in bulk they are spliced through a pipe and never enter user space. What a blocked
//! target has not taken yet is held, and nothing more is read until it is gone: so the source feels
//! the target's back-pressure.

mod bulk;
mod copy;
mod held;

use crate::pipes::{Pipe, Pipes};
use crate::sockets::is_wait;
use crate::tap::{Ruling, Tap};
use held::Held;
use rustix::event::epoll::EventFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{SpliceFlags, splice};
use std::os::fd::BorrowedFd;

/// What one read takes. It fits a core's second-level cache together with what the kernel copies.
pub(crate) const BUFFER: usize = 64 << 10;
/// What one look at data in bulk takes: each costs a splice into the pipe and one out of it. Memory is used
/// only where somebody wants to see bulk data.
const PEEK: usize = 512 << 10;
/// Moves of one direction before others have their turn.
const TURN: usize = 16;
/// Reads that filled the buffer, one after another, from which on data count as bulk.
const BULK_AFTER: u8 = 2;
/// Wakes that moved less than [`SMALL`], one after another, after which they no longer do.
const SMALL_WAKES: u8 = 3;
const SMALL: u16 = 16 << 10;

/// One direction's state. An idle one owns no memory but this.
#[derive(Default, Debug)]
pub(crate) struct Way {
    held: Held,
    /// With what a blocked target has left in it.
    pipe: Option<Box<Pipe>>,
    /// Bytes that the tap has seen and that were not spliced yet: [`PEEK`] at most.
    seen: u32,
    /// Bytes of the wake that is under way, as far as they fit: only [`SMALL`] matters.
    moved: u16,
    /// The source may have more: epoll tells only of changes, so it is remembered.
    pub(crate) readable: bool,
    /// The target may take more, likewise.
    pub(crate) writable: bool,
    /// The source's end was announced: then a short read does not mean that nothing is left, and no
    /// further event would tell.
    pub(crate) announced: bool,
    /// An urgent byte is ahead. Reads stop before it, and splice(2) does not get past it.
    urgent: bool,
    /// The source has nothing more to say.
    pub(crate) ended: bool,
    /// And the target knows.
    pub(crate) shut: bool,
    bulk: bool,
    /// Others have gone first since bulk data moved last.
    yielded: bool,
    /// Full reads (or small wakes, in bulk) one after another.
    streak: u8,
}

/// What a worker lends to the directions it moves.
pub(crate) struct Tools {
    pub(crate) buffer: Box<[u8]>,
    pub(crate) pipes: Pipes,
    /// For the next direction that must hold something.
    spare: Held,
    /// Some direction has moved bulk data since this was last asked.
    pub(crate) bulk: bool,
    /// No other session of the worker has something to do.
    pub(crate) alone: bool,
}

/// The sockets of a direction, and what limits it this time.
pub(crate) struct Ends<'a> {
    pub(crate) source: BorrowedFd<'a>,
    pub(crate) target: BorrowedFd<'a>,
    /// Sees every byte before the target does.
    pub(crate) tap: Option<&'a mut (dyn Tap + 'static)>,
    /// How many bytes may be read; less than all of them when throttled.
    pub(crate) allowance: u64,
    /// The source's bytes that the target was given, so far.
    pub(crate) given: &'a mut u64,
    /// Whether the target would be closed at once after its end: then it need not be told.
    pub(crate) last: bool,
    /// The source has failed, and reading no longer tells: what looks like its end is none.
    pub(crate) failed: Option<Errno>,
}

/// What became of a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// A socket must become ready first.
    Waits,
    /// There is more to do, after the others.
    Unfinished,
    /// The allowance is used up.
    Throttled,
    /// The tap denies the rest.
    Denied,
}

/// Which side of the direction failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken {
    pub(crate) source: bool,
    pub(crate) errno: Errno,
}

/// Whether the direction can go on at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Wait,
    Deny,
}

impl Tools {
    pub(crate) fn new() -> Self {
        let buffer = vec![0; PEEK].into();
        let (pipes, spare) = (Pipes::default(), Held::default());
        Self { buffer, pipes, spare, bulk: false, alone: true }
    }
}

impl Way {
    /// Notes what epoll tells of the source.
    pub(crate) fn note_source(&mut self, events: EventFlags) {
        let ends = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        self.announced |= events.intersects(ends);
        self.readable |= events.intersects(EventFlags::IN | EventFlags::PRI | ends);
        self.urgent = events.contains(EventFlags::PRI);
    }

    /// Notes what epoll tells of the target.
    pub(crate) fn note_target(&mut self, events: EventFlags) {
        self.writable |= events.contains(EventFlags::OUT);
    }

    /// Moves what can be moved without waiting, for one turn.
    pub(crate) fn pump(&mut self, tools: &mut Tools, ends: &mut Ends<'_>) -> Result<Turn, Broken> {
        let turn = self.turn(tools, ends);
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.filled == 0) {
            tools.pipes.give_back(*pipe);
        }
        self.held.give_back(&mut tools.spare);
        turn
    }

    /// Puts bytes before everything that is held: the relay's own, which do not count.
    pub(crate) fn put_first(&mut self, own: &[u8]) {
        self.held.put_first(own);
    }

    /// Reads once into what is held, up to `limit` held bytes, without passing anything on.
    pub(crate) fn gather(
        &mut self,
        source: BorrowedFd<'_>,
        tools: &mut Tools,
        limit: usize,
    ) -> Result<(), Broken> {
        let room = self.held.room(limit).min(BUFFER);
        if !self.readable || self.ended || room == 0 {
            return Ok(());
        }
        if let Some(n) = self.read(source, &mut tools.buffer[..room], RecvFlags::empty())? {
            self.held.gather(&tools.buffer[..n], &mut tools.spare);
        }
        Ok(())
    }

    /// What is held and not gone.
    pub(crate) fn held(&self) -> &[u8] {
        self.held.rest()
    }

    /// Takes the first of the held bytes away: they were meant for the relay.
    pub(crate) fn consume(&mut self, n: usize) {
        self.held.consume(n);
    }

    /// Everything that was read has been passed on.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.pipe.is_none()
    }

    /// Gives a pipe back, at the end.
    pub(crate) fn dissolve(&mut self, pipes: &mut Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.give_back(*pipe);
        }
    }

    fn turn(&mut self, tools: &mut Tools, ends: &mut Ends<'_>) -> Result<Turn, Broken> {
        if self.show_held(ends) == Go::Deny {
            return Ok(Turn::Denied);
        }
        for _ in 0..TURN {
            if self.flush(ends)? == Go::Wait {
                return Ok(Turn::Waits);
            }
            if self.ended {
                if let Some(errno) = ends.failed {
                    return Err(source(errno));
                }
                self.pass_on_end(ends)?;
                return Ok(Turn::Waits);
            }
            if ends.allowance == 0 {
                return Ok(Turn::Throttled);
            }
            if !self.readable {
                return Ok(Turn::Waits);
            }
            let go = match self.bulk {
                _ if self.urgent => self.urgent(tools, ends)?,
                true => self.bulk(tools, ends)?,
                false => self.copy(tools, ends)?,
            };
            if go == Go::Deny {
                return Ok(Turn::Denied);
            }
        }
        Ok(Turn::Unfinished)
    }

    fn pass_on_end(&mut self, ends: &Ends<'_>) -> Result<(), Broken> {
        if self.shut {
            return Ok(());
        }
        self.shut = true;
        if ends.last {
            return Ok(());
        }
        shutdown(ends.target, Shutdown::Write).map_err(target)
    }

    /// What was gathered has not been seen by the tap.
    fn show_held(&mut self, ends: &mut Ends<'_>) -> Go {
        show(self.held.take_unseen(), ends)
    }

    /// Writes what is held from before.
    fn flush(&mut self, ends: &mut Ends<'_>) -> Result<Go, Broken> {
        while let Some((bytes, how)) = self.held.front() {
            if !self.writable {
                return Ok(Go::Wait);
            }
            let Some(n) = write(ends.target, bytes, how)? else {
                self.writable = false;
                return Ok(Go::Wait);
            };
            *ends.given += self.held.written(n) as u64;
        }
        self.flush_pipe(ends)
    }

    fn flush_pipe(&mut self, ends: &mut Ends<'_>) -> Result<Go, Broken> {
        while let Some(pipe) = &mut self.pipe
            && pipe.filled > 0
        {
            if !self.writable {
                return Ok(Go::Wait);
            }
            let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
            match splice(&pipe.read, None, ends.target, None, pipe.filled, flags) {
                Ok(n) => {
                    pipe.filled -= n;
                    *ends.given += n as u64;
                }
                Err(error) if is_wait(error) => {
                    self.writable = error == Errno::INTR;
                }
                Err(error) => return Err(target(error)),
            }
        }
        Ok(Go::On)
    }

    /// Nothing when there is nothing now, or nothing any more.
    fn read(
        &mut self,
        from: BorrowedFd<'_>,
        buffer: &mut [u8],
        flags: RecvFlags,
    ) -> Result<Option<usize>, Broken> {
        let room = buffer.len();
        match recv(from, buffer, flags) {
            Ok((0, _)) => self.ended = true,
            Ok((n, _)) => {
                // A stream's short read means that nothing is left.
                self.readable = n == room || self.announced || self.urgent;
                return Ok(Some(n));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.readable = false,
            Err(error) => return Err(source(error)),
        }
        Ok(None)
    }
}

fn write(to: BorrowedFd<'_>, bytes: &[u8], how: SendFlags) -> Result<Option<usize>, Broken> {
    match retry_on_intr(|| send(to, bytes, how | SendFlags::NOSIGNAL)) {
        Ok(n) => Ok(Some(n)),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(target(error)),
    }
}

/// Lets the tap see bytes before they go.
fn show(bytes: &[u8], ends: &mut Ends<'_>) -> Go {
    let Some(tap) = ends.tap.as_deref_mut().filter(|_| !bytes.is_empty()) else { return Go::On };
    match tap.see(bytes) {
        Ruling::Pass => Go::On,
        Ruling::Deny => Go::Deny,
    }
}

fn source(errno: Errno) -> Broken {
    Broken { source: true, errno }
}

fn target(errno: Errno) -> Broken {
    Broken { source: false, errno }
}

#[cfg(test)]
mod tests;
