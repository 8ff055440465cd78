//! Accepting: each connection comes with its redirect, and direct ones cannot be mistaken for it.

use crate::error::{Error, Operation, Result};
use crate::redirect::Redirect;
use crate::reset::reset;
use crate::sys::{accept_nonblocking, died, skips};
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A provider's listening socket.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

/// A redirected connection.
#[derive(Debug)]
pub struct Connection {
    /// To the application, or the proxy of the hop before.
    pub stream: TcpStream,
    /// Its own address, as it sees it.
    pub peer: SocketAddr,
    /// Where it comes from and where it wanted to go.
    pub redirect: Redirect,
}

/// What came in.
#[derive(Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "moved a few times; a box is an allocation for each")]
pub enum Accepted {
    /// Redirected here.
    Redirected(Connection),
    /// Made to this very port: it has no destination but the proxy itself. Dialling on its behalf
    /// would open a way around every filter. A redirected connection that its client has reset
    /// before anyone asked about it looks the same.
    Direct(TcpStream, SocketAddr),
}

/// The redirected connections of a [`Listener`].
#[derive(Debug)]
pub struct Incoming<'l>(&'l Listener);

impl Listener {
    /// Listens at the first of the addresses that can be bound: one of the provider's `listen`. Nagle's
    /// algorithm is off on what it accepts.
    ///
    /// # Errors
    /// When none can be bound.
    pub fn bind(addr: impl ToSocketAddrs) -> Result<Self> {
        let listener = TcpListener::bind(addr).map_err(Error::of(Operation::Listen))?;
        // Accepted sockets inherit it, which saves each of them a system call.
        SockRef::from(&listener).set_tcp_nodelay(true).map_err(Error::of(Operation::Listen))?;
        Ok(Self { listener })
    }

    /// The standard library's listener.
    #[must_use]
    pub const fn as_std(&self) -> &TcpListener {
        &self.listener
    }

    /// Accepts the next redirected connection; direct ones are closed with a reset.
    ///
    /// # Errors
    /// When accepting fails, or no engine acts on the listener's cgroup. The listener can still be
    /// used; after [`ErrorKind::Exhausted`](crate::ErrorKind::Exhausted) wait a little.
    pub fn accept(&self) -> Result<Connection> {
        loop {
            match self.accept_any()? {
                Accepted::Redirected(connection) => return Ok(connection),
                // A failed reset is an ordinary close: refused all the same.
                Accepted::Direct(stream, _) => drop(reset(stream)),
            }
        }
    }

    /// Accepts the next connection, redirected or not.
    ///
    /// # Errors
    /// As [`accept`](Self::accept). A connection that died while it waited is skipped.
    pub fn accept_any(&self) -> Result<Accepted> {
        loop {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if skips(&error) => continue,
                Err(error) => return Err(Error::new(Operation::Accept, error)),
            };
            if let Some(accepted) = ask(stream, peer)? {
                return Ok(accepted);
            }
        }
    }

    /// For an event loop: accepts a connection that waits, as a non-blocking stream; nothing when none
    /// waits. The listener must be non-blocking (`as_std().set_nonblocking(true)`), else this waits.
    /// It takes three system calls: accept4, and a query each for records and context.
    ///
    /// # Errors
    /// As [`accept_any`](Self::accept_any).
    pub fn try_accept(&self) -> Result<Option<Accepted>> {
        loop {
            let (stream, peer) = match accept_nonblocking(&self.listener) {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if skips(&error) => continue,
                Err(error) => return Err(Error::new(Operation::Accept, error)),
            };
            if let Some(accepted) = ask(stream, peer)? {
                return Ok(Some(accepted));
            }
        }
    }

    /// [`accept`](Self::accept) without end.
    #[must_use]
    pub const fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { listener }
    }
}

impl Iterator for Incoming<'_> {
    type Item = Result<Connection>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.accept())
    }
}

impl Connection {
    /// Dials the original destination and gives the application's stream and the destination's, for
    /// [`relay`](crate::relay()). When it cannot be reached the application sees a reset at once.
    ///
    /// # Errors
    /// As [`Redirect::dial`].
    pub fn dial(self) -> Result<(TcpStream, TcpStream)> {
        let dialled = self.redirect.dial();
        self.with(dialled)
    }

    /// As [`dial`](Self::dial), for at most that long.
    ///
    /// # Errors
    /// As [`Redirect::dial_timeout`].
    pub fn dial_timeout(self, timeout: Duration) -> Result<(TcpStream, TcpStream)> {
        let dialled = self.redirect.dial_timeout(timeout);
        self.with(dialled)
    }

    /// Closes it with a reset, so that the application sees a failure at once and not an empty
    /// answer: what to do when the destination cannot be reached.
    ///
    /// # Errors
    /// As [`reset`](crate::reset()).
    pub fn refuse(self) -> Result<()> {
        reset(self.stream)
    }

    fn with(self, dialled: Result<TcpStream>) -> Result<(TcpStream, TcpStream)> {
        match dialled {
            Ok(upstream) => Ok((self.stream, upstream)),
            Err(error) => {
                // A failed reset is an ordinary close, and why dialling failed is what counts.
                drop(self.refuse());
                Err(error)
            }
        }
    }
}

/// What came in; nothing when it has died already.
fn ask(stream: TcpStream, peer: SocketAddr) -> Result<Option<Accepted>> {
    match Redirect::of(&stream) {
        Ok(Some(redirect)) => Ok(Some(Accepted::Redirected(Connection { stream, peer, redirect }))),
        Ok(None) => Ok(Some(Accepted::Direct(stream, peer))),
        Err(error) if died(&error) => Ok(None),
        Err(error) => {
            drop(reset(stream));
            Err(error)
        }
    }
}
