//! UDP: one listening socket, one flow per peer.

use crate::context::Context;
use crate::error::{Error, Operation, Result};
use crate::records::Records;
use crate::redirect::{PoolKey, Redirect};
use crate::sys::{self, Flows};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};

#[cfg(doc)]
use crate::ErrorKind;

/// A provider's UDP socket.
///
/// Each peer address is one flow: one socket of an application and one remote to which it sends. The
/// address may be a stand-in (127.128.0.0/9 or an IPv6 unique local address) where one application
/// socket talks to several remotes. Replies sent to it reach the application from the remote.
#[derive(Debug)]
pub struct UdpProxySocket {
    socket: UdpSocket,
    flows: Flows,
}

/// A redirected flow.
#[derive(Clone, Debug)]
pub struct UdpRedirect {
    peer: SocketAddr,
    redirect: Redirect,
}

impl UdpProxySocket {
    /// Binds the first of the addresses that can be bound: one of the provider's `listen`.
    ///
    /// # Errors
    /// When none can be bound.
    pub fn bind(addr: impl ToSocketAddrs) -> Result<Self> {
        UdpSocket::bind(addr).map_err(Error::of(Operation::Listen)).and_then(Self::from_std)
    }

    /// Takes a socket that is bound already.
    ///
    /// # Errors
    /// On Windows, when the system cannot be told that flows' records are wanted.
    pub fn from_std(socket: UdpSocket) -> Result<Self> {
        let flows = Flows::of(&socket).map_err(Error::of(Operation::Listen))?;
        Ok(Self { socket, flows })
    }

    /// The standard library's socket.
    #[must_use]
    pub const fn as_std(&self) -> &UdpSocket {
        &self.socket
    }

    /// Receives a datagram: its length and the peer that names its flow.
    ///
    /// # Errors
    /// When receiving fails.
    pub fn recv_from(&self, buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
        loop {
            match self.flows.recv_from(&self.socket, buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.map_err(Error::of(Operation::Receive)),
            }
        }
    }

    /// Sends a reply. The application receives it from the remote to which it had sent.
    ///
    /// # Errors
    /// When sending fails.
    pub fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> Result<usize> {
        self.socket.send_to(datagram, peer).map_err(Error::of(Operation::Send(peer)))
    }

    /// The flow of a peer; nothing when its datagrams were sent to this very socket. Flows that were
    /// idle for long are forgotten by the kernel, so ask at a flow's first datagram and keep the
    /// answer.
    ///
    /// # Errors
    /// As [`records`](crate::records()).
    pub fn redirect_of(&self, peer: SocketAddr) -> Result<Option<UdpRedirect>> {
        let redirect = self.flows.redirect_of(&self.socket, peer)?;
        Ok(redirect.map(|redirect| UdpRedirect::new(peer, redirect)))
    }
}

impl UdpRedirect {
    pub(crate) const fn new(peer: SocketAddr, redirect: Redirect) -> Self {
        Self { peer, redirect }
    }

    /// The peer that names the flow: where replies go.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The records, to carry on unchanged.
    #[must_use]
    pub const fn records(&self) -> &Records {
        self.redirect.records()
    }

    /// The context; nothing when the engine's layout is newer than this library.
    #[must_use]
    pub const fn context(&self) -> Option<&Context> {
        self.redirect.context()
    }

    /// The remote to which the application sends.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.redirect.destination()
    }

    /// As [`Redirect::pool_key`].
    #[must_use]
    pub fn pool_key(&self) -> PoolKey {
        self.redirect.pool_key()
    }

    /// A socket for this flow alone, connected to its destination, with the records set.
    ///
    /// # Errors
    /// As [`Redirect::dial`]. Windows carries the records of a flow with its first datagram only: there
    /// it is [`ErrorKind::Unsupported`], and [`dial_with`](Self::dial_with) does it.
    pub fn dial(&self) -> Result<UdpSocket> {
        sys::dial_flow(&self.redirect, None)
    }

    /// As [`dial`](Self::dial), and sends the flow's first datagram: the way that works on every system.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), and those of sending.
    pub fn dial_with(&self, datagram: &[u8]) -> Result<UdpSocket> {
        sys::dial_flow(&self.redirect, Some(datagram))
    }
}
