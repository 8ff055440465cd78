//! What went wrong, in which system call, and what to do about it.

use std::io;
use std::net::SocketAddr;

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {}: {source}", kind.advice(*operation))]
pub struct Error {
    operation: Operation,
    kind: ErrorKind,
    source: io::Error,
}

/// What was being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Reading the record blob or its size.
    ReadRecords,
    /// Reading the redirect context or its size.
    ReadContext,
    /// Reading the interface's version.
    ReadVersion,
    /// Reading the original destination.
    ReadDestination,
    /// Setting records.
    SetRecords,
    /// Naming the UDP peer that the next options mean.
    SelectPeer(SocketAddr),
    /// Opening a socket.
    OpenSocket,
    /// Binding to the network interface that the application had chosen.
    BindDevice(u32),
    /// Connecting upstream.
    Connect(SocketAddr),
    /// Opening the listener.
    Listen,
    /// Accepting.
    Accept,
    /// Receiving a datagram.
    Receive,
    /// Sending a datagram.
    Send(SocketAddr),
    /// Copying between two connections.
    Relay,
    /// Closing with a reset.
    Reset,
}

/// What it means, for decisions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No engine acts on this socket's cgroup.
    NoEngine,
    /// The socket is not connected, or no longer.
    NotConnected,
    /// Records can only be set before connecting.
    AlreadyConnected,
    /// The process is not a member of the provider that made the records' last hop.
    NotMember,
    /// These bytes are not records of the running engine.
    BadRecords,
    /// The connection has records or a context of a version that this library cannot read.
    UnknownVersion,
    /// A filter forbids the connection.
    Blocked,
    /// The destination refused, or the next provider's listener is gone and it says `block`.
    Refused,
    /// The engine's table of redirected connections is full.
    TableFull,
    /// The trail already has 16 hops.
    TrailFull,
    /// The destination did not answer in time.
    TimedOut,
    /// There is no way to the destination.
    Unreachable,
    /// The other side reset the connection.
    Reset,
    /// Descriptors or memory ran out: stop accepting for a while.
    Exhausted,
    /// Anything else; the source tells.
    Other,
}

impl Error {
    pub(crate) fn new(operation: Operation, source: io::Error) -> Self {
        Self { operation, kind: ErrorKind::of(operation, &source), source }
    }

    /// For `map_err`.
    pub(crate) fn of(operation: Operation) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::new(operation, source)
    }

    pub(crate) fn unknown_version(operation: Operation) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidData, "unknown layout version");
        Self { operation, kind: ErrorKind::UnknownVersion, source }
    }

    /// What was being done.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The system's error number, when the system refused.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self.kind, ErrorKind::TableFull | ErrorKind::TimedOut | ErrorKind::Exhausted)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.source.kind(), error)
    }
}

impl Operation {
    /// The system call that does it.
    #[must_use]
    pub const fn syscall(self) -> &'static str {
        match self {
            Self::ReadRecords | Self::ReadContext | Self::ReadVersion | Self::ReadDestination => {
                "getsockopt"
            }
            Self::SetRecords | Self::SelectPeer(_) | Self::BindDevice(_) | Self::Reset => {
                "setsockopt"
            }
            Self::OpenSocket => "socket",
            Self::Connect(_) => "connect",
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::Receive => "recvfrom",
            Self::Send(_) => "sendto",
            Self::Relay => "poll",
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ReadRecords => f.write_str("read the redirect records"),
            Self::ReadContext => f.write_str("read the redirect context"),
            Self::ReadVersion => f.write_str("read the engine's version"),
            Self::ReadDestination => f.write_str("read the original destination"),
            Self::SetRecords => f.write_str("set the redirect records"),
            Self::SelectPeer(peer) => write!(f, "select the flow of peer {peer}"),
            Self::OpenSocket => f.write_str("open a socket"),
            Self::BindDevice(index) => write!(f, "bind to network interface {index}"),
            Self::Connect(to) => write!(f, "connect to {to}"),
            Self::Listen => f.write_str("listen"),
            Self::Accept => f.write_str("accept a connection"),
            Self::Receive => f.write_str("receive a datagram"),
            Self::Send(to) => write!(f, "send a datagram to {to}"),
            Self::Relay => f.write_str("relay"),
            Self::Reset => f.write_str("reset the connection"),
        }
    }
}

impl ErrorKind {
    fn of(operation: Operation, source: &io::Error) -> Self {
        let Some(errno) = source.raw_os_error() else {
            return Self::of_std(source);
        };
        Self::of_option(operation, errno)
            .or_else(|| Self::of_connect(operation, errno))
            .unwrap_or_else(|| Self::of_errno(errno))
    }

    /// docs/abi.md, "Errors".
    const fn of_option(operation: Operation, errno: i32) -> Option<Self> {
        use Operation::{
            ReadContext, ReadDestination, ReadRecords, ReadVersion, SelectPeer, SetRecords,
        };
        match (operation, errno) {
            (
                ReadRecords | ReadContext | ReadVersion | ReadDestination | SetRecords
                | SelectPeer(_),
                libc::EOPNOTSUPP | libc::ENOPROTOOPT,
            ) => Some(Self::NoEngine),
            (SetRecords, libc::EACCES) => Some(Self::NotMember),
            (SetRecords, libc::EINVAL) => Some(Self::BadRecords),
            (SetRecords, libc::EISCONN) => Some(Self::AlreadyConnected),
            _ => None,
        }
    }

    /// A datagram on an unconnected socket is decided like a connect.
    const fn of_connect(operation: Operation, errno: i32) -> Option<Self> {
        match (operation, errno) {
            // EPERM is what a firewall or another cgroup program on the same hook says.
            (Operation::Connect(_) | Operation::Send(_), libc::EACCES | libc::EPERM) => {
                Some(Self::Blocked)
            }
            (Operation::Connect(_) | Operation::Send(_), libc::ECONNREFUSED) => Some(Self::Refused),
            (Operation::Connect(_) | Operation::Send(_), libc::ENOBUFS) => Some(Self::TableFull),
            (Operation::Connect(_) | Operation::Send(_), libc::ELOOP) => Some(Self::TrailFull),
            _ => None,
        }
    }

    const fn of_errno(errno: i32) -> Self {
        match errno {
            libc::ENOTCONN => Self::NotConnected,
            libc::ETIMEDOUT => Self::TimedOut,
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL => {
                Self::Unreachable
            }
            libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => Self::Reset,
            libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => Self::Exhausted,
            _ => Self::Other,
        }
    }

    fn of_std(source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Other,
        }
    }

    /// A sentence that tells what is wrong and what to do.
    #[must_use]
    pub const fn advice(self, operation: Operation) -> &'static str {
        match self {
            Self::NoEngine => {
                "no Hoptrail engine acts on this socket's cgroup; start `hoptrail run` or \
                 `hoptrail daemon` before the proxy opens its sockets"
            }
            Self::NotConnected => "the socket is not connected; use the accepted socket",
            Self::AlreadyConnected => "the socket is connected; set records before connecting",
            Self::NotMember => {
                "this process is not a member of the provider that made the last hop; add it to \
                 the provider's `members`, or let Hoptrail start it by `command`"
            }
            Self::BadRecords => {
                "these are not records of the running engine; set the bytes that were read, \
                 unchanged, in the same boot"
            }
            Self::UnknownVersion => {
                "the engine's layout is newer than this library; update the library, or carry \
                 the records on without reading them"
            }
            Self::Blocked => "a filter or the firewall forbids it; `hoptrail explain` says which",
            Self::Refused => {
                "the destination refused, or the next provider's listener is gone; look at \
                 `hoptrail providers`"
            }
            Self::TableFull => {
                "the engine's table of redirected connections is full; close connections, or \
                 try again later"
            }
            Self::TrailFull => "the trail already has 16 hops; use fewer providers",
            Self::TimedOut => "the destination did not answer in time",
            Self::Unreachable => "there is no way to the destination; look at the routes",
            Self::Reset => "the other side closed the connection",
            Self::Exhausted => {
                "descriptors or memory ran out; accept again when connections have closed, or \
                 raise `ulimit -n`"
            }
            Self::Other => operation.syscall(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(operation: Operation, errno: i32) -> ErrorKind {
        Error::new(operation, io::Error::from_raw_os_error(errno)).kind()
    }

    #[test]
    fn the_same_errno_means_what_its_call_says() {
        let to = "192.0.2.1:80".parse().unwrap();
        assert_eq!(kind(Operation::SetRecords, libc::EACCES), ErrorKind::NotMember);
        assert_eq!(kind(Operation::Connect(to), libc::EACCES), ErrorKind::Blocked);
        assert_eq!(kind(Operation::Connect(to), libc::ENOBUFS), ErrorKind::TableFull);
        assert_eq!(kind(Operation::Accept, libc::ENOBUFS), ErrorKind::Exhausted);
        assert_eq!(kind(Operation::ReadContext, libc::ENOPROTOOPT), ErrorKind::NoEngine);
        assert_eq!(kind(Operation::ReadContext, libc::EOPNOTSUPP), ErrorKind::NoEngine);
        assert_eq!(kind(Operation::OpenSocket, libc::EOPNOTSUPP), ErrorKind::Other);
    }

    #[test]
    fn the_message_names_operation_remedy_and_errno() {
        let error = Error::new(Operation::SetRecords, io::Error::from_raw_os_error(libc::EACCES));
        let text = error.to_string();
        assert!(text.starts_with("cannot set the redirect records: "), "{text}");
        assert!(text.contains("add it to the provider's `members`"), "{text}");
        assert!(text.contains("(os error 13)"), "{text}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
    }
}
