//! setsockopt and getsockopt: the four switches are this library's, all other options the system's.
//!
//! The switches' numbers mean other things to Linux at the same levels (41/60 is IPV6_RECVPATHMTU), so
//! they must not reach the system's functions.

use super::names::{socket, system_result};
use super::types::{INT, LPCVOID, LPINT, LPVOID, SOCKET};
use super::{length, zero_or_error};
use crate::system::{self, Descriptor};
use crate::transport::Transport;
use crate::udp::{Kind, Switches};
use crate::{Error, Result, memory, world};
use std::sync::Arc;

/// What setsockopt means in a file that includes the header.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_setsockopt(
    s: SOCKET,
    level: INT,
    optname: INT,
    optval: LPCVOID,
    optlen: INT,
) -> INT {
    zero_or_error(|| {
        let fd = socket(s)?;
        match Kind::of(level, optname) {
            Some(kind) => switch(fd, kind, optval as usize, optlen),
            None => {
                let value = system::Span { address: optval as usize, length: length(optlen)? };
                system_result(system::set_option_from(fd, level, optname, value))
            }
        }
    })
}

/// What getsockopt means in a file that includes the header.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_getsockopt(
    s: SOCKET,
    level: INT,
    optname: INT,
    optval: LPVOID,
    optlen: LPINT,
) -> INT {
    zero_or_error(|| {
        let fd = socket(s)?;
        let room: INT = memory::read(optlen as usize)?;
        let value = system::Span { address: optval as usize, length: length(room)? };
        let given = match Kind::of(level, optname) {
            Some(kind) => read_switch(fd, kind, value)?,
            None => {
                let given = system::option_into(fd, level, optname, value);
                system_result(given.map(|_| ()))?;
                given?
            }
        };
        Ok(memory::store_u32(optlen as usize, given as u32)?)
    })
}

/// Bytes of a BOOL.
const BOOL_BYTES: usize = 4;

fn switch(fd: Descriptor, kind: Kind, value: usize, size: INT) -> Result<()> {
    check(fd, kind)?;
    if length(size)? < BOOL_BYTES {
        return Err(Error::FAULT);
    }
    let on = memory::read::<u32>(value)? != 0;
    world::prepare_for_fork();
    world::get().sockets.change(fd, |known| {
        known.switches.get_or_insert_with(|| Arc::new(Switches::default())).set(kind, on);
    })
}

fn read_switch(fd: Descriptor, kind: Kind, into: system::Span) -> Result<usize> {
    check(fd, kind)?;
    if into.length < BOOL_BYTES {
        return Err(Error::FAULT);
    }
    let known = world::get().sockets.of(fd).and_then(|known| known.switches);
    let on = known.is_some_and(|switches| switches.is_on(kind));
    memory::write(into.address, &u32::from(on))?;
    Ok(BOOL_BYTES)
}

/// The switches are for UDP (and there the options of IPv4 for sockets of both families).
fn check(fd: Descriptor, kind: Kind) -> Result<()> {
    if Transport::of(fd)? != Transport::Udp {
        return Err(Error::NO_SUCH_OPTION);
    }
    let family: i32 = system::option(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)?;
    if kind.v6 && family != libc::AF_INET6 {
        return Err(Error::NO_SUCH_OPTION);
    }
    Ok(())
}
