//! Hoptrail's socket options as functions over any socket (docs/abi.md).

use crate::context::Context;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::records::Records;
use crate::{sockaddr, sockopt};
use hoptrail_core::abi::{
    REDIRECT_CONTEXT, REDIRECT_CONTEXT_SIZE, REDIRECT_PEER, REDIRECT_RECORDS,
    REDIRECT_RECORDS_SIZE, REDIRECT_VERSION, SO_ORIGINAL_DST, SOL_HOPTRAIL,
};
use hoptrail_core::context::MAX_CONTEXT_BYTES;
use hoptrail_core::records::MAX_BLOB_BYTES;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

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
/// connected nor had records set.
pub fn records(socket: &impl AsFd) -> Result<Option<Records>> {
    let options = Queried { value: REDIRECT_RECORDS, size: REDIRECT_RECORDS_SIZE };
    let mut buffer = [0; MAX_BLOB_BYTES];
    absent_is_none(read(socket.as_fd(), options, &mut buffer, Records::from_bytes))
        .map_err(Error::of(Operation::ReadRecords))
}

/// The context of the hop that delivered a connection; nothing when it was not redirected.
///
/// # Errors
/// As [`records`]; [`ErrorKind::UnknownVersion`] when this library cannot read it.
pub fn context(socket: &impl AsFd) -> Result<Option<Context>> {
    let options = Queried { value: REDIRECT_CONTEXT, size: REDIRECT_CONTEXT_SIZE };
    let mut buffer = [0; MAX_CONTEXT_BYTES];
    let read = absent_is_none(read(socket.as_fd(), options, &mut buffer, Context::parse))
        .map_err(Error::of(Operation::ReadContext))?;
    match read {
        Some(None) => Err(Error::unknown_version(Operation::ReadContext)),
        Some(context) => Ok(context),
        None => Ok(None),
    }
}

/// Starts a socket with records. On TCP before it connects; on UDP for every destination to which it
/// sends from then on. The last successful call counts, and a refused one changes nothing.
///
/// # Errors
/// [`ErrorKind::BadRecords`], [`ErrorKind::NotMember`], [`ErrorKind::AlreadyConnected`],
/// [`ErrorKind::NoEngine`].
pub fn set_records(socket: &impl AsFd, records: &Records) -> Result<()> {
    sockopt::set(socket.as_fd(), SOL_HOPTRAIL, REDIRECT_RECORDS, records.as_bytes())
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
pub fn original_destination(socket: &impl AsFd) -> Result<Option<SocketAddr>> {
    let local = SockRef::from(socket)
        .local_addr()
        .map_err(Error::of(Operation::ReadDestination))?
        .as_socket();
    for &level in levels(local) {
        let mut buffer = [0; sockaddr::MAX_BYTES];
        match sockopt::get(socket.as_fd(), level, SO_ORIGINAL_DST, &mut buffer) {
            // Netfilter also answers for connections that it did not change.
            Ok(bytes) => {
                let original = sockaddr::decode(bytes).map(sockaddr::canonical);
                return Ok(original.filter(|addr| Some(*addr) != local.map(sockaddr::canonical)));
            }
            Err(error) if nobody_knows(&error) => {}
            Err(error) => return Err(Error::new(Operation::ReadDestination, error)),
        }
    }
    Ok(None)
}

/// The engine that acts on this socket; any TCP or UDP socket will do.
///
/// # Errors
/// [`ErrorKind::NoEngine`].
pub fn version(socket: &impl AsFd) -> Result<Version> {
    let mut buffer = [0; 16];
    let bytes = sockopt::get(socket.as_fd(), SOL_HOPTRAIL, REDIRECT_VERSION, &mut buffer)
        .map_err(Error::of(Operation::ReadVersion))?;
    parse_version(bytes).ok_or_else(|| Error::unknown_version(Operation::ReadVersion))
}

/// Until dropped, this thread's options on the socket mean the flow of one peer.
pub(crate) struct SelectedPeer<'s>(BorrowedFd<'s>);

impl<'s> SelectedPeer<'s> {
    pub(crate) fn new(socket: BorrowedFd<'s>, peer: SocketAddr) -> Result<Self> {
        sockopt::set(socket, SOL_HOPTRAIL, REDIRECT_PEER, &sockaddr::encode(peer))
            .map_err(Error::of(Operation::SelectPeer(peer)))?;
        Ok(Self(socket))
    }
}

impl Drop for SelectedPeer<'_> {
    fn drop(&mut self) {
        // The engine may be gone by now, and its selections with it.
        let _ = sockopt::set(self.0, SOL_HOPTRAIL, REDIRECT_PEER, &[]);
    }
}

struct Queried {
    value: i32,
    size: i32,
}

/// Reads a value into `buffer`, or into a larger one when a newer engine has more to say.
fn read<T>(
    socket: BorrowedFd<'_>,
    options: Queried,
    buffer: &mut [u8],
    use_it: impl Fn(&[u8]) -> T,
) -> io::Result<T> {
    match sockopt::get(socket, SOL_HOPTRAIL, options.value, buffer) {
        Ok(bytes) => Ok(use_it(bytes)),
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
            let mut size = [0; 4];
            sockopt::get(socket, SOL_HOPTRAIL, options.size, &mut size)?;
            let mut larger = vec![0; u32::from_ne_bytes(size) as usize];
            sockopt::get(socket, SOL_HOPTRAIL, options.value, &mut larger).map(use_it)
        }
        Err(error) => Err(error),
    }
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Neither an engine nor netfilter has redirected it.
fn nobody_knows(error: &io::Error) -> bool {
    let absent = [libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::ENOENT, libc::ENODATA, libc::ENOTCONN];
    error.raw_os_error().is_some_and(|errno| absent.contains(&errno))
}

/// Levels at which to ask for the original destination, the likelier one first.
fn levels(local: Option<SocketAddr>) -> &'static [i32] {
    match local {
        Some(SocketAddr::V4(_)) => &[libc::IPPROTO_IP],
        Some(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_some() => {
            &[libc::IPPROTO_IP, libc::IPPROTO_IPV6]
        }
        _ => &[libc::IPPROTO_IPV6, libc::IPPROTO_IP],
    }
}

fn parse_version(bytes: &[u8]) -> Option<Version> {
    let abi = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let generation = u64::from_ne_bytes(bytes.get(8..16)?.try_into().ok()?);
    Some(Version { abi, generation })
}

/// Whether an accepted connection died before anyone asked about it.
pub(crate) fn died(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotConnected | ErrorKind::Reset)
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

    #[test]
    fn the_family_of_the_flow_is_asked_first() {
        let level = |text: &str| levels(Some(text.parse().unwrap()))[0];
        assert_eq!(level("192.0.2.1:1"), libc::IPPROTO_IP);
        assert_eq!(level("[::ffff:192.0.2.1]:1"), libc::IPPROTO_IP);
        assert_eq!(level("[2001:db8::1]:1"), libc::IPPROTO_IPV6);
        assert_eq!(level("[::]:1"), libc::IPPROTO_IPV6);
    }

    #[test]
    fn only_enodata_is_absence() {
        let errno = |n| absent_is_none(Err::<(), _>(io::Error::from_raw_os_error(n)));
        assert!(matches!(errno(libc::ENODATA), Ok(None)));
        assert_eq!(errno(libc::ENOTCONN).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    }
}
