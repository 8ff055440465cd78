//! UDP: one listening socket, one flow per peer.

use crate::context::Context;
use crate::dial::connect;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::options::SelectedPeer;
use crate::records::Records;
use crate::redirect::{PoolKey, Redirect};
use socket2::Type;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::AsFd;

/// A provider's UDP socket.
///
/// Each peer address is one flow: one socket of an application and one remote to which it sends. The
/// address may be a stand-in (127.128.0.0/9 or an IPv6 unique local address) where one application
/// socket talks to several remotes. Replies sent to it reach the application from the remote.
#[derive(Debug)]
pub struct UdpProxySocket {
    socket: UdpSocket,
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
        UdpSocket::bind(addr).map(Self::from).map_err(Error::of(Operation::Listen))
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
            match self.socket.recv_from(buffer) {
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
        let _selected = SelectedPeer::new(self.socket.as_fd(), peer)?;
        match Redirect::of(&self.socket) {
            Ok(redirect) => Ok(redirect.map(|redirect| UdpRedirect { peer, redirect })),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl From<UdpSocket> for UdpProxySocket {
    fn from(socket: UdpSocket) -> Self {
        Self { socket }
    }
}

impl UdpRedirect {
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
    /// As [`Redirect::dial`].
    pub fn dial(&self) -> Result<UdpSocket> {
        let socket = self.redirect.upstream(Type::DGRAM)?;
        connect(&socket, self.destination(), None)?;
        Ok(socket.into())
    }
}
