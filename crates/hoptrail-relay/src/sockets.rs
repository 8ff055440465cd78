//! The few things that are done to sockets besides copying.

use rustix::io::Errno;
use rustix::net::sockopt;
use std::os::fd::AsFd;
use std::time::Duration;

/// Makes the coming close a reset: unsent data is dropped, and the other side sees a failure.
pub(crate) fn reset_on_close(socket: impl AsFd) {
    // Where it is refused (the connection is gone), an ordinary close is all that is left.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Urgent bytes stay in their place among the others.
pub(crate) fn keep_order(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_socket_oobinline(socket, true)
}

/// A peer that has vanished is noticed: each side's own keepalive probes are answered by our kernel, and
/// would no longer tell it.
pub(crate) fn keep_alive(socket: impl AsFd) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)
}

/// The pending error, which reading clears.
pub(crate) fn take_error(socket: impl AsFd) -> Option<Errno> {
    match sockopt::socket_error(socket) {
        Ok(Ok(())) => None,
        Ok(Err(error)) | Err(error) => Some(error),
    }
}

/// Whether a system call failed only because there was nothing to do yet.
pub(crate) fn is_wait(error: Errno) -> bool {
    matches!(error, Errno::AGAIN | Errno::INTR)
}
