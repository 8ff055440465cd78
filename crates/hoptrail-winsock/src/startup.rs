//! `WSAStartup` and `WSACleanup` are counted.

use crate::codes::{WSANOTINITIALISED, WSAVERNOTSUPPORTED};
use crate::overlapped::interrupt_all;
use crate::{Error, Result, world};
use std::sync::atomic::{AtomicUsize, Ordering};

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Winsock 2.2, the only version that there will be.
pub(crate) const VERSION: u16 = 0x0202;

/// The version that a request for `wanted` gets; the major number is its low byte.
pub(crate) fn negotiate(wanted: u16) -> Result<u16> {
    let (major, minor) = (wanted & 0xff, wanted >> 8);
    match (major, minor) {
        (0, _) => Err(Error::Code(WSAVERNOTSUPPORTED)),
        (1, 0 | 1) | (2, 0..=2) => Ok(wanted),
        (1, _) => Ok(0x0101),
        _ => Ok(VERSION),
    }
}

pub(crate) fn start() {
    world::prepare_for_fork();
    STARTED.fetch_add(1, Ordering::SeqCst);
}

/// The last one ends every pending operation of C, and tells nobody.
pub(crate) fn clean_up() -> Result<()> {
    let less = |n: usize| n.checked_sub(1);
    match STARTED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
        Err(_) => Err(Error::Code(WSANOTINITIALISED)),
        Ok(1) => {
            interrupt_all();
            world::get().forget_all(|op| op.ticket.tag != 0);
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// # Errors
/// WSANOTINITIALISED.
#[inline]
pub(crate) fn check() -> Result<()> {
    if STARTED.load(Ordering::Relaxed) == 0 {
        return Err(Error::Code(WSANOTINITIALISED));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_negotiated_as_documented() {
        assert_eq!(negotiate(0x0202), Ok(0x0202));
        assert_eq!(negotiate(0x0002), Ok(0x0002));
        assert_eq!(negotiate(0x0101), Ok(0x0101));
        assert_eq!(negotiate(0x0302), Ok(0x0202));
        assert_eq!(negotiate(0x0003), Ok(0x0202));
        assert_eq!(negotiate(0x0200), Err(Error::Code(WSAVERNOTSUPPORTED)));
    }
}
