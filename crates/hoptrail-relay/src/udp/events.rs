//! The thread's epoll. Descriptors are level-triggered: what a turn left undone is told again.

use super::table::Id;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Events of one turn.
const EVENTS: usize = 256;

/// What is watched.
#[derive(Debug)]
pub(super) struct Epoll {
    fd: OwnedFd,
}

/// Which descriptor an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Token {
    Listener(u8),
    Drain,
    /// A flow's upstream socket.
    Upstream(Id),
    /// The connection to its SOCKS5 server.
    Control(Id),
}

impl Epoll {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches a descriptor, until that is closed.
    pub(super) fn add(&self, fd: impl AsFd, token: Token, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.fd, fd, EventData::new_u64(token.to_u64()), flags)
    }

    /// Watches it for something else.
    pub(super) fn change(&self, fd: impl AsFd, token: Token, flags: EventFlags) {
        // It fails only for what is not watched, of which nothing is expected either.
        let _ = epoll::modify(&self.fd, fd, EventData::new_u64(token.to_u64()), flags);
    }

    /// What has happened, or will for that long.
    pub(super) fn wait(&self, most: Duration) -> Result<Vec<Token>, Errno> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let timeout =
            Timespec { tv_sec: most.as_secs() as i64, tv_nsec: most.subsec_nanos().into() };
        match epoll::wait(&self.fd, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        Ok(events.iter().map(|event| Token::from_u64(event.data.u64())).collect())
    }
}

impl Token {
    /// The kind is in the two highest bits: there are never so many slots.
    const SLOT_BITS: u32 = 30;
    const SLOT: u32 = (1 << Self::SLOT_BITS) - 1;

    const fn to_u64(self) -> u64 {
        let (kind, slot, generation) = match self {
            Self::Listener(number) => (0, number as u32, 0),
            Self::Drain => (1, 0, 0),
            Self::Upstream(id) => (2, id.slot, id.generation),
            Self::Control(id) => (3, id.slot, id.generation),
        };
        ((kind << Self::SLOT_BITS | slot) as u64) << 32 | generation as u64
    }

    const fn from_u64(data: u64) -> Self {
        let (high, generation) = ((data >> 32) as u32, data as u32);
        let slot = high & Self::SLOT;
        match high >> Self::SLOT_BITS {
            0 => Self::Listener(slot as u8),
            1 => Self::Drain,
            2 => Self::Upstream(Id { slot, generation }),
            _ => Self::Control(Id { slot, generation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive() {
        let id = Id { slot: Token::SLOT, generation: u32::MAX };
        for token in [Token::Listener(255), Token::Drain, Token::Upstream(id), Token::Control(id)] {
            assert_eq!(Token::from_u64(token.to_u64()), token);
        }
    }
}
