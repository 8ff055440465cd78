//! What a proxy knows of one redirected connection, and the way on from it.

use crate::context::Context;
use crate::dial::{Device, connect, dialled, no_delay, prepare, start};
use crate::dialling::Dialling;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::options::{context, original_destination, records};
use crate::records::Records;
use socket2::Type;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A redirected connection's records, context and original destination.
#[derive(Clone, Debug)]
pub struct Redirect {
    records: Records,
    context: Option<Context>,
    destination: SocketAddr,
    device: Option<Device>,
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
    /// As [`records`](crate::records()); a context of an unknown version is none, provided that the
    /// destination can still be read.
    pub fn of(socket: &impl AsFd) -> Result<Option<Self>> {
        let Some(records) = records(socket)? else {
            return Ok(None);
        };
        let context = match context(socket) {
            Err(error) if error.kind() == ErrorKind::UnknownVersion => None,
            other => other?,
        };
        let destination = match &context {
            Some(context) => Some(context.destination()),
            None => original_destination(socket)?,
        };
        let destination =
            destination.ok_or_else(|| Error::unknown_version(Operation::ReadDestination))?;
        Ok(Some(Self::new(records, context, destination)))
    }

    pub(crate) fn new(records: Records, context: Option<Context>, to: SocketAddr) -> Self {
        let device = records.device();
        Self { records, context, destination: dialled(to, device), device }
    }

    /// The records, to carry on unchanged.
    #[must_use]
    pub const fn records(&self) -> &Records {
        &self.records
    }

    /// The context; nothing when the engine's layout is newer than this library.
    #[must_use]
    pub const fn context(&self) -> Option<&Context> {
        self.context.as_ref()
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
        let to = dialled(to, self.device);
        Ok(Dialling::new(start(to, &self.records, self.device)?, to))
    }

    /// A TCP socket for `to` with records and device set, for an event loop that connects by itself.
    ///
    /// # Errors
    /// When the records are refused.
    pub fn prepare(&self, to: SocketAddr) -> Result<OwnedFd> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn redirect(hops: u8, destination: &str) -> Redirect {
        let records = Records::from_bytes(crate::trail::sample(hops).as_bytes());
        Redirect::new(records, None, destination.parse().unwrap())
    }

    #[test]
    fn statement_40_different_records_never_share_an_upstream() {
        let one = redirect(1, "192.0.2.10:80");
        assert_eq!(one.pool_key(), one.clone().pool_key());
        assert_ne!(one.pool_key(), redirect(2, "192.0.2.10:80").pool_key());
        assert_ne!(one.pool_key(), redirect(1, "192.0.2.10:81").pool_key());
    }

    #[test]
    fn without_an_engine_records_cannot_be_set_and_nothing_is_dialled() {
        let error = redirect(1, "127.0.0.1:9").dial().unwrap_err();
        assert_eq!(error.operation(), Operation::SetRecords);
        assert!(matches!(error.kind(), ErrorKind::NoEngine | ErrorKind::BadRecords), "{error}");
    }
}
