//! Talking to an upstream proxy until it has connected us on: bytes in, bytes out.

use super::error::HandshakeError;
use super::{Upstream, connect, socks5};
use std::net::SocketAddr;

/// A conversation with a proxy. When it is done, the connection is the destination's.
///
/// Write what [`output`](Self::output) gives whenever it is not empty, give what was read to
/// [`input`](Self::input), and keep what that did not consume: it is the destination's.
#[derive(Debug)]
pub struct Handshake {
    protocol: Protocol,
    out: Vec<u8>,
    sent: usize,
}

/// What a piece of input has led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Progress {
    /// How many of the bytes were the proxy's own. While it is not done, all of them.
    pub consumed: usize,
    /// Whether the connection is the destination's from here on.
    pub done: bool,
}

#[derive(Debug)]
enum Protocol {
    Socks5(socks5::Client),
    Http(connect::Client),
}

impl Handshake {
    /// With the upstream's proxy, asking it for `destination`; nothing to be done when there is none.
    #[must_use]
    pub fn new(upstream: &Upstream, destination: SocketAddr) -> Option<Self> {
        Self::named(upstream, destination, None)
    }

    /// As [`new`](Self::new); a proxy that is to be asked by names (`socks5h`) is asked for `name`, if
    /// it is one that the protocol can carry.
    #[must_use]
    pub fn named(upstream: &Upstream, destination: SocketAddr, name: Option<&str>) -> Option<Self> {
        match upstream {
            Upstream::Direct => None,
            Upstream::Socks5(via) => {
                let name = name.filter(|_| via.by_name);
                let request = socks5::connect(destination, name);
                Some(Self::socks5(socks5::Client::new(via.login.as_ref(), request)))
            }
            Upstream::Http(via) => Some(Self {
                protocol: Protocol::Http(connect::Client::default()),
                out: connect::request(destination, via.login.as_ref()),
                sent: 0,
            }),
        }
    }

    /// Asks a SOCKS5 server to pass datagrams on, for as long as this connection lasts; nothing for
    /// other upstreams, which cannot. [`bound`](Self::bound) then says where to send them.
    #[must_use]
    pub fn associate(upstream: &Upstream) -> Option<Self> {
        match upstream {
            Upstream::Direct | Upstream::Http(_) => None,
            Upstream::Socks5(via) => {
                let request = socks5::associate(via.at);
                Some(Self::socks5(socks5::Client::new(via.login.as_ref(), request)))
            }
        }
    }

    fn socks5((client, greeting): (socks5::Client, Vec<u8>)) -> Self {
        Self { protocol: Protocol::Socks5(client), out: greeting, sent: 0 }
    }

    /// What is to be written next.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// So many bytes of the output were written.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = (self.sent + bytes).min(self.out.len());
    }

    /// Takes what was read.
    ///
    /// # Errors
    /// When the proxy refuses, or talks something else. The connection is of no more use.
    pub fn input(&mut self, bytes: &[u8]) -> Result<Progress, HandshakeError> {
        match &mut self.protocol {
            Protocol::Socks5(client) => {
                let (progress, next) = client.input(bytes)?;
                self.out.drain(..self.sent);
                self.sent = 0;
                self.out.extend(next);
                Ok(progress)
            }
            Protocol::Http(client) => client.input(bytes),
        }
    }

    /// The address that a SOCKS5 server has bound for us, once it is done; nothing if it gave a name.
    #[must_use]
    pub const fn bound(&self) -> Option<SocketAddr> {
        match &self.protocol {
            Protocol::Socks5(client) => client.bound(),
            Protocol::Http(_) => None,
        }
    }
}
