//! Windows: the ioctls of the Filtering Platform (docs/windows.md).

mod clock;
mod control;
mod ioctl;
mod udp;
mod wsa;

pub(crate) use clock::boot_time;
pub(crate) use std::os::windows::io::{
    AsSocket as AsSock, BorrowedSocket as BorrowedSock, OwnedSocket as OwnedSock,
};
pub(crate) use udp::{Flows, dial_flow};
pub(crate) use wsa::{advice, died, kind_of, reset_error, skips, syscall, under_way};

use crate::dial::Device;
use crate::error::Result;
use crate::options::Version;
use crate::sockaddr;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use windows_sys::Win32::Networking::WinSock::{
    SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS,
    SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, SOCKADDR_STORAGE,
};

pub(crate) const AF_INET: u16 = windows_sys::Win32::Networking::WinSock::AF_INET;
pub(crate) const AF_INET6: u16 = windows_sys::Win32::Networking::WinSock::AF_INET6;

/// WSAPoll says "hung up" already when the other side has merely ended its half.
pub(crate) const HANGUP_IS_RESET: bool = false;

/// The socket's handle, lent.
pub(crate) fn borrow(socket: &impl AsSock) -> BorrowedSock<'_> {
    socket.as_socket()
}

/// Hands the records of a connection to `use_it`; nothing when it has none.
pub(crate) fn records<T>(
    socket: BorrowedSock<'_>,
    use_it: impl Fn(&[u8]) -> T,
) -> io::Result<Option<T>> {
    let answer = ioctl::query(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, use_it);
    absent_is_none(unless_no_socket(socket, answer))
}

/// Hands the context of a connection to `use_it`; nothing when it has none.
pub(crate) fn context<T>(
    socket: BorrowedSock<'_>,
    use_it: impl Fn(&[u8]) -> T,
) -> io::Result<Option<T>> {
    let answer = ioctl::query(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, use_it);
    absent_is_none(unless_no_socket(socket, answer))
}

/// Starts a socket with records.
pub(crate) fn set_records(socket: BorrowedSock<'_>, records: &[u8]) -> io::Result<()> {
    let answer = ioctl::give(socket, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records);
    unless_no_socket(socket, answer)
}

/// There is no such question here.
pub(crate) fn version(
    _: BorrowedSock<'_>,
    _: impl Fn(&[u8]) -> Option<Version>,
) -> io::Result<Option<Version>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What `SO_ORIGINAL_DST` says, which newer versions of Windows have; nothing when nobody has redirected
/// the connection.
pub(crate) fn original_destination(
    socket: BorrowedSock<'_>,
    local: Option<SocketAddr>,
) -> io::Result<Option<SocketAddr>> {
    let socket = SockRef::from(&socket);
    let answer = match local {
        Some(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_none() => socket.original_dst_v6(),
        _ => socket.original_dst_v4(),
    };
    match answer {
        Ok(address) => Ok(address.as_socket()),
        Err(error) if wsa::nobody_knows(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The convention of Microsoft's sample driver: the remote address that was asked for, then the local
/// one, a `SOCKADDR_STORAGE` each. Drivers that write another layout read it from
/// [`Redirect::foreign_context`](crate::Redirect::foreign_context).
pub(crate) fn foreign_destination(context: &[u8]) -> Option<SocketAddr> {
    let whole = context.len() == 2 * size_of::<SOCKADDR_STORAGE>();
    sockaddr::decode(context).filter(|to| whole && to.port() != 0)
}

/// A socket that does not wait.
pub(crate) fn open_nonblocking(domain: Domain, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Accepts a non-blocking stream.
pub(crate) fn accept_nonblocking(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}

/// Records name no interface here: Windows keeps that to itself.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) const fn bind_device(_: &Socket, _: Device) -> Result<()> {
    Ok(())
}

/// A path in a context that was written in Hoptrail's layout.
pub(crate) fn path(bytes: &[u8]) -> Option<&Path> {
    std::str::from_utf8(bytes).ok().filter(|path| !path.is_empty()).map(Path::new)
}

/// Who does not know a code at all may say so before looking at the socket.
fn unless_no_socket<T>(socket: BorrowedSock<'_>, answer: io::Result<T>) -> io::Result<T> {
    answer.map_err(|error| match SockRef::from(&socket).r#type() {
        Err(other) if wsa::is_no_socket(&other) => other,
        _ => error,
    })
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if wsa::is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_context_gives_the_destination() {
        let storage = |text: &str| {
            let mut bytes = sockaddr::encode(text.parse().unwrap());
            bytes.resize(size_of::<SOCKADDR_STORAGE>(), 0);
            bytes
        };
        for text in ["192.0.2.10:80", "[2001:db8::10]:443"] {
            let pair = [storage(text), storage("192.0.2.1:40000")].concat();
            assert_eq!(foreign_destination(&pair), text.parse().ok());
            assert_eq!(foreign_destination(&pair[..pair.len() - 1]), None);
        }
        assert_eq!(foreign_destination(&[0; 256]), None);
        assert_eq!(foreign_destination(b"acme"), None);
        assert_eq!(foreign_destination(b""), None);
    }

    #[test]
    fn constants_are_the_documented_ones() {
        assert_eq!(SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, 0x9800_00DC);
        assert_eq!(SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, 0x9800_00DD);
        assert_eq!(SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, 0x9800_00DE);
        assert_eq!((AF_INET, AF_INET6, size_of::<SOCKADDR_STORAGE>()), (2, 23, 128));
    }

    #[test]
    fn only_what_says_not_redirected_is_absence() {
        let code = |n| absent_is_none(Err::<(), _>(io::Error::from_raw_os_error(n)));
        for absent in [10022, 1168, 0x8032_0008_u32.cast_signed()] {
            assert!(matches!(code(absent), Ok(None)), "{absent}");
        }
        for error in [10045, 10057, 10038, 10014, 122] {
            assert_eq!(code(error).unwrap_err().raw_os_error(), Some(error));
        }
    }
}
