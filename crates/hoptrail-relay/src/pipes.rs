//! Pipes for splice(2), lent to a direction only while bytes are in them.

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::os::fd::OwnedFd;

/// What a pipe is asked to hold. A larger one is slower again: its pages no longer stay in the cache.
const BYTES: usize = 1 << 20;
/// Pipes that a worker makes at most; further bulk transfers are copied until one is free.
const LIMIT: usize = 256;
/// Idle pipes that are kept. Each is a table of a few KiB and two descriptors.
const KEPT: usize = 16;

/// An empty pipe, or one with the bytes that a blocked target has left in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) read: OwnedFd,
    pub(crate) write: OwnedFd,
    pub(crate) filled: usize,
}

/// A worker's pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    idle: Vec<Pipe>,
    made: usize,
    limit: usize,
}

impl Default for Pipes {
    fn default() -> Self {
        Self { idle: Vec::new(), made: 0, limit: LIMIT }
    }
}

impl Pipes {
    /// An empty pipe; nothing when there are enough already, or descriptors have run out.
    pub(crate) fn take(&mut self) -> Option<Box<Pipe>> {
        let pipe = self.idle.pop().or_else(|| self.make())?;
        Some(Box::new(pipe))
    }

    /// Takes an empty pipe back. One with bytes in it is closed.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        if pipe.filled == 0 && self.idle.len() < KEPT {
            self.idle.push(pipe);
        } else {
            self.made -= 1;
        }
    }

    /// Pipes in use.
    pub(crate) fn lent(&self) -> usize {
        self.made - self.idle.len()
    }

    /// All the others are lent elsewhere, or are back.
    #[cfg(test)]
    pub(crate) fn lend_no_more(&mut self, none: bool) {
        self.limit = if none { 0 } else { LIMIT };
        self.made -= self.idle.drain(..).len();
    }

    fn make(&mut self) -> Option<Pipe> {
        if self.made >= self.limit {
            return None;
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // Beyond the user's share of pipe memory it stays at 64 KiB, which is slower but right.
        let _ = fcntl_setpipe_size(&write, BYTES);
        self.made += 1;
        Some(Pipe { read, write, filled: 0 })
    }
}

/// How much one splice may move.
pub(crate) const fn capacity() -> usize {
    BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_used_again_and_bounded() {
        let mut pipes = Pipes::default();
        let taken: Vec<_> = (0..LIMIT).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        assert_eq!(pipes.lent(), LIMIT);
        for pipe in taken {
            pipes.give_back(*pipe);
        }
        assert_eq!((pipes.lent(), pipes.idle.len(), pipes.made), (0, KEPT, KEPT));
    }

    #[test]
    fn a_pipe_with_bytes_is_not_lent_again() {
        let mut pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        pipe.filled = 1;
        pipes.give_back(*pipe);
        assert_eq!((pipes.made, pipes.idle.len()), (0, 0));
    }
}
