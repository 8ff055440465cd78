//! Records, context and the rest as functions over any socket: on Linux Hoptrail's socket options
//! (docs/abi.md), on Windows the ioctls of the Filtering Platform (docs/windows.md).

use crate::context::Context;
use crate::error::{Error, Operation, Result};
use crate::records::Records;
use crate::sockaddr::canonical;
use crate::sys::{self, AsSock};
use socket2::SockRef;
use std::net::SocketAddr;

#[cfg(doc)]
use crate::ErrorKind;

/// What a running engine says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Version of the options and of the layouts that they carry.
    pub abi: u16,
    /// Counts the policies that were in force; zero before the first.
    pub generation: u64,
}

/// The records of a redirected connection; nothing when it was not redirected.
///
/// On a UDP socket they are those of the peer that the thread has selected: use
/// [`UdpProxySocket`](crate::UdpProxySocket).
///
/// # Errors
/// [`ErrorKind::NoEngine`]; [`ErrorKind::NotConnected`] on a listener, or a TCP socket that is neither
/// connected nor had records set; [`ErrorKind::NotSocket`].
pub fn records(socket: &impl AsSock) -> Result<Option<Records>> {
    sys::records(sys::borrow(socket), Records::from_bytes)
        .map_err(Error::of(Operation::ReadRecords))
}

/// The context of the hop that delivered a connection; nothing when it was not redirected.
///
/// # Errors
/// As [`records`]; [`ErrorKind::UnknownVersion`] when this library cannot read it:
/// [`context_bytes`] gives it all the same.
pub fn context(socket: &impl AsSock) -> Result<Option<Context>> {
    let read = sys::context(sys::borrow(socket), Context::parse)
        .map_err(Error::of(Operation::ReadContext))?;
    match read {
        Some(None) => Err(Error::unknown_version(Operation::ReadContext)),
        Some(context) => Ok(context),
        None => Ok(None),
    }
}

/// The context's bytes, whatever their layout: on Linux that of docs/abi.md, on Windows what the
/// vendor's driver has written; nothing when the connection was not redirected.
///
/// # Errors
/// As [`records`].
pub fn context_bytes(socket: &impl AsSock) -> Result<Option<Vec<u8>>> {
    sys::context(sys::borrow(socket), <[u8]>::to_vec).map_err(Error::of(Operation::ReadContext))
}

/// Starts a socket with records. On TCP before it connects; on UDP, which on Windows has no such call,
/// for every destination to which it sends from then on. The last successful call counts, and a refused
/// one changes nothing.
///
/// # Errors
/// [`ErrorKind::BadRecords`], [`ErrorKind::NotMember`], [`ErrorKind::AlreadyConnected`],
/// [`ErrorKind::NoEngine`], [`ErrorKind::NotSocket`].
pub fn set_records(socket: &impl AsSock, records: &Records) -> Result<()> {
    sys::set_records(sys::borrow(socket), records.as_bytes())
        .map_err(Error::of(Operation::SetRecords))
}

/// The destination that the redirected connect had asked for, by the option which transparent
/// proxies use (`SO_ORIGINAL_DST`); nothing when the connection was not redirected.
///
/// This also sees redirects of netfilter, and says nothing of whether there is an engine. A
/// [`Redirect`](crate::Redirect) knows its destination without it.
///
/// # Errors
/// When this is not a TCP or UDP socket.
pub fn original_destination(socket: &impl AsSock) -> Result<Option<SocketAddr>> {
    let failed = |error| Error::new(Operation::ReadDestination, error);
    let local = SockRef::from(socket).local_addr().map_err(failed)?.as_socket();
    let original = sys::original_destination(sys::borrow(socket), local).map_err(failed)?;
    // Netfilter also answers for connections that it did not change.
    Ok(original.map(canonical).filter(|addr| Some(*addr) != local.map(canonical)))
}

/// The engine that acts on this socket; any TCP or UDP socket will do.
///
/// # Errors
/// [`ErrorKind::NoEngine`]; on Windows, whose engine has no such question, [`ErrorKind::Unsupported`].
pub fn version(socket: &impl AsSock) -> Result<Version> {
    sys::version(sys::borrow(socket), parse_version)
        .map_err(Error::of(Operation::ReadVersion))?
        .ok_or_else(|| Error::unknown_version(Operation::ReadVersion))
}

fn parse_version(bytes: &[u8]) -> Option<Version> {
    let abi = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let generation = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    Some(Version { abi, generation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_needs_all_its_bytes() {
        let bytes: Vec<u8> = [&1u16.to_ne_bytes()[..], &[0; 6], &7u64.to_ne_bytes()[..]].concat();
        assert_eq!(parse_version(&bytes), Some(Version { abi: 1, generation: 7 }));
        assert_eq!(parse_version(&bytes[..15]), None);
        assert_eq!(parse_version(&[]), None);
    }
}
