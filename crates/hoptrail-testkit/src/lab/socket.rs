//! An actor's sockets, step by step from the test: each method is one system call in the actor.

use super::actor::Actor;
use super::option::{self, Probe};
use super::stage::{close, close_all, held, keep};
use hoptrail_core::abi;
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

/// A descriptor of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fd(pub i32);

/// What a socket is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Stream.
    Tcp,
    /// Datagram.
    Udp,
}

/// More room than any value needs.
const ROOM: usize = 4096;
/// A receive that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(10);

impl Actor {
    /// A new socket of the family of `like`.
    ///
    /// # Errors
    /// `socket(2)`'s.
    pub fn socket(&self, like: SocketAddr, kind: Kind) -> io::Result<Fd> {
        self.run((like, kind == Kind::Tcp), |(like, tcp)| {
            let kind = if tcp { Type::STREAM } else { Type::DGRAM };
            let socket = Socket::new(Domain::for_address(like), kind, None)?;
            socket.set_read_timeout(Some(LIMIT))?;
            Ok(Fd(keep(socket)))
        })
    }

    /// `bind(2)`, with `SO_REUSEADDR`.
    ///
    /// # Errors
    /// `bind(2)`'s.
    pub fn bind(&self, socket: Fd, to: SocketAddr) -> io::Result<()> {
        self.run((socket.0, to), |(fd, to)| {
            let socket = held(fd)?;
            SockRef::from(&socket).set_reuse_address(true)?;
            SockRef::from(&socket).bind(&to.into())
        })
    }

    /// `connect(2)`, blocking.
    ///
    /// # Errors
    /// `connect(2)`'s.
    pub fn connect(&self, socket: Fd, to: SocketAddr) -> io::Result<()> {
        self.run((socket.0, to), |(fd, to)| SockRef::from(&held(fd)?).connect(&to.into()))
    }

    /// A TCP socket connected to `to`; closed again when that fails.
    ///
    /// # Errors
    /// `connect(2)`'s.
    pub fn dial(&self, to: SocketAddr) -> io::Result<Fd> {
        let socket = self.socket(to, Kind::Tcp)?;
        self.connect(socket, to).inspect_err(|_| self.close(socket))?;
        Ok(socket)
    }

    /// A TCP listener.
    ///
    /// # Errors
    /// `bind(2)`'s and `listen(2)`'s.
    pub fn listen(&self, on: SocketAddr, backlog: i32) -> io::Result<Fd> {
        let socket = self.socket(on, Kind::Tcp)?;
        self.bind(socket, on)?;
        self.run((socket.0, backlog), |(fd, n)| SockRef::from(&held(fd)?).listen(n))?;
        Ok(socket)
    }

    /// `accept(2)`: the new socket and its peer.
    ///
    /// # Errors
    /// `accept(2)`'s; `EAGAIN` after ten seconds.
    pub fn accept(&self, listener: Fd) -> io::Result<(Fd, SocketAddr)> {
        self.run(listener.0, |fd| {
            let (accepted, peer) = SockRef::from(&held(fd)?).accept()?;
            accepted.set_read_timeout(Some(LIMIT))?;
            Ok((Fd(keep(accepted)), inet(&peer)?))
        })
    }

    /// `getsockopt(2)` at Hoptrail's level with plenty of room.
    ///
    /// # Errors
    /// `getsockopt(2)`'s.
    pub fn get(&self, socket: Fd, option: i32) -> io::Result<Vec<u8>> {
        self.probe(socket, abi::SOL_HOPTRAIL, option, ROOM).value()
    }

    /// `getsockopt(2)` in every detail.
    ///
    /// # Panics
    /// When the actor has no such descriptor.
    #[must_use]
    pub fn probe(&self, socket: Fd, level: i32, option: i32, room: usize) -> Probe {
        self.run((socket.0, level, option, room), |(fd, level, option, room)| {
            Ok(option::get(held(fd)?.as_fd(), level, option, room))
        })
        .expect("a descriptor of the actor")
    }

    /// `setsockopt(2)` at Hoptrail's level.
    ///
    /// # Errors
    /// `setsockopt(2)`'s.
    pub fn set(&self, socket: Fd, option: i32, value: &[u8]) -> io::Result<()> {
        self.set_at(socket, abi::SOL_HOPTRAIL, option, value)
    }

    /// `setsockopt(2)`.
    ///
    /// # Errors
    /// `setsockopt(2)`'s.
    pub fn set_at(&self, socket: Fd, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
        self.run((socket.0, level, option, value.to_vec()), |(fd, level, option, value)| {
            option::set(held(fd)?.as_fd(), level, option, &value)
        })
    }

    /// The records as bytes.
    ///
    /// # Errors
    /// `getsockopt(2)`'s.
    pub fn records(&self, socket: Fd) -> io::Result<Vec<u8>> {
        self.get(socket, abi::REDIRECT_RECORDS)
    }

    /// The context as bytes.
    ///
    /// # Errors
    /// `getsockopt(2)`'s.
    pub fn context(&self, socket: Fd) -> io::Result<Vec<u8>> {
        self.get(socket, abi::REDIRECT_CONTEXT)
    }

    /// SETs records.
    ///
    /// # Errors
    /// `setsockopt(2)`'s.
    pub fn set_records(&self, socket: Fd, blob: &[u8]) -> io::Result<()> {
        self.set(socket, abi::REDIRECT_RECORDS, blob)
    }

    /// `send(2)`.
    ///
    /// # Errors
    /// `send(2)`'s.
    pub fn send(&self, socket: Fd, bytes: &[u8]) -> io::Result<usize> {
        self.run((socket.0, bytes.to_vec()), |(fd, bytes)| SockRef::from(&held(fd)?).send(&bytes))
    }

    /// `recv(2)` of up to 4096 bytes; nothing at the end.
    ///
    /// # Errors
    /// `recv(2)`'s; `EAGAIN` after ten seconds.
    pub fn recv(&self, socket: Fd) -> io::Result<Vec<u8>> {
        self.run(socket.0, |fd| {
            let mut bytes = vec![0; ROOM];
            let n = io::Read::read(&mut &*SockRef::from(&held(fd)?), &mut bytes)?;
            bytes.truncate(n);
            Ok(bytes)
        })
    }

    /// `sendto(2)`.
    ///
    /// # Errors
    /// `sendto(2)`'s.
    pub fn send_to(&self, socket: Fd, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.run((socket.0, bytes.to_vec(), to), |(fd, bytes, to)| {
            SockRef::from(&held(fd)?).send_to(&bytes, &to.into())
        })
    }

    /// `recvfrom(2)` of up to 4096 bytes.
    ///
    /// # Errors
    /// `recvfrom(2)`'s; `EAGAIN` after ten seconds.
    pub fn recv_from(&self, socket: Fd) -> io::Result<(Vec<u8>, SocketAddr)> {
        self.run(socket.0, |fd| {
            let mut bytes = vec![0; ROOM];
            let (n, from) = UdpSocket::from(held(fd)?.try_clone()?).recv_from(&mut bytes)?;
            bytes.truncate(n);
            Ok((bytes, from))
        })
    }

    /// `getpeername(2)`.
    ///
    /// # Errors
    /// `getpeername(2)`'s.
    pub fn peer(&self, socket: Fd) -> io::Result<SocketAddr> {
        self.run(socket.0, |fd| inet(&SockRef::from(&held(fd)?).peer_addr()?))
    }

    /// `getsockname(2)`.
    ///
    /// # Errors
    /// `getsockname(2)`'s.
    pub fn local(&self, socket: Fd) -> io::Result<SocketAddr> {
        self.run(socket.0, |fd| inet(&SockRef::from(&held(fd)?).local_addr()?))
    }

    /// `shutdown(2)` of the sending side.
    ///
    /// # Errors
    /// `shutdown(2)`'s.
    pub fn finish(&self, socket: Fd) -> io::Result<()> {
        self.run(socket.0, |fd| SockRef::from(&held(fd)?).shutdown(Shutdown::Write))
    }

    /// `close(2)`.
    ///
    /// # Panics
    /// When the actor is dead.
    pub fn close(&self, socket: Fd) {
        self.run(socket.0, |fd| {
            close(fd);
            Ok(())
        })
        .expect("closing does not fail");
    }

    /// Closes everything that was opened from the test.
    ///
    /// # Panics
    /// When the actor is dead.
    pub fn close_all(&self) {
        self.run((), |()| {
            close_all();
            Ok(())
        })
        .expect("closing does not fail");
    }

    /// Sends multicast out by the interface with this address.
    ///
    /// # Errors
    /// `setsockopt(2)`'s.
    pub fn multicast_by(&self, socket: Fd, interface: Ipv4Addr) -> io::Result<()> {
        self.run((socket.0, interface), |(fd, interface)| {
            SockRef::from(&held(fd)?).set_multicast_if_v4(&interface)
        })
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// When the actor is dead or this is no TCP socket.
    pub fn reset(&self, socket: Fd) {
        self.run(socket.0, |fd| {
            SockRef::from(&held(fd)?).set_linger(Some(Duration::ZERO))?;
            close(fd);
            Ok(())
        })
        .expect("a reset does not fail");
    }
}

fn inet(address: &SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::other("not an internet address"))
}
