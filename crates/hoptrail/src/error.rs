//! What went wrong, in which system call, and what to do about it.

use crate::sys::{self, advice};
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
    /// This system has no such thing: on Windows the engine's version.
    Unsupported,
    /// Not a socket.
    NotSocket,
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
        sys::syscall(self)
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
        match source.raw_os_error() {
            Some(number) => sys::kind_of(operation, number),
            None => Self::of_std(source),
        }
    }

    fn of_std(source: &io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::Unsupported => Self::Unsupported,
            _ => Self::Other,
        }
    }

    /// A sentence that tells what is wrong and what to do.
    #[must_use]
    pub const fn advice(self, operation: Operation) -> &'static str {
        match self {
            Self::NoEngine => advice::NO_ENGINE,
            Self::NotConnected => "the socket is not connected; use the accepted socket",
            Self::AlreadyConnected => "the socket is connected; set records before connecting",
            Self::NotMember => advice::NOT_MEMBER,
            Self::BadRecords => advice::BAD_RECORDS,
            Self::UnknownVersion => advice::UNKNOWN_VERSION,
            Self::Blocked => advice::BLOCKED,
            Self::Refused => advice::REFUSED,
            Self::TableFull => {
                "the engine's table of redirected connections is full; close connections, or \
                 try again later"
            }
            Self::TrailFull => "the trail already has 16 hops; use fewer providers",
            Self::TimedOut => "the destination did not answer in time",
            Self::Unreachable => "there is no way to the destination; look at the routes",
            Self::Reset => "the other side closed the connection",
            Self::Exhausted => advice::EXHAUSTED,
            Self::NotSocket => "this is no socket",
            Self::Unsupported => "this system cannot do it; docs/windows.md says what differs",
            Self::Other => operation.syscall(),
        }
    }
}
