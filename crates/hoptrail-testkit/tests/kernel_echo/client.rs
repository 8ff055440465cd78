//! A client's side of one cell: a question, and what came of it.

use crate::cell::Protocol;
use crate::echo::Echo;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// An answer that takes longer does not come.
const LIMIT: Duration = Duration::from_secs(5);

/// What a client is to do.
#[derive(Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) protocol: Protocol,
    pub(crate) to: SocketAddr,
    /// For an IPv6 socket.
    pub(crate) dual_stack: bool,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Answered {
        echo: Echo,
        /// Whom the client takes for the other side.
        from: SocketAddr,
        /// Port of the client's socket.
        own_port: u16,
    },
    Refused {
        call: String,
        errno: i32,
    },
}

/// In the client: asks on a new socket.
pub(crate) fn ask(question: Question) -> io::Result<Outcome> {
    let Question { protocol, to, dual_stack } = question;
    let kind = if protocol == Protocol::Tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    if to.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    socket.set_read_timeout(Some(LIMIT))?;
    if let Err((call, error)) = send(&socket, protocol, &to.into()) {
        let errno = error.raw_os_error().unwrap_or(-1);
        return Ok(Outcome::Refused { call: call.into(), errno });
    }
    let own_port = socket.local_addr()?.as_socket().map_or(0, |own| own.port());
    let mut answer = [0; 4096];
    let (n, from) = if protocol == Protocol::Tcp {
        let peer = socket.peer_addr()?.as_socket().unwrap();
        (io::Read::read(&mut &socket, &mut answer)?, peer)
    } else {
        let socket = UdpSocket::from(socket);
        if protocol == Protocol::ConnectedUdp {
            assert_eq!(socket.peer_addr()?, to, "getpeername");
        }
        socket.recv_from(&mut answer)?
    };
    Ok(Outcome::Answered { echo: serde_json::from_slice(&answer[..n])?, from, own_port })
}

/// The question is on its way, or the call that failed.
fn send(
    socket: &Socket,
    protocol: Protocol,
    to: &SockAddr,
) -> Result<usize, (&'static str, io::Error)> {
    if protocol == Protocol::UnconnectedUdp {
        return socket.send_to(b"?", to).map_err(|e| ("sendto", e));
    }
    socket.connect(to).map_err(|e| ("connect", e))?;
    socket.send(b"?").map_err(|e| ("send", e))
}
