//! UDP.

use crate::error::{Error, Operation, Result};
use crate::sys::Flows;
use std::net::SocketAddr;
use std::ops::Deref;
use tokio::io::Interest;
use tokio::net::{ToSocketAddrs, UdpSocket};

/// As [`crate::UdpProxySocket`].
#[derive(Debug)]
pub struct UdpProxySocket {
    socket: UdpSocket,
    flows: Flows,
}

/// As [`crate::UdpRedirect`].
#[derive(Clone, Debug)]
pub struct UdpRedirect(crate::UdpRedirect);

impl UdpProxySocket {
    /// As [`crate::UdpProxySocket::bind`].
    ///
    /// # Errors
    /// When none of the addresses can be bound.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self> {
        Self::from_tokio(UdpSocket::bind(addr).await.map_err(Error::of(Operation::Listen))?)
    }

    /// Takes a socket that is bound already.
    ///
    /// # Errors
    /// As [`crate::UdpProxySocket::from_std`].
    pub fn from_tokio(socket: UdpSocket) -> Result<Self> {
        let flows = Flows::of(&socket).map_err(Error::of(Operation::Listen))?;
        Ok(Self { socket, flows })
    }

    /// tokio's socket.
    #[must_use]
    pub const fn as_tokio(&self) -> &UdpSocket {
        &self.socket
    }

    /// Receives a datagram: its length and the peer that names its flow. Dropping the future loses no
    /// datagram.
    ///
    /// # Errors
    /// When receiving fails.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        let receive = || self.flows.recv_from(&self.socket, buffer);
        let received = self.socket.async_io(Interest::READABLE, receive).await;
        received.map_err(Error::of(Operation::Receive))
    }

    /// As [`crate::UdpProxySocket::send_to`].
    ///
    /// # Errors
    /// When sending fails.
    pub async fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> Result<usize> {
        self.socket.send_to(datagram, peer).await.map_err(Error::of(Operation::Send(peer)))
    }

    /// As [`crate::UdpProxySocket::redirect_of`]; the kernel answers at once.
    ///
    /// # Errors
    /// As [`records`](crate::records()).
    pub fn redirect_of(&self, peer: SocketAddr) -> Result<Option<UdpRedirect>> {
        let redirect = self.flows.redirect_of(&self.socket, peer)?;
        Ok(redirect.map(|redirect| UdpRedirect(crate::UdpRedirect::new(peer, redirect))))
    }
}

impl UdpRedirect {
    /// As [`crate::UdpRedirect::dial`].
    ///
    /// # Errors
    /// As [`crate::UdpRedirect::dial`].
    pub fn dial(&self) -> Result<UdpSocket> {
        registered(self.0.dial()?, self.0.destination())
    }

    /// As [`crate::UdpRedirect::dial_with`].
    ///
    /// # Errors
    /// As [`crate::UdpRedirect::dial_with`].
    pub fn dial_with(&self, datagram: &[u8]) -> Result<UdpSocket> {
        registered(self.0.dial_with(datagram)?, self.0.destination())
    }
}

impl Deref for UdpRedirect {
    type Target = crate::UdpRedirect;

    fn deref(&self) -> &crate::UdpRedirect {
        &self.0
    }
}

fn registered(socket: std::net::UdpSocket, to: SocketAddr) -> Result<UdpSocket> {
    let socket = socket.set_nonblocking(true).and_then(|()| UdpSocket::from_std(socket));
    socket.map_err(Error::of(Operation::Connect(to)))
}
