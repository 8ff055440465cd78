//! Linux: Hoptrail's socket options (docs/abi.md).

mod clock;
mod errno;
mod sockopt;
mod udp;

pub(crate) use clock::boot_time;
pub(crate) use errno::{advice, died, kind_of, reset_error, skips, syscall, under_way};
pub(crate) use std::os::fd::{AsFd as AsSock, BorrowedFd as BorrowedSock, OwnedFd as OwnedSock};
pub(crate) use udp::{Flows, dial_flow};

use crate::dial::Device;
use crate::error::{Error, Operation, Result};
use crate::options::Version;
use crate::sockaddr;
use hoptrail_core::abi::{
    REDIRECT_CONTEXT, REDIRECT_CONTEXT_SIZE, REDIRECT_RECORDS, REDIRECT_RECORDS_SIZE,
    REDIRECT_VERSION, SO_ORIGINAL_DST, SOL_HOPTRAIL,
};
use hoptrail_core::context::MAX_CONTEXT_BYTES;
use hoptrail_core::records::MAX_BLOB_BYTES;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use socket2::{Domain, Socket, Type};
use std::ffi::OsStr;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(crate) const AF_INET: u16 = libc::AF_INET as u16;
pub(crate) const AF_INET6: u16 = libc::AF_INET6 as u16;

/// poll(2) says "hung up" only when both halves have ended.
pub(crate) const HANGUP_IS_RESET: bool = true;

/// The socket's handle, lent.
pub(crate) fn borrow(socket: &impl AsSock) -> BorrowedSock<'_> {
    socket.as_fd()
}

/// Hands the records of a connection to `use_it`; nothing when it has none.
pub(crate) fn records<T>(
    socket: BorrowedSock<'_>,
    use_it: impl Fn(&[u8]) -> T,
) -> io::Result<Option<T>> {
    let options = Queried { value: REDIRECT_RECORDS, size: REDIRECT_RECORDS_SIZE };
    absent_is_none(read(socket, options, &mut [0; MAX_BLOB_BYTES], use_it))
}

/// Hands the context of a connection to `use_it`; nothing when it has none.
pub(crate) fn context<T>(
    socket: BorrowedSock<'_>,
    use_it: impl Fn(&[u8]) -> T,
) -> io::Result<Option<T>> {
    let options = Queried { value: REDIRECT_CONTEXT, size: REDIRECT_CONTEXT_SIZE };
    absent_is_none(read(socket, options, &mut [0; MAX_CONTEXT_BYTES], use_it))
}

/// Starts a socket with records.
pub(crate) fn set_records(socket: BorrowedSock<'_>, records: &[u8]) -> io::Result<()> {
    sockopt::set(socket, SOL_HOPTRAIL, REDIRECT_RECORDS, records)
}

/// Hands the engine's version to `use_it`.
pub(crate) fn version(
    socket: BorrowedSock<'_>,
    use_it: impl Fn(&[u8]) -> Option<Version>,
) -> io::Result<Option<Version>> {
    sockopt::get(socket, SOL_HOPTRAIL, REDIRECT_VERSION, &mut [0; 16]).map(use_it)
}

/// What `SO_ORIGINAL_DST` says; nothing when nobody has redirected the connection.
pub(crate) fn original_destination(
    socket: BorrowedSock<'_>,
    local: Option<SocketAddr>,
) -> io::Result<Option<SocketAddr>> {
    for &level in levels(local) {
        let mut buffer = [0; sockaddr::MAX_BYTES];
        match sockopt::get(socket, level, SO_ORIGINAL_DST, &mut buffer) {
            Ok(bytes) => return Ok(sockaddr::decode(bytes)),
            Err(error) if nobody_knows(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Where a context says that its connection wanted to go, when its layout is not Hoptrail's: only an
/// engine writes contexts here.
pub(crate) const fn foreign_destination(_: &[u8]) -> Option<SocketAddr> {
    None
}

/// A socket that does not wait.
pub(crate) fn open_nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    Socket::new(domain, kind.nonblocking(), None)
}

/// Accepts a non-blocking stream; the standard library's accept would need one more system call.
pub(crate) fn accept_nonblocking(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer: SocketAddrAny| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or_else(|| io::Error::other("the peer has no IP address"))?;
    Ok((stream.into(), peer))
}

/// Binds to the interface that the application had chosen, where its index means anything.
pub(crate) fn bind_device(socket: &Socket, device: Device) -> Result<()> {
    if !counts_here(device, socket) {
        return Ok(());
    }
    let index = device.index.get();
    let value = index.to_ne_bytes();
    sockopt::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, &value)
        .map_err(Error::of(Operation::BindDevice(index)))
}

/// A path as the kernel has it.
pub(crate) fn path(bytes: &[u8]) -> Option<&Path> {
    (!bytes.is_empty()).then(|| Path::new(OsStr::from_bytes(bytes)))
}

struct Queried {
    value: i32,
    size: i32,
}

/// Reads a value into `buffer`, or into a larger one when a newer engine has more to say.
fn read<T>(
    socket: BorrowedSock<'_>,
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

/// An interface's index says nothing in another network namespace.
fn counts_here(device: Device, socket: &Socket) -> bool {
    let mut cookie = [0; 8];
    sockopt::get(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, &mut cookie)
        .is_ok_and(|bytes| bytes == device.netns.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    const DEVICE: Device = Device { index: NonZeroU32::new(3).unwrap(), netns: 1 };

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

    #[test]
    fn a_device_of_another_namespace_is_left_alone() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let mut cookie = [0; 8];
        sockopt::get(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE, &mut cookie).unwrap();
        let netns = u64::from_ne_bytes(cookie);
        assert!(counts_here(Device { netns, ..DEVICE }, &socket));
        assert!(!counts_here(Device { netns: !netns, ..DEVICE }, &socket));
    }
}
