//! A flow's upstream socket: datagrams out and in, with a SOCKS5 header where one is needed.

use super::counts::Lost;
use crate::upstream::socks5_udp;
use hoptrail::Records;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;

/// More than any datagram has, so that none is ever cut.
pub(super) const BUFFER: usize = 1 << 16;

/// The way of an open flow.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: UdpSocket,
    pub(super) through: Option<Through>,
}

/// A SOCKS5 server.
#[derive(Debug)]
pub(super) struct Through {
    /// Before each datagram to it.
    pub(super) header: Vec<u8>,
    /// The only sender whose datagrams are the flow's.
    pub(super) destination: SocketAddr,
    /// The server passes datagrams on as long as this is open.
    pub(super) control: TcpStream,
}

/// What a look at the upstream socket gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// A datagram, here in the buffer.
    Datagram(Range<usize>),
    /// Something that is not to be passed on.
    Lost(Lost),
    /// Nothing more for now.
    Nothing,
}

impl Link {
    /// Passes a datagram on, whole or not at all.
    pub(super) fn send(&self, datagram: &[u8]) -> Result<(), Lost> {
        // An answer that nobody is there waits on the socket, and fails the next call in its place.
        self.try_send(datagram)
            .or_else(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
                Some(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::INTR) => {
                    self.try_send(datagram)
                }
                _ => Err(error),
            })
            .map_err(|error| lost(&error))
    }

    fn try_send(&self, datagram: &[u8]) -> io::Result<()> {
        match &self.through {
            None => rustix::net::send(&self.socket, datagram, SendFlags::DONTWAIT)?,
            Some(through) => {
                let parts = [IoSlice::new(&through.header), IoSlice::new(datagram)];
                SockRef::from(&self.socket).send_vectored_with_flags(&parts, libc::MSG_DONTWAIT)?
            }
        };
        Ok(())
    }

    /// Takes the next datagram into a buffer of [`BUFFER`] bytes.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Received {
        let length = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Received::Nothing,
            Err(_) => return Received::Lost(Lost::Refused),
        };
        let Some(through) = &self.through else {
            return Received::Datagram(0..length);
        };
        match socks5_udp::parse(&buffer[..length]) {
            Ok((Some(from), payload)) if from == through.destination => {
                Received::Datagram(payload..length)
            }
            _ => Received::Lost(Lost::Foreign),
        }
    }
}

/// A socket connected to `to` that carries the records on.
pub(super) fn dial(to: SocketAddr, records: Option<&Records>) -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking(), None)?;
    if let Some(records) = records {
        hoptrail::set_records(&socket, records)?;
    }
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Why there is no socket: an errno.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Failure(pub(super) i32);

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(error.raw_os_error().unwrap_or_default())
    }
}

impl From<hoptrail::Error> for Failure {
    fn from(error: hoptrail::Error) -> Self {
        Self(error.errno().unwrap_or_default())
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl Failure {
    pub(super) const fn is_lack_of_descriptors(self) -> bool {
        matches!(self.0, libc::EMFILE | libc::ENFILE | libc::ENOMEM)
    }
}

fn lost(error: &io::Error) -> Lost {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => Lost::TooLong,
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) => Lost::Full,
        Some(libc::ECONNREFUSED) => Lost::Refused,
        _ => Lost::Unreachable,
    }
}
