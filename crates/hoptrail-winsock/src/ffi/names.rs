//! What the Berkeley names mean in a file that includes the header: the system's functions, with
//! Winsock's arguments and with errors where Windows programs look for them.

use super::types::{INT, INVALID_SOCKET, LPCSOCKADDR, LPCVOID, LPINT, LPSOCKADDR, LPVOID, SOCKET};
use super::{guard, length, zero_or_error};
use crate::codes::{WSAEDESTADDRREQ, WSAEWOULDBLOCK};
use crate::system::{self, Descriptor, Span};
use crate::udp::{Switches, receive};
use crate::{Error, Result, memory, startup, world};
use rustix::io::Errno;
use std::os::fd::IntoRawFd;

/// socket: an overlapped one.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_socket(af: INT, r#type: INT, protocol: INT) -> SOCKET {
    guard(INVALID_SOCKET, || {
        startup::check()?;
        number(system::socket(af, r#type, protocol)?.into_raw_fd())
    })
}

/// bind.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_bind(s: SOCKET, name: LPCSOCKADDR, namelen: INT) -> INT {
    zero_or_error(|| {
        let (fd, name) = (socket(s)?, bytes(name as usize, namelen)?);
        // SAFETY: the kernel reads no more than the length that is given.
        checked(
            unsafe { libc::bind(fd.raw(), name.as_ptr().cast(), name.len() as libc::socklen_t) }
                as isize,
        )
        .map(|_| ())
    })
}

/// listen.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_listen(s: SOCKET, backlog: INT) -> INT {
    zero_or_error(|| {
        let fd = socket(s)?;
        // SAFETY: listen(2) has no conditions.
        checked(unsafe { libc::listen(fd.raw(), backlog) } as isize).map(|_| ())
    })
}

/// accept: the new socket is overlapped if the listener is.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_accept(s: SOCKET, addr: LPSOCKADDR, addrlen: LPINT) -> SOCKET {
    guard(INVALID_SOCKET, || {
        let fd = socket(s)?;
        let (addr, addrlen) = (addr as usize, addrlen as usize);
        // SAFETY: the kernel checks both addresses, and writes through neither when it cannot.
        let new = checked(
            unsafe { libc::accept4(fd.raw(), addr as *mut _, addrlen as *mut _, 0) } as isize,
        )?;
        inherit(fd, new)?;
        Ok(new)
    })
}

/// connect: a non-blocking one that is under way fails with WSAEWOULDBLOCK, as on Windows.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_connect(s: SOCKET, name: LPCSOCKADDR, namelen: INT) -> INT {
    zero_or_error(|| {
        let (fd, name) = (socket(s)?, bytes(name as usize, namelen)?);
        match system::connect(fd, &name) {
            Err(Errno::INPROGRESS) => Err(Error::Code(WSAEWOULDBLOCK)),
            other => system_result(other),
        }
    })
}

/// shutdown: SD_RECEIVE, SD_SEND and SD_BOTH are the system's SHUT_RD, SHUT_WR and SHUT_RDWR.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_shutdown(s: SOCKET, how: INT) -> INT {
    zero_or_error(|| {
        let fd = socket(s)?;
        // SAFETY: shutdown(2) has no conditions.
        checked(unsafe { libc::shutdown(fd.raw(), how) } as isize).map(|_| ())
    })
}

/// send: without SIGPIPE.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_send(s: SOCKET, buf: LPCVOID, len: INT, flags: INT) -> INT {
    hoptrail_sendto(s, buf, len, flags, std::ptr::null(), 0)
}

/// sendto: without SIGPIPE.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_sendto(
    s: SOCKET,
    buf: LPCVOID,
    len: INT,
    flags: INT,
    to: LPCSOCKADDR,
    tolen: INT,
) -> INT {
    guard(super::SOCKET_ERROR, || {
        let fd = socket(s)?;
        let to_length = if to.is_null() { 0 } else { length(tolen)? };
        let (from, size) = ((buf as usize) as *const _, length(len)?);
        let (to, flags) = ((to as usize) as *const _, flags | libc::MSG_NOSIGNAL);
        // SAFETY: the kernel checks both addresses, and reads through neither when it cannot.
        let sent =
            unsafe { libc::sendto(fd.raw(), from, size, flags, to, to_length as libc::socklen_t) };
        checked(sent).map(|sent| sent as INT)
    })
}

/// recv: on a socket with switches on, it loses the records of a flow that begins.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_recv(s: SOCKET, buf: LPVOID, len: INT, flags: INT) -> INT {
    hoptrail_recvfrom(s, buf, len, flags, std::ptr::null_mut(), std::ptr::null_mut())
}

/// recvfrom: as recv.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_recvfrom(
    s: SOCKET,
    buf: LPVOID,
    len: INT,
    flags: INT,
    from: LPSOCKADDR,
    fromlen: LPINT,
) -> INT {
    guard(super::SOCKET_ERROR, || {
        let fd = socket(s)?;
        let into = Span { address: buf as usize, length: length(len)? };
        let (from, fromlen) = (from as usize, fromlen as usize);
        if let Some(switches) = world::get().sockets.of(fd).and_then(|known| known.switches)
            && switches.any()
        {
            return received(fd, into, flags, &switches, from, fromlen);
        }
        // SAFETY: the kernel checks the addresses, and writes through none where it cannot.
        let got = unsafe {
            libc::recvfrom(
                fd.raw(),
                into.address as *mut _,
                into.length,
                flags,
                from as *mut _,
                fromlen as *mut _,
            )
        };
        checked(got).map(|got| got as INT)
    })
}

/// getsockname.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_getsockname(s: SOCKET, name: LPSOCKADDR, namelen: LPINT) -> INT {
    zero_or_error(|| {
        let (fd, name, size) = (socket(s)?, name as usize, namelen as usize);
        // SAFETY: the kernel checks both addresses, and writes through neither when it cannot.
        checked(unsafe { libc::getsockname(fd.raw(), name as *mut _, size as *mut _) } as isize)
            .map(|_| ())
    })
}

/// getpeername.
#[unsafe(no_mangle)]
pub(super) extern "C" fn hoptrail_getpeername(s: SOCKET, name: LPSOCKADDR, namelen: LPINT) -> INT {
    zero_or_error(|| {
        let (fd, name, size) = (socket(s)?, name as usize, namelen as usize);
        // SAFETY: the kernel checks both addresses, and writes through neither when it cannot.
        checked(unsafe { libc::getpeername(fd.raw(), name as *mut _, size as *mut _) } as isize)
            .map(|_| ())
    })
}

/// A datagram of a socket with switches: its flow counts as begun, whoever begins to look at it.
fn received(
    fd: Descriptor,
    into: Span,
    flags: INT,
    switches: &Switches,
    from: usize,
    fromlen: usize,
) -> Result<INT> {
    let mut got = None;
    let waits = flags & libc::MSG_DONTWAIT == 0;
    let mut attempt = || match receive(fd, &[into], 0, flags, Some(switches)) {
        Ok(received) => {
            let bytes = received.bytes;
            got = Some(received);
            crate::overlapped::Step::Done(Ok(bytes))
        }
        Err(step) => step,
    };
    let bytes = if waits {
        crate::overlapped::finish(fd, None, attempt)?
    } else {
        match attempt() {
            crate::overlapped::Step::Done(outcome) => outcome?,
            crate::overlapped::Step::NotYet(_) => return Err(Error::WOULD_BLOCK),
        }
    };
    let name = got.map(|received| received.name).unwrap_or_default();
    if from != 0 {
        let room: INT = memory::read(fromlen)?;
        memory::write_bytes(from, &name[..name.len().min(length(room)?)])?;
        memory::write(fromlen, &(name.len() as INT))?;
    }
    Ok(bytes as INT)
}

/// An accepted socket has the listener's attribute.
fn inherit(listener: Descriptor, accepted: SOCKET) -> Result<()> {
    let sockets = &world::get().sockets;
    if sockets.is_overlapped(listener) {
        return Ok(());
    }
    let accepted = Descriptor::new(accepted).ok_or(Error::NOT_A_SOCKET)?;
    sockets.change(accepted, |known| known.overlapped = false)
}

/// A socket of a process that has started Winsock.
pub(super) fn socket(s: SOCKET) -> Result<Descriptor> {
    startup::check()?;
    Descriptor::new(s).ok_or(Error::NOT_A_SOCKET)
}

/// The system's result: errno stays set for programs that look at it.
pub(super) fn system_result(result: std::result::Result<(), Errno>) -> Result<()> {
    result.map_err(Error::from)
}

fn checked(result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Error::last_os())
}

fn number(fd: i32) -> Result<SOCKET> {
    usize::try_from(fd).map_err(|_| Error::NOT_A_SOCKET)
}

fn bytes(address: usize, size: INT) -> Result<Vec<u8>> {
    let size = length(size)?;
    if size > size_of::<libc::sockaddr_un>().max(size_of::<libc::sockaddr_storage>()) {
        return Err(Error::FAULT);
    }
    if address == 0 {
        return Err(if size == 0 { Error::Code(WSAEDESTADDRREQ) } else { Error::FAULT });
    }
    let mut bytes = vec![0; size];
    memory::read_bytes(address, &mut bytes)?;
    Ok(bytes)
}
