//! Accepting.

use super::Redirect;
use crate::error::{Error, Operation, Result};
use crate::reset;
use crate::sys::{died, skips};
use socket2::SockRef;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};

/// As [`crate::Listener`].
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

/// As [`crate::Connection`].
#[derive(Debug)]
pub struct Connection {
    /// To the application, or the proxy of the hop before.
    pub stream: TcpStream,
    /// Its own address, as it sees it.
    pub peer: SocketAddr,
    /// Where it comes from and where it wanted to go.
    pub redirect: Redirect,
}

/// As [`crate::Accepted`].
#[derive(Debug)]
#[must_use]
pub enum Accepted {
    /// Redirected here.
    Redirected(Connection),
    /// Made to this very port: it has no destination but the proxy itself.
    Direct(TcpStream, SocketAddr),
}

impl Listener {
    /// As [`crate::Listener::bind`].
    ///
    /// # Errors
    /// When none of the addresses can be bound.
    pub async fn bind(addr: impl ToSocketAddrs) -> Result<Self> {
        let listener = TcpListener::bind(addr).await.map_err(Error::of(Operation::Listen))?;
        Self::from_tokio(listener)
    }

    /// Takes a listener that listens already.
    ///
    /// # Errors
    /// When the system does not take an option.
    pub fn from_tokio(listener: TcpListener) -> Result<Self> {
        // Accepted sockets inherit it.
        SockRef::from(&listener).set_tcp_nodelay(true).map_err(Error::of(Operation::Listen))?;
        Ok(Self { listener })
    }

    /// tokio's listener.
    #[must_use]
    pub const fn as_tokio(&self) -> &TcpListener {
        &self.listener
    }

    /// Accepts the next redirected connection; direct ones are closed with a reset. Dropping the future
    /// loses no connection.
    ///
    /// # Errors
    /// As [`crate::Listener::accept`].
    pub async fn accept(&self) -> Result<Connection> {
        loop {
            match self.accept_any().await? {
                Accepted::Redirected(connection) => return Ok(connection),
                // A failed reset is an ordinary close: refused all the same.
                Accepted::Direct(stream, _) => drop(reset::on_close(&stream)),
            }
        }
    }

    /// Accepts the next connection, redirected or not.
    ///
    /// # Errors
    /// As [`crate::Listener::accept_any`].
    pub async fn accept_any(&self) -> Result<Accepted> {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if skips(&error) => continue,
                Err(error) => return Err(Error::new(Operation::Accept, error)),
            };
            match crate::Redirect::of(&stream) {
                Ok(Some(redirect)) => {
                    let redirect = Redirect::from(redirect);
                    return Ok(Accepted::Redirected(Connection { stream, peer, redirect }));
                }
                Ok(None) => return Ok(Accepted::Direct(stream, peer)),
                Err(error) if died(&error) => {}
                Err(error) => {
                    drop(reset::on_close(&stream));
                    return Err(error);
                }
            }
        }
    }
}

impl Connection {
    /// As [`crate::Connection::dial`]: the application's stream, and the destination's.
    ///
    /// # Errors
    /// As [`crate::Redirect::dial`]; the application has then seen a reset.
    pub async fn dial(self) -> Result<(TcpStream, TcpStream)> {
        let dialled = self.redirect.dial().await;
        self.with(dialled)
    }

    /// As [`dial`](Self::dial), for at most that long.
    ///
    /// # Errors
    /// As [`dial`](Self::dial), and [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut).
    pub async fn dial_timeout(self, timeout: Duration) -> Result<(TcpStream, TcpStream)> {
        let dialled = self.redirect.dial_timeout(timeout).await;
        self.with(dialled)
    }

    /// As [`crate::Connection::refuse`].
    ///
    /// # Errors
    /// As [`crate::reset()`].
    pub fn refuse(self) -> Result<()> {
        reset::on_close(&self.stream)
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
