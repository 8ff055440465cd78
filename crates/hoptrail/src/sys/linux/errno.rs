//! What error numbers mean (docs/abi.md, "Errors"), and the words for it.

use crate::error::{Error, ErrorKind, Operation};
use std::io;

/// What an error number means, for decisions.
pub(crate) fn kind_of(operation: Operation, errno: i32) -> ErrorKind {
    of_option(operation, errno)
        .or_else(|| of_connect(operation, errno))
        .unwrap_or_else(|| of_errno(errno))
}

const fn of_option(operation: Operation, errno: i32) -> Option<ErrorKind> {
    use Operation::{
        ReadContext, ReadDestination, ReadRecords, ReadVersion, SelectPeer, SetRecords,
    };
    match (operation, errno) {
        (
            ReadRecords | ReadContext | ReadVersion | ReadDestination | SetRecords | SelectPeer(_),
            libc::EOPNOTSUPP | libc::ENOPROTOOPT,
        ) => Some(ErrorKind::NoEngine),
        (SetRecords, libc::EACCES) => Some(ErrorKind::NotMember),
        (SetRecords, libc::EINVAL) => Some(ErrorKind::BadRecords),
        (SetRecords, libc::EISCONN) => Some(ErrorKind::AlreadyConnected),
        _ => None,
    }
}

/// A datagram on an unconnected socket is decided like a connect.
const fn of_connect(operation: Operation, errno: i32) -> Option<ErrorKind> {
    match (operation, errno) {
        // EPERM is what a firewall or another cgroup program on the same hook says.
        (Operation::Connect(_) | Operation::Send(_), libc::EACCES | libc::EPERM) => {
            Some(ErrorKind::Blocked)
        }
        (Operation::Connect(_) | Operation::Send(_), libc::ECONNREFUSED) => {
            Some(ErrorKind::Refused)
        }
        (Operation::Connect(_) | Operation::Send(_), libc::ENOBUFS) => Some(ErrorKind::TableFull),
        (Operation::Connect(_) | Operation::Send(_), libc::ELOOP) => Some(ErrorKind::TrailFull),
        _ => None,
    }
}

const fn of_errno(errno: i32) -> ErrorKind {
    match errno {
        libc::ENOTCONN => ErrorKind::NotConnected,
        libc::ENOTSOCK => ErrorKind::NotSocket,
        libc::ETIMEDOUT => ErrorKind::TimedOut,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL => {
            ErrorKind::Unreachable
        }
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => ErrorKind::Reset,
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS => ErrorKind::Exhausted,
        _ => ErrorKind::Other,
    }
}

/// The system call of an operation.
pub(crate) const fn syscall(operation: Operation) -> &'static str {
    use Operation as Op;
    match operation {
        Op::ReadRecords | Op::ReadContext | Op::ReadVersion | Op::ReadDestination => "getsockopt",
        Op::SetRecords | Op::SelectPeer(_) | Op::BindDevice(_) | Op::Reset => "setsockopt",
        Op::OpenSocket => "socket",
        Op::Connect(_) => "connect",
        Op::Listen => "listen",
        Op::Accept => "accept",
        Op::Receive => "recvfrom",
        Op::Send(_) => "sendto",
        Op::Relay => "poll",
    }
}

/// accept(2): errors of the connection, not of the listener.
pub(crate) fn skips(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EHOSTDOWN
                | libc::ENOPROTOOPT
                | libc::ENONET
        )
    )
}

/// Whether an accepted connection died before anyone asked about it.
pub(crate) fn died(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotConnected | ErrorKind::Reset)
}

/// A connect that goes on by itself; also one that was interrupted.
pub(crate) fn under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// What a connection says that was reset.
pub(crate) fn reset_error() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

/// Sentences that name what this system has.
pub(crate) mod advice {
    pub(crate) const NO_ENGINE: &str = "no Hoptrail engine acts on this socket's cgroup; start `hoptrail run` or \
         `hoptrail daemon` before the proxy opens its sockets";
    pub(crate) const NOT_MEMBER: &str = "this process is not a member of the provider that made the last hop; add it to \
         the provider's `members`, or let Hoptrail start it by `command`";
    pub(crate) const BAD_RECORDS: &str = "these are not records of the running engine; set the bytes that were read, \
         unchanged, in the same boot";
    pub(crate) const UNKNOWN_VERSION: &str = "the engine's layout is newer than this library; update the library, or carry \
         the records on without reading them";
    pub(crate) const BLOCKED: &str =
        "a filter or the firewall forbids it; `hoptrail explain` says which";
    pub(crate) const REFUSED: &str = "the destination refused, or the next provider's listener is gone; look at \
         `hoptrail providers`";
    pub(crate) const EXHAUSTED: &str = "descriptors or memory ran out; accept again when connections have closed, or \
         raise `ulimit -n`";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_errno_means_what_its_call_says() {
        let to = "192.0.2.1:80".parse().unwrap();
        assert_eq!(kind_of(Operation::SetRecords, libc::EACCES), ErrorKind::NotMember);
        assert_eq!(kind_of(Operation::Connect(to), libc::EACCES), ErrorKind::Blocked);
        assert_eq!(kind_of(Operation::Connect(to), libc::ENOBUFS), ErrorKind::TableFull);
        assert_eq!(kind_of(Operation::Accept, libc::ENOBUFS), ErrorKind::Exhausted);
        assert_eq!(kind_of(Operation::ReadContext, libc::ENOPROTOOPT), ErrorKind::NoEngine);
        assert_eq!(kind_of(Operation::ReadContext, libc::EOPNOTSUPP), ErrorKind::NoEngine);
        assert_eq!(kind_of(Operation::OpenSocket, libc::EOPNOTSUPP), ErrorKind::Other);
        assert_eq!(kind_of(Operation::ReadRecords, libc::ENOTSOCK), ErrorKind::NotSocket);
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
