//! What a connection speaks, from its first bytes. Nothing here does I/O.

/// The most bytes that are kept while a recogniser asks for more.
pub const LIMIT: usize = 16 * 1024;

/// An application protocol.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AppProtocol {
    /// TLS, by its ClientHello.
    Tls,
    /// HTTP/1, by its request line.
    Http1,
    /// HTTP/2 without TLS, by its preface.
    Http2,
    /// SSH, by its identification line, of either side.
    Ssh,
    /// DNS.
    Dns,
    /// QUIC, by its Initial packet.
    Quic,
    /// Nothing that is known.
    Unknown,
}

/// What was recognised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The protocol.
    pub protocol: AppProtocol,
    /// The name that the client asked for: SNI, `Host`, or the question; lower case, without port and last dot.
    pub name: Option<Box<str>>,
}

/// A look at the bytes so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// They may become something known: look again with more, up to [`LIMIT`].
    More,
    /// This is what it is.
    Found(Finding),
}
