//! What Winsock's error numbers mean (docs/windows.md), and the words for it.

use crate::error::{Error, ErrorKind, Operation};
use std::io;
use windows_sys::Win32::Foundation::ERROR_NOT_FOUND;
use windows_sys::Win32::Networking::WinSock as ws;

const NOT_FOUND: i32 = ERROR_NOT_FOUND.cast_signed();
/// What the Filtering Platform says for "there is none".
const FWP_E_NOT_FOUND: i32 = 0x8032_0008_u32.cast_signed();

/// What an error number means, for decisions.
pub(crate) const fn kind_of(operation: Operation, number: i32) -> ErrorKind {
    use Operation::{Connect, ReadContext, ReadDestination, ReadRecords, Send, SetRecords};
    match (operation, number) {
        (
            ReadRecords | ReadContext | ReadDestination | SetRecords,
            ws::WSAEOPNOTSUPP | ws::WSAENOPROTOOPT,
        ) => ErrorKind::NoEngine,
        (SetRecords, ws::WSAEACCES) => ErrorKind::NotMember,
        (SetRecords, ws::WSAEINVAL) => ErrorKind::BadRecords,
        (SetRecords, ws::WSAEISCONN) => ErrorKind::AlreadyConnected,
        (Connect(_) | Send(_), ws::WSAEACCES) => ErrorKind::Blocked,
        // The last two are what is left of a refusal when it is asked for afterwards.
        (Connect(_) | Send(_), ws::WSAECONNREFUSED | ws::WSAECONNRESET | ws::WSAECONNABORTED) => {
            ErrorKind::Refused
        }
        _ => of_number(number),
    }
}

const fn of_number(number: i32) -> ErrorKind {
    match number {
        ws::WSAENOTCONN => ErrorKind::NotConnected,
        ws::WSAENOTSOCK => ErrorKind::NotSocket,
        ws::WSAETIMEDOUT => ErrorKind::TimedOut,
        ws::WSAENETUNREACH | ws::WSAEHOSTUNREACH | ws::WSAENETDOWN | ws::WSAEADDRNOTAVAIL => {
            ErrorKind::Unreachable
        }
        ws::WSAECONNRESET | ws::WSAECONNABORTED | ws::WSAESHUTDOWN => ErrorKind::Reset,
        ws::WSAEMFILE | ws::WSAENOBUFS => ErrorKind::Exhausted,
        _ => ErrorKind::Other,
    }
}

/// Whether a query says "this connection was not redirected". No number says only that: the Filtering
/// Platform's own is documented for the kernel, and WSAEINVAL is what Windows 11 was seen to give.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ws::WSAEINVAL | NOT_FOUND | FWP_E_NOT_FOUND))
}

/// Nobody has redirected it, or this version of Windows has no such option.
pub(super) fn nobody_knows(error: &io::Error) -> bool {
    let unknown = [ws::WSAENOPROTOOPT, ws::WSAEOPNOTSUPP, ws::WSAENOTCONN];
    is_absent(error) || error.raw_os_error().is_some_and(|number| unknown.contains(&number))
}

/// The handle is none of Winsock's.
pub(super) fn is_no_socket(error: &io::Error) -> bool {
    error.raw_os_error() == Some(ws::WSAENOTSOCK)
}

/// The function of an operation.
pub(crate) const fn syscall(operation: Operation) -> &'static str {
    use Operation as Op;
    match operation {
        Op::ReadRecords | Op::ReadContext | Op::ReadVersion | Op::SetRecords => "WSAIoctl",
        Op::ReadDestination => "getsockopt",
        Op::SelectPeer(_) | Op::BindDevice(_) | Op::Reset => "setsockopt",
        Op::OpenSocket => "WSASocketW",
        Op::Connect(_) => "connect",
        Op::Listen => "listen",
        Op::Accept => "accept",
        Op::Receive => "WSARecvMsg",
        Op::Send(_) => "WSASendMsg",
        Op::Relay => "WSAPoll",
    }
}

/// Errors of the connection, not of the listener.
pub(crate) fn skips(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(ws::WSAEINTR | ws::WSAECONNRESET | ws::WSAECONNABORTED | ws::WSAENETDOWN)
    )
}

/// Whether an accepted connection died before anyone asked about it.
pub(crate) fn died(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotConnected | ErrorKind::Reset)
}

/// A connect that goes on by itself.
pub(crate) fn under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ws::WSAEWOULDBLOCK | ws::WSAEINTR))
}

/// What a connection says that was reset.
pub(crate) fn reset_error() -> io::Error {
    io::Error::from_raw_os_error(ws::WSAECONNRESET)
}

/// Sentences that name what this system has.
pub(crate) mod advice {
    pub(crate) const NO_ENGINE: &str = "Windows' Filtering Platform does not answer on this socket; it needs Windows 8 or later and a \
         TCP socket of Windows' own provider, without a layered one over it";
    pub(crate) const NOT_MEMBER: &str = "setting records needs an administrator's elevated process; run the proxy as a service or \
         from an elevated prompt";
    pub(crate) const BAD_RECORDS: &str = "these are not records of a redirected connection; set the bytes that were read, unchanged, \
         on a new TCP socket";
    pub(crate) const UNKNOWN_VERSION: &str = "the context does not have Hoptrail's layout or that of Microsoft's sample driver; read the \
         driver's own bytes by `context_bytes`, and use `Redirect::with_destination`";
    pub(crate) const BLOCKED: &str =
        "a filter or the firewall forbids it; `netsh wfp show netevents` says which";
    pub(crate) const REFUSED: &str =
        "the destination refused, or the next provider's proxy does not listen";
    pub(crate) const EXHAUSTED: &str =
        "sockets or memory ran out; accept again when connections have closed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_means_what_its_call_says() {
        let to = "192.0.2.1:80".parse().unwrap();
        assert_eq!(kind_of(Operation::SetRecords, 10013), ErrorKind::NotMember);
        assert_eq!(kind_of(Operation::Connect(to), 10013), ErrorKind::Blocked);
        assert_eq!(kind_of(Operation::SetRecords, 10022), ErrorKind::BadRecords);
        assert_eq!(kind_of(Operation::ReadRecords, 10045), ErrorKind::NoEngine);
        assert_eq!(kind_of(Operation::OpenSocket, 10045), ErrorKind::Other);
        assert_eq!(kind_of(Operation::Connect(to), 10061), ErrorKind::Refused);
        assert_eq!(kind_of(Operation::Connect(to), 10053), ErrorKind::Refused);
        assert_eq!(kind_of(Operation::Relay, 10053), ErrorKind::Reset);
        assert_eq!(kind_of(Operation::Connect(to), 10060), ErrorKind::TimedOut);
        assert_eq!(kind_of(Operation::ReadContext, 10057), ErrorKind::NotConnected);
        assert_eq!(kind_of(Operation::ReadContext, 10038), ErrorKind::NotSocket);
        assert_eq!(kind_of(Operation::Accept, 10024), ErrorKind::Exhausted);
    }

    #[test]
    fn the_message_names_operation_remedy_and_number() {
        let error = Error::new(Operation::SetRecords, io::Error::from_raw_os_error(10013));
        let text = error.to_string();
        assert!(text.starts_with("cannot set the redirect records: "), "{text}");
        assert!(text.contains("elevated"), "{text}");
        assert!(text.contains("(os error 10013)"), "{text}");
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::PermissionDenied);
    }
}
