//! What a call can fail with: the documented numbers, each with what it means here.

use crate::codes;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed. [`Error::code`] is the documented number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// WSAEINVAL, of a query: connected, but no redirect delivered this connection.
    #[error(
        "no records: the connection was made to this port directly; close it, never dial for it"
    )]
    NoRecords,
    /// ERROR_INSUFFICIENT_BUFFER: as many bytes are needed.
    #[error("the buffer is too small: offer {0} bytes")]
    InsufficientBuffer(u32),
    /// WSAEINVAL.
    #[error("an argument is not acceptable: {0}")]
    Invalid(&'static str),
    /// WSAENETDOWN: no engine acts on this socket.
    #[error("no engine acts on this socket; start one, and make the socket in its scope")]
    NoEngine,
    /// Another documented number.
    #[error("{}", explain(*.0))]
    Code(i32),
}

impl Error {
    /// WSA_OPERATION_ABORTED.
    pub const ABORTED: Self = Self::Code(codes::WSA_OPERATION_ABORTED);
    /// WSAEFAULT.
    pub const FAULT: Self = Self::Code(codes::WSAEFAULT);
    /// WSAEINTR.
    pub const INTERRUPTED: Self = Self::Code(codes::WSAEINTR);
    /// WSAENOTSOCK.
    pub const NOT_A_SOCKET: Self = Self::Code(codes::WSAENOTSOCK);
    /// WSAEOPNOTSUPP.
    pub const NOT_SUPPORTED: Self = Self::Code(codes::WSAEOPNOTSUPP);
    /// WSAENOTCONN.
    pub const NOT_CONNECTED: Self = Self::Code(codes::WSAENOTCONN);
    /// WSAENOPROTOOPT.
    pub const NO_SUCH_OPTION: Self = Self::Code(codes::WSAENOPROTOOPT);
    /// WSAEWOULDBLOCK.
    pub const WOULD_BLOCK: Self = Self::Code(codes::WSAEWOULDBLOCK);
    /// WSAEINPROGRESS.
    pub const IN_PROGRESS: Self = Self::Code(codes::WSAEINPROGRESS);
    /// WSA_INVALID_HANDLE.
    pub const BAD_HANDLE: Self = Self::Code(codes::WSA_INVALID_HANDLE);
    /// WSA_INVALID_PARAMETER.
    pub const BAD_PARAMETER: Self = Self::Code(codes::WSA_INVALID_PARAMETER);

    /// The documented number.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::NoRecords | Self::Invalid(_) => codes::WSAEINVAL,
            Self::InsufficientBuffer(_) => codes::ERROR_INSUFFICIENT_BUFFER,
            Self::NoEngine => codes::WSAENETDOWN,
            Self::Code(code) => code,
        }
    }

    /// The number that Winsock has for an errno.
    #[must_use]
    pub fn of_errno(errno: i32) -> Self {
        let known = ERRNOS.iter().find(|(number, _)| *number == errno);
        Self::Code(known.map_or(codes::WSASYSCALLFAILURE, |(_, code)| *code))
    }

    pub(crate) fn last_os() -> Self {
        Self::of_errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::of_errno(errno.raw_os_error())
    }
}

/// A descriptor that is not open is to Winsock as little a socket as a file is.
const ERRNOS: &[(i32, i32)] = &[
    (libc::EINTR, codes::WSAEINTR),
    (libc::EBADF, codes::WSAENOTSOCK),
    (libc::EACCES, codes::WSAEACCES),
    (libc::EPERM, codes::WSAEACCES),
    (libc::EFAULT, codes::WSAEFAULT),
    (libc::EINVAL, codes::WSAEINVAL),
    (libc::EMFILE, codes::WSAEMFILE),
    (libc::ENFILE, codes::WSAEMFILE),
    (libc::EAGAIN, codes::WSAEWOULDBLOCK),
    (libc::EINPROGRESS, codes::WSAEINPROGRESS),
    (libc::EALREADY, codes::WSAEALREADY),
    (libc::ENOTSOCK, codes::WSAENOTSOCK),
    (libc::EDESTADDRREQ, codes::WSAEDESTADDRREQ),
    (libc::EMSGSIZE, codes::WSAEMSGSIZE),
    (libc::EPROTOTYPE, codes::WSAEPROTOTYPE),
    (libc::ENOPROTOOPT, codes::WSAENOPROTOOPT),
    (libc::EPROTONOSUPPORT, codes::WSAEPROTONOSUPPORT),
    (libc::ESOCKTNOSUPPORT, codes::WSAESOCKTNOSUPPORT),
    (libc::EOPNOTSUPP, codes::WSAEOPNOTSUPP),
    (libc::EAFNOSUPPORT, codes::WSAEAFNOSUPPORT),
    (libc::EADDRINUSE, codes::WSAEADDRINUSE),
    (libc::EADDRNOTAVAIL, codes::WSAEADDRNOTAVAIL),
    (libc::ENETDOWN, codes::WSAENETDOWN),
    (libc::ENETUNREACH, codes::WSAENETUNREACH),
    (libc::ENETRESET, codes::WSAENETRESET),
    (libc::ECONNABORTED, codes::WSAECONNABORTED),
    (libc::ECONNRESET, codes::WSAECONNRESET),
    (libc::EPIPE, codes::WSAESHUTDOWN),
    (libc::ENOBUFS, codes::WSAENOBUFS),
    (libc::ENOMEM, codes::WSAENOBUFS),
    (libc::EISCONN, codes::WSAEISCONN),
    (libc::ENOTCONN, codes::WSAENOTCONN),
    (libc::ESHUTDOWN, codes::WSAESHUTDOWN),
    (libc::ETIMEDOUT, codes::WSAETIMEDOUT),
    (libc::ECONNREFUSED, codes::WSAECONNREFUSED),
    (libc::ELOOP, codes::WSAELOOP),
    (libc::EHOSTDOWN, codes::WSAEHOSTDOWN),
    (libc::EHOSTUNREACH, codes::WSAEHOSTUNREACH),
];

fn explain(code: i32) -> String {
    let what = match code {
        codes::WSA_OPERATION_ABORTED => {
            "the operation was cancelled: its socket was closed or flushed, its thread ended, or it was told to"
        }
        codes::WSAEACCES => {
            "this process is not a member of the provider that made the last hop; add it to the provider's `members`"
        }
        codes::WSAEFAULT => "a pointer does not lead to memory of this process",
        codes::WSAEINPROGRESS => {
            "a completion routine is running in this thread; make an overlapped call, or wait for its end"
        }
        codes::WSAEINTR => "the blocking call was interrupted; call again",
        codes::WSAENOTSOCK => "the descriptor is not a socket",
        codes::WSAEOPNOTSUPP => "this code, or this kind of socket, is not supported",
        codes::WSAENOPROTOOPT => "the socket's protocol has no such option",
        codes::WSAENOTCONN => "the socket is not connected; use the accepted socket",
        codes::WSAEWOULDBLOCK => {
            "it would have to wait, and the socket is non-blocking; call again later"
        }
        codes::WSANOTINITIALISED => "WSAStartup has not been called",
        codes::WSAENOBUFS => "memory or a table of the kernel is full; try again",
        _ => return format!("Winsock error {code}"),
    };
    format!("{what} ({code})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_records_and_a_bad_argument_share_their_number_only() {
        assert_eq!(Error::NoRecords.code(), 10022);
        assert_eq!(Error::Invalid("x").code(), 10022);
        assert_ne!(Error::NoRecords, Error::Invalid("x"));
    }

    #[test]
    fn an_errno_that_winsock_does_not_know_is_a_system_call_failure() {
        assert_eq!(Error::of_errno(libc::ENOTDIR).code(), codes::WSASYSCALLFAILURE);
        assert_eq!(Error::of_errno(libc::EBADF).code(), codes::WSAENOTSOCK);
    }

    #[test]
    fn messages_say_what_to_do() {
        assert!(Error::InsufficientBuffer(240).to_string().contains("offer 240 bytes"));
        assert!(Error::Code(codes::WSAEACCES).to_string().contains("members"));
    }
}
