//! What a proxy knows of one redirected connection, and the way on from it.

use crate::context::Context;
use crate::dial::{Device, connect, dialled, no_delay, prepare, start};
use crate::dialling::Dialling;
use crate::error::{Error, Operation, Result};
use crate::options::{original_destination, records};
use crate::records::Records;
use crate::sys::{self, AsSock, BorrowedSock, OwnedSock};
use socket2::Type;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[cfg(doc)]
use crate::ErrorKind;

/// A redirected connection's records, context and original destination.
#[derive(Clone, Debug)]
pub struct Redirect {
    records: Records,
    context: Told,
    destination: SocketAddr,
    device: Option<Device>,
}

/// A context as it was read.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Nothing,
    Known(Context),
    /// Of a layout that this library does not know.
    Foreign(Box<[u8]>),
}

/// Under which an upstream connection may be kept for reuse: see [`Redirect::pool_key`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey {
    destination: SocketAddr,
    records: Records,
}

impl Redirect {
    /// Of an accepted TCP socket; nothing when its connection was not redirected.
    ///
    /// # Errors
    /// As [`records`](crate::records()); [`ErrorKind::UnknownVersion`] when nothing that can be read
    /// tells where the connection wanted to go.
    pub fn of(socket: &impl AsSock) -> Result<Option<Self>> {
        let Some(records) = records(socket)? else {
            return Ok(None);
        };
        let context = sys::context(sys::borrow(socket), Told::from_bytes)
            .map_err(Error::of(Operation::ReadContext))?
            .unwrap_or(Told::Nothing);
        let destination = match context.destination() {
            Some(to) => Some(to),
            None => original_destination(socket)?,
        };
        Self::new(records, context, destination).map(Some)
    }

    /// Of records that were read by other means, perhaps by another process, and the destination that the
    /// connection wanted.
    #[must_use]
    pub fn with_destination(records: Records, to: SocketAddr) -> Self {
        Self::dialling(records, Told::Nothing, to)
    }

    pub(crate) fn new(records: Records, context: Told, to: Option<SocketAddr>) -> Result<Self> {
        let to = to.ok_or_else(|| Error::unknown_version(Operation::ReadDestination))?;
        Ok(Self::dialling(records, context, to))
    }

    fn dialling(records: Records, context: Told, to: SocketAddr) -> Self {
        let device = records.device();
        Self { records, context, destination: dialled(to, device), device }
    }

    /// The records, to carry on unchanged.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// The context; nothing when its layout is not the one that this library knows: an engine's that
    /// is newer, or on Windows whatever the vendor's driver writes
    /// ([`foreign_context`](Self::foreign_context)).
    #[must_use]
    pub const fn context(&self) -> Option<&Context> {
        match &self.context {
            Told::Known(context) => Some(context),
            Told::Nothing | Told::Foreign(_) => None,
        }
    }

    /// The bytes of a context that [`context`](Self::context) cannot read.
    #[must_use]
    pub const fn foreign_context(&self) -> Option<&[u8]> {
        match &self.context {
            Told::Foreign(bytes) => Some(bytes),
            Told::Nothing | Told::Known(_) => None,
        }
    }

    /// What the redirected connect had asked for.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        self.destination
    }

    /// Connects to the original destination, with the records set and from the network interface
    /// that the application had chosen. Nagle's algorithm is off.
    ///
    /// # Errors
    /// When records are refused or the destination cannot be reached: then
    /// [`Connection::refuse`](crate::Connection::refuse).
    pub fn dial(&self) -> Result<TcpStream> {
        self.connect(self.destination, None)
    }

    /// As [`dial`](Self::dial), for at most that long.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), and [`ErrorKind::TimedOut`].
    pub fn dial_timeout(&self, timeout: Duration) -> Result<TcpStream> {
        self.connect(self.destination, Some(timeout))
    }

    /// Connects elsewhere, the records set all the same.
    ///
    /// # Errors
    /// As [`dial`](Self::dial).
    pub fn dial_to(&self, to: SocketAddr) -> Result<TcpStream> {
        self.connect(to, None)
    }

    /// As [`dial_to`](Self::dial_to), for at most that long.
    ///
    /// # Errors
    /// As [`dial_timeout`](Self::dial_timeout).
    pub fn dial_to_timeout(&self, to: SocketAddr, timeout: Duration) -> Result<TcpStream> {
        self.connect(to, Some(timeout))
    }

    /// As [`dial`](Self::dial), for an event loop: does not wait for the answer.
    ///
    /// # Errors
    /// When records are refused, and what the kernel says at once: [`ErrorKind::Blocked`], a full
    /// table, no route. The rest comes from [`Dialling::finish`].
    pub fn start_dial(&self) -> Result<Dialling> {
        self.start_dial_to(self.destination)
    }

    /// As [`start_dial`](Self::start_dial), to another address.
    ///
    /// # Errors
    /// As [`start_dial`](Self::start_dial).
    pub fn start_dial_to(&self, to: SocketAddr) -> Result<Dialling> {
        self.start_dial_with(to, |_| Ok(()))
    }

    /// As [`start_dial_to`](Self::start_dial_to), with options of the caller's own: `configure` is given
    /// the socket before it connects, with the records on it. A source address, a mark, a congestion
    /// control belong there.
    ///
    /// # Errors
    /// As [`start_dial`](Self::start_dial); an error of `configure` is one of
    /// [`Operation::OpenSocket`].
    pub fn start_dial_with(
        &self,
        to: SocketAddr,
        configure: impl FnOnce(BorrowedSock<'_>) -> io::Result<()>,
    ) -> Result<Dialling> {
        let to = dialled(to, self.device);
        Ok(Dialling::new(start(to, &self.records, self.device, configure)?, to))
    }

    /// A TCP socket for `to` with records and device set, for an event loop that connects by itself.
    ///
    /// # Errors
    /// When the records are refused.
    pub fn prepare(&self, to: SocketAddr) -> Result<OwnedSock> {
        let socket = prepare(dialled(to, self.device), Type::STREAM, &self.records, self.device)?;
        Ok(socket.into())
    }

    /// Whoever keeps upstream connections for reuse must keep them under this key.
    ///
    /// The kernel decides about an upstream connection once, when it is made, by the records on its
    /// socket: filters may have let it through because of the application that its trail names. A
    /// second client whose data went over it would act under the first one's name, past the filters
    /// that apply to it, and the trail would tell the wrong story (reference statement 40). Every
    /// redirected connection has its own trail, so what can be reused are the several upstreams of
    /// one client connection.
    #[must_use]
    pub fn pool_key(&self) -> PoolKey {
        PoolKey { destination: self.destination, records: self.records.clone() }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn upstream(&self, kind: Type) -> Result<socket2::Socket> {
        prepare(self.destination, kind, &self.records, self.device)
    }

    fn connect(&self, to: SocketAddr, timeout: Option<Duration>) -> Result<TcpStream> {
        let to = dialled(to, self.device);
        let socket = prepare(to, Type::STREAM, &self.records, self.device)?;
        no_delay(&socket)?;
        connect(&socket, to, timeout)?;
        Ok(socket.into())
    }
}

impl Told {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Context::parse(bytes).map_or_else(|| Self::Foreign(bytes.into()), Self::Known)
    }

    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match self {
            Self::Known(context) => Some(context.destination()),
            Self::Foreign(bytes) => sys::foreign_destination(bytes),
            Self::Nothing => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn redirect(hops: u8, destination: &str) -> Redirect {
        let records = Records::from_bytes(crate::trail::sample(hops).as_bytes());
        Redirect::with_destination(records, destination.parse().unwrap())
    }

    #[test]
    fn statement_40_different_records_never_share_an_upstream() {
        let one = redirect(1, "192.0.2.10:80");
        assert_eq!(one.pool_key(), one.clone().pool_key());
        assert_ne!(one.pool_key(), redirect(2, "192.0.2.10:80").pool_key());
        assert_ne!(one.pool_key(), redirect(1, "192.0.2.10:81").pool_key());
    }

    #[test]
    fn a_context_of_another_layout_is_kept() {
        let known = Told::from_bytes(&crate::context::sample(b"/bin/true", b""));
        assert_eq!(known.destination(), "192.0.2.10:80".parse().ok());
        let foreign = Told::from_bytes(b"acme");
        assert!(matches!(&foreign, Told::Foreign(bytes) if **bytes == *b"acme"));
        assert_eq!(foreign.destination(), None);
        let records = Records::from_bytes(b"of another version");
        let error = Redirect::new(records.clone(), foreign.clone(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownVersion);
        let to = "192.0.2.20:81".parse().unwrap();
        let redirect = Redirect::new(records, foreign, Some(to)).unwrap();
        assert_eq!((redirect.destination(), redirect.foreign_context()), (to, Some(&b"acme"[..])));
        assert!(redirect.context().is_none());
    }

    #[test]
    fn without_an_engine_records_cannot_be_set_and_nothing_is_dialled() {
        let redirect = redirect(1, "127.0.0.1:9");
        let (to, soon) = ("127.0.0.1:9".parse().unwrap(), Duration::from_secs(5));
        for error in [
            redirect.dial().unwrap_err(),
            redirect.dial_timeout(soon).unwrap_err(),
            redirect.dial_to(to).unwrap_err(),
            redirect.dial_to_timeout(to, soon).unwrap_err(),
            redirect.start_dial().unwrap_err(),
            redirect.start_dial_to(to).unwrap_err(),
            redirect.start_dial_with(to, |_| Ok(())).unwrap_err(),
            redirect.prepare(to).unwrap_err(),
        ] {
            assert_eq!(error.operation(), Operation::SetRecords);
            assert!(matches!(error.kind(), ErrorKind::NoEngine | ErrorKind::BadRecords), "{error}");
        }
    }
}
