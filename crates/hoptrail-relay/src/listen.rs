//! Listening sockets.

use crate::congestion::OnLoopback;
use crate::sockets;
use hoptrail::UdpProxySocket;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// As many as the system allows (`net.core.somaxconn`): a burst waits rather than fails.
const BACKLOG: i32 = i32::MAX;

/// A TCP listener and the address that it has got.
pub(crate) fn tcp(at: SocketAddr, on_loopback: OnLoopback) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    if at.is_ipv6() {
        // A provider's listener names both families; one socket for both would take the other's port.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit all this: a relay passes on whole messages.
    socket.set_tcp_nodelay(true)?;
    sockets::keep_order(&socket)?;
    sockets::keep_alive(&socket)?;
    on_loopback.apply(&socket, at);
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    let got = socket.local_addr()?.as_socket().unwrap_or(at);
    Ok((socket.into(), got))
}

/// A UDP listener.
pub(crate) fn udp(at: SocketAddr) -> io::Result<UdpProxySocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    UdpProxySocket::from_std(socket.into()).map_err(Into::into)
}
