//! Opening and closing sockets.

use super::types::{
    DWORD, GROUP, INT, INVALID_SOCKET, LONG, LPULONG, LPWSAPROTOCOL_INFOA, LPWSAPROTOCOL_INFOW,
    SOCKET,
};
use super::{guard, zero_or_error};
use crate::codes::{FIONBIO_WINSOCK, WSA_FLAG_NO_HANDLE_INHERIT, WSA_FLAG_OVERLAPPED, WSAEINVAL};
use crate::overlapped::interrupt_socket;
use crate::system::{self, Descriptor};
use crate::{Error, Result, memory, startup, world};
use std::os::fd::{IntoRawFd, OwnedFd};

/// Opens a socket: a descriptor of the process, which every function of the system takes. It is
/// overlapped if dwFlags has WSA_FLAG_OVERLAPPED.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSASocketW(
    af: INT,
    r#type: INT,
    protocol: INT,
    lpProtocolInfo: LPWSAPROTOCOL_INFOW,
    _g: GROUP,
    dwFlags: DWORD,
) -> SOCKET {
    guard(INVALID_SOCKET, || {
        startup::check()?;
        open(af, r#type, protocol, !lpProtocolInfo.is_null(), dwFlags)
    })
}

/// As WSASocketW.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSASocketA(
    af: INT,
    r#type: INT,
    protocol: INT,
    lpProtocolInfo: LPWSAPROTOCOL_INFOA,
    _g: GROUP,
    dwFlags: DWORD,
) -> SOCKET {
    guard(INVALID_SOCKET, || {
        startup::check()?;
        open(af, r#type, protocol, !lpProtocolInfo.is_null(), dwFlags)
    })
}

/// Closes a socket. What is pending on it ends with WSA_OPERATION_ABORTED, a call that blocks on it
/// with WSAEINTR. Closed by close(2) instead, pending operations end within about a second.
#[unsafe(no_mangle)]
pub(super) extern "C" fn closesocket(s: SOCKET) -> INT {
    zero_or_error(|| {
        startup::check()?;
        let fd = Descriptor::new(s).ok_or(Error::NOT_A_SOCKET)?;
        let cookie = fd.cookie()?;
        let world = world::get();
        world.cancel_socket(fd, cookie);
        interrupt_socket(fd, cookie);
        world.sockets.forget(cookie);
        Ok(fd.close()?)
    })
}

/// Non-blocking mode, by the code FIONBIO; other codes fail with WSAEINVAL.
#[unsafe(no_mangle)]
pub(super) extern "C" fn ioctlsocket(s: SOCKET, cmd: LONG, argp: LPULONG) -> INT {
    zero_or_error(|| {
        startup::check()?;
        let fd = Descriptor::new(s).ok_or(Error::NOT_A_SOCKET)?;
        fd.cookie()?;
        // The system's own number for it is as good.
        if !is_fionbio(cmd.cast_unsigned()) {
            return Err(Error::Code(WSAEINVAL));
        }
        let on: libc::c_ulong = memory::read(argp as usize)?;
        set_nonblocking(fd, on != 0)
    })
}

/// Winsock's number, or the system's own.
pub(super) fn is_fionbio(code: DWORD) -> bool {
    code == FIONBIO_WINSOCK || libc::Ioctl::from(code) == libc::FIONBIO
}

/// Sets the mode of a socket.
pub(super) fn set_nonblocking(fd: Descriptor, on: bool) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd.fd())?;
    let nonblocking = rustix::fs::OFlags::NONBLOCK;
    let flags = if on { flags | nonblocking } else { flags - nonblocking };
    Ok(rustix::fs::fcntl_setfl(fd.fd(), flags)?)
}

fn open(family: INT, kind: INT, protocol: INT, info: bool, flags: DWORD) -> Result<SOCKET> {
    if info {
        return Err(Error::Invalid("a WSAPROTOCOL_INFO is not used here; give the numbers"));
    }
    if flags & !(WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT) != 0 {
        return Err(Error::Invalid("a flag that this library does not know"));
    }
    let closed = if flags & WSA_FLAG_NO_HANDLE_INHERIT != 0 { libc::SOCK_CLOEXEC } else { 0 };
    let socket: OwnedFd = system::socket(family, kind | closed, protocol)?;
    if flags & WSA_FLAG_OVERLAPPED == 0 {
        world::prepare_for_fork();
        world::get().sockets.change(Descriptor::of(&socket), |known| known.overlapped = false)?;
    }
    usize::try_from(socket.into_raw_fd()).map_err(|_| Error::NOT_A_SOCKET)
}
