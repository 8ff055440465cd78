//! How a connection gets on: directly, or through another proxy. Only [`Url::resolve`] does I/O.

mod connect;
mod error;
mod handshake;
pub mod prelude;
mod socks5;
pub mod socks5_udp;
#[cfg(test)]
mod tests;
mod url;

pub use error::HandshakeError;
pub use handshake::{Handshake, Progress};
pub use url::{Url, UrlError};

use std::net::SocketAddr;

/// The way on, with everything known that is needed to go it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Upstream {
    /// To the destination itself.
    #[default]
    Direct,
    /// Through a SOCKS5 server (RFC 1928).
    Socks5(Via),
    /// Through an HTTP proxy, by CONNECT (RFC 9110, 9.3.6).
    Http(Via),
}

/// A proxy to go through.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Via {
    /// Where it listens.
    pub at: SocketAddr,
    /// What it wants to know first.
    pub login: Option<Login>,
    /// Whether it is asked for the destination by its name, where inspection has found one. The name is
    /// the client's claim: the proxy may reach another address than the one that rules have seen.
    pub by_name: bool,
}

/// User and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: Vec<u8>,
    /// The password.
    pub password: Vec<u8>,
}

impl Upstream {
    /// Reads an URL and looks up the host's name: for the start of the program, since it may wait.
    ///
    /// # Errors
    /// As [`Url::parse`] and [`Url::resolve`].
    pub fn of(text: &str) -> Result<Self, UrlError> {
        Url::parse(text)?.resolve()
    }

    /// Whether the proxy is asked for destinations by their names.
    #[must_use]
    pub const fn wants_name(&self) -> bool {
        matches!(self, Self::Socks5(via) if via.by_name)
    }

    /// The proxy to connect to; nothing for direct connections.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct => None,
            Self::Socks5(via) | Self::Http(via) => Some(via.at),
        }
    }
}

/// As an URL, without the login.
impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Direct => f.write_str("direct"),
            Self::Socks5(Via { at, by_name: true, .. }) => write!(f, "socks5h://{at}"),
            Self::Socks5(via) => write!(f, "socks5://{}", via.at),
            Self::Http(via) => write!(f, "http://{}", via.at),
        }
    }
}

/// The user only.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, ...)", String::from_utf8_lossy(&self.user).escape_debug())
    }
}
