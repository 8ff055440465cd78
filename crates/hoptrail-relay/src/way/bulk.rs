//! Bulk data: spliced through a pipe, and only looked at when somebody wants to see them.

use super::{Broken, Ends, Go, PEEK, SMALL, SMALL_WAKES, Tools, Way, show, source};
use crate::mark::is_at_mark;
use crate::pipes;
use crate::sockets::is_wait;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::pipe::{SpliceFlags, splice};
use rustix::thread::sched_yield;

impl Way {
    /// One splice into the pipe; the next flush empties it.
    pub(super) fn bulk(&mut self, tools: &mut Tools, ends: &mut Ends<'_>) -> Result<Go, Broken> {
        tools.bulk = true;
        if self.pipe.is_none() {
            self.pipe = tools.pipes.take();
        }
        if self.pipe.is_none() {
            // Enough pipes are in use, or descriptors have run out.
            return self.copy(tools, ends);
        }
        let mut room = usize::try_from(ends.allowance).unwrap_or(usize::MAX).min(pipes::capacity());
        if ends.tap.is_some() {
            if self.peek(tools, ends, room)? == Go::Deny {
                return Ok(Go::Deny);
            }
            if self.seen == 0 && self.let_others_go(tools) {
                return Ok(Go::On);
            }
            if self.seen == 0 {
                return self.read_after_peek(tools, ends);
            }
            room = room.min(self.seen as usize);
        }
        self.splice_in(tools, ends, room)
    }

    /// Shows the tap what comes next, unless it has seen that already.
    fn peek(&mut self, tools: &mut Tools, ends: &mut Ends<'_>, room: usize) -> Result<Go, Broken> {
        if self.seen > 0 {
            return Ok(Go::On);
        }
        let buffer = &mut tools.buffer[..room.min(PEEK)];
        let seen = match recv(ends.source, &mut *buffer, RecvFlags::PEEK) {
            // At 0 it is the end, which is for the read to find.
            Ok((n, _)) => n,
            Err(error) if is_wait(error) => 0,
            // The kernel tells it once: a read would find an end, and what was cut off would look whole.
            Err(error) => return Err(source(error)),
        };
        self.seen = seen as u32;
        Ok(show(&buffer[..seen], ends))
    }

    /// There was nothing to see: a splice would take what has come since, unseen.
    fn read_after_peek(&mut self, tools: &mut Tools, ends: &mut Ends<'_>) -> Result<Go, Broken> {
        let go = self.copy(tools, ends)?;
        if !self.readable {
            self.note_wake();
        }
        Ok(go)
    }

    fn splice_in(&mut self, tools: &Tools, ends: &mut Ends<'_>, room: usize) -> Result<Go, Broken> {
        let Some(pipe) = &mut self.pipe else { return Ok(Go::On) };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(ends.source, None, &pipe.write, None, room, flags) {
            // splice(2) takes an urgent byte with the end behind it for the end.
            Ok(0) if is_at_mark(ends.source) => self.urgent = true,
            Ok(0) => self.ended = true,
            Ok(n) => {
                pipe.filled += n;
                self.yielded = false;
                ends.allowance -= n as u64;
                self.seen = self.seen.saturating_sub(n as u32);
                self.moved = self.moved.saturating_add(u16::try_from(n).unwrap_or(u16::MAX));
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if self.let_others_go(tools) => {}
            Err(Errno::AGAIN) => {
                self.readable = false;
                self.note_wake();
            }
            Err(error) => return Err(source(error)),
        }
        Ok(Go::On)
    }

    /// The source has run dry for now. Once after each move whoever waits for this CPU goes first, the
    /// sender perhaps: what it writes then needs no wake of its own.
    fn let_others_go(&mut self, tools: &Tools) -> bool {
        if self.yielded || !tools.alone {
            return false;
        }
        self.yielded = true;
        sched_yield();
        true
    }

    /// The source has run dry. After some wakes with little data the buffer is cheaper again.
    fn note_wake(&mut self) {
        self.streak = if self.moved < SMALL { self.streak + 1 } else { 0 };
        self.moved = 0;
        if self.streak >= SMALL_WAKES {
            (self.bulk, self.streak) = (false, 0);
        }
    }
}
