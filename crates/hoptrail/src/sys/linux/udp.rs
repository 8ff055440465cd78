//! UDP: the kernel keeps the flows; which one a query means is said before it.

use super::{AsSock, BorrowedSock, sockopt};
use crate::dial::connect;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::redirect::Redirect;
use crate::sockaddr;
use hoptrail_core::abi::{REDIRECT_PEER, SOL_HOPTRAIL};
use rustix::net::{RecvFlags, SocketAddrAny, recvfrom};
use socket2::Type;
use std::io;
use std::net::{SocketAddr, UdpSocket};

/// What must be kept of flows besides what the kernel keeps: nothing.
#[derive(Debug)]
pub(crate) struct Flows;

impl Flows {
    /// Of a socket that is to receive redirected flows.
    #[expect(clippy::unnecessary_wraps, reason = "on other systems it must be switched on")]
    pub(crate) fn of(_: &impl AsSock) -> io::Result<Self> {
        Ok(Self)
    }

    /// Receives a datagram.
    #[expect(clippy::unused_self, reason = "on other systems a flow's records come with it")]
    pub(crate) fn recv_from(
        &self,
        socket: &impl AsSock,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        // As std's: what does not fit is cut off, and the length is what was received.
        let (n, _, peer) = recvfrom(socket, buffer, RecvFlags::empty())?;
        let peer = peer.and_then(|peer: SocketAddrAny| SocketAddr::try_from(peer).ok());
        Ok((n, peer.ok_or_else(|| io::Error::other("the peer has no IP address"))?))
    }

    /// The flow of a peer.
    #[expect(clippy::unused_self, reason = "on other systems they are kept here")]
    pub(crate) fn redirect_of(
        &self,
        socket: &impl AsSock,
        peer: SocketAddr,
    ) -> Result<Option<Redirect>> {
        let _selected = SelectedPeer::new(socket.as_fd(), peer)?;
        match Redirect::of(socket) {
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(None),
            other => other,
        }
    }
}

/// A socket for a flow, with its records, on which `first` was sent.
pub(crate) fn dial_flow(redirect: &Redirect, first: Option<&[u8]>) -> Result<UdpSocket> {
    let to = redirect.destination();
    let socket = redirect.upstream(Type::DGRAM)?;
    connect(&socket, to, None)?;
    if let Some(datagram) = first {
        socket.send(datagram).map_err(Error::of(Operation::Send(to)))?;
    }
    Ok(socket.into())
}

/// Until dropped, this thread's options on the socket mean the flow of one peer.
struct SelectedPeer<'s>(BorrowedSock<'s>);

impl<'s> SelectedPeer<'s> {
    fn new(socket: BorrowedSock<'s>, peer: SocketAddr) -> Result<Self> {
        sockopt::set(socket, SOL_HOPTRAIL, REDIRECT_PEER, &sockaddr::encode(peer))
            .map_err(Error::of(Operation::SelectPeer(peer)))?;
        Ok(Self(socket))
    }
}

impl Drop for SelectedPeer<'_> {
    fn drop(&mut self) {
        // The engine may be gone by now, and its selections with it.
        let _ = sockopt::set(self.0, SOL_HOPTRAIL, REDIRECT_PEER, &[]);
    }
}
