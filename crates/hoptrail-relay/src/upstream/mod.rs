//! How the destination is reached: directly, or through another proxy. Nothing here does I/O.

use std::net::SocketAddr;

/// How destinations are reached.
#[derive(Clone, Debug, Default)]
pub enum Upstream {
    /// Directly.
    #[default]
    Direct,
}

impl Upstream {
    /// The proxy to connect to; nothing for direct connections.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        None
    }
}

/// Telling an upstream proxy where to go.
#[derive(Debug)]
pub struct Handshake {}

/// What an input did.
#[derive(Debug)]
pub struct Progress {
    /// Bytes that were the proxy's own.
    pub consumed: usize,
    /// The way stands.
    pub done: bool,
}

/// Why there is no way.
#[derive(Debug)]
pub struct HandshakeError;

impl Handshake {
    /// Nothing for a direct connection.
    #[must_use]
    pub fn new(_upstream: &Upstream, _destination: SocketAddr) -> Option<Self> {
        None
    }

    /// Bytes to send.
    pub fn output(&mut self) -> &[u8] {
        &[]
    }

    /// So many of them were sent.
    pub fn sent(&mut self, _n: usize) {}

    /// Bytes that came.
    ///
    /// # Errors
    /// When the proxy refuses.
    pub fn input(&mut self, _bytes: &[u8]) -> Result<Progress, HandshakeError> {
        Err(HandshakeError)
    }
}
