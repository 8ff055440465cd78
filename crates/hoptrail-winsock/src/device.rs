//! The interface to which the application had bound its socket: a proxy's connection takes the same one
//! (docs/abi.md, life of a proxied TCP connection).

use crate::system::{self, Descriptor, Span};
use crate::{Result, memory};
use hoptrail_core::records::{TrailHeader, VERSION};
use libc::{SO_BINDTOIFINDEX, SO_NETNS_COOKIE, SOL_SOCKET};

/// Binds a socket on which these records were just set. A socket that its owner has bound keeps that.
///
/// # Errors
/// When the kernel does not let it be bound: the connection must not leave by another interface.
pub(crate) fn follow(fd: Descriptor, records: Span) -> Result<()> {
    let header: TrailHeader = memory::read(records.address)?;
    // Of another version nothing is known; it is carried on as it is.
    if header.device == 0 || header.version != VERSION {
        return Ok(());
    }
    // An index says nothing in another network namespace.
    let here: u64 = system::option(fd, SOL_SOCKET, SO_NETNS_COOKIE)?;
    let bound: u32 = system::option(fd, SOL_SOCKET, SO_BINDTOIFINDEX)?;
    if header.netns == here && bound == 0 {
        let index = header.device.to_ne_bytes();
        system::set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index)?;
    }
    Ok(())
}
