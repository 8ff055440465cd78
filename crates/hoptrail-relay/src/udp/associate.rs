//! Asking a SOCKS5 server to pass a flow's datagrams on (UDP ASSOCIATE).
//!
//! Each flow has an association of its own: records belong to one flow, and so do the sockets that
//! carry them.

use super::link::{Failure, Link, Through, dial};
use crate::upstream::{Handshake, Upstream, Via, socks5_udp};
use hoptrail::Records;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Datagrams that wait while the server has not answered yet.
const MOST_WAITING: usize = 16;
/// Bytes of them.
const MOST_WAITING_BYTES: usize = 64 << 10;

/// A server that is being asked.
#[derive(Debug)]
pub(super) struct Association {
    pub(super) control: TcpStream,
    handshake: Handshake,
    server: SocketAddr,
    connected: bool,
    waiting: Vec<Box<[u8]>>,
    waiting_bytes: usize,
}

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    Connect(i32),
    Handshake(i32),
}

impl Association {
    /// Begins to connect; nothing when the upstream is none that can.
    pub(super) fn begin(
        upstream: &Upstream,
        records: Option<&Records>,
    ) -> Result<Option<Self>, Failure> {
        let (Some(handshake), Upstream::Socks5(Via { at, .. })) =
            (Handshake::associate(upstream), upstream)
        else {
            return Ok(None);
        };
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(*at), kind, Some(Protocol::TCP))?;
        if let Some(records) = records {
            hoptrail::set_records(&socket, records)?;
        }
        // A server that vanishes must not hold a flow that is in use.
        socket.set_keepalive(true)?;
        match socket.connect(&(*at).into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                return Err(error.into());
            }
            _ => {}
        }
        Ok(Some(Self {
            control: socket.into(),
            handshake,
            server: *at,
            connected: false,
            waiting: Vec::new(),
            waiting_bytes: 0,
        }))
    }

    /// Keeps a datagram until the server has answered, if there is room.
    pub(super) fn wait(&mut self, datagram: &[u8]) -> bool {
        let bytes = self.waiting_bytes + datagram.len();
        if self.waiting.len() == MOST_WAITING || bytes > MOST_WAITING_BYTES {
            return false;
        }
        self.waiting.push(datagram.into());
        self.waiting_bytes = bytes;
        true
    }

    /// What waits, oldest first.
    pub(super) fn take_waiting(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.waiting)
    }

    /// Whether there is something to write, or the connection is not there yet.
    pub(super) fn wants_to_write(&self) -> bool {
        !self.connected || !self.handshake.output().is_empty()
    }

    /// Goes on as far as it can. True when the server has agreed.
    pub(super) fn advance(&mut self) -> Result<bool, Refused> {
        if !self.connected {
            match self.control.take_error() {
                Ok(None) => self.connected = true,
                Ok(Some(error)) | Err(error) => {
                    return Err(Refused::Connect(Failure::from(error).0));
                }
            }
        }
        loop {
            self.write()?;
            let mut answer = [0; 512];
            match self.control.read(&mut answer) {
                Ok(0) => return Err(Refused::Handshake(libc::ECONNRESET)),
                Ok(n) => match self.handshake.input(&answer[..n]) {
                    Ok(progress) if progress.done => return Ok(true),
                    Ok(_) => {}
                    Err(error) => return Err(Refused::Handshake(error.errno())),
                },
                Err(error) if waits(&error) => return Ok(false),
                Err(error) => return Err(Refused::Handshake(Failure::from(error).0)),
            }
        }
    }

    fn write(&mut self) -> Result<(), Refused> {
        while !self.handshake.output().is_empty() {
            match self.control.write(self.handshake.output()) {
                Ok(n) => self.handshake.sent(n),
                Err(error) if waits(&error) => return Ok(()),
                Err(error) => return Err(Refused::Handshake(Failure::from(error).0)),
            }
        }
        Ok(())
    }

    /// The way that the server has opened.
    pub(super) fn link(
        self,
        destination: SocketAddr,
        records: Option<&Records>,
    ) -> Result<Link, Failure> {
        let bound = self.handshake.bound().unwrap_or_else(|| (self.server.ip(), 0).into());
        if bound.port() == 0 {
            return Err(Failure(libc::EPROTO));
        }
        // All zeroes mean: at the address where you found me.
        let ip = if bound.ip().is_unspecified() { self.server.ip() } else { bound.ip() };
        let socket = dial((ip, bound.port()).into(), records)?;
        let destination = SocketAddr::new(destination.ip().to_canonical(), destination.port());
        let header = socks5_udp::header(destination);
        Ok(Link { socket, through: Some(Through { header, destination, control: self.control }) })
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}
