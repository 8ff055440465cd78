//! What a look at the first bytes can tell.

use std::fmt;

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
    /// DNS, by its question.
    Dns,
    /// QUIC, by its Initial packet.
    Quic,
    /// SMTP, by the server's greeting.
    Smtp,
    /// FTP, by the server's greeting.
    Ftp,
    /// POP3, by the server's greeting.
    Pop3,
    /// IMAP, by the server's greeting.
    Imap,
    /// MySQL or MariaDB, by the server's greeting.
    Mysql,
    /// Nothing that is known.
    Unknown,
}

impl AppProtocol {
    /// Each of them, in the order of their declaration.
    pub const ALL: [Self; 12] = [
        Self::Tls,
        Self::Http1,
        Self::Http2,
        Self::Ssh,
        Self::Dns,
        Self::Quic,
        Self::Smtp,
        Self::Ftp,
        Self::Pop3,
        Self::Imap,
        Self::Mysql,
        Self::Unknown,
    ];

    /// As it is written in rules and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Ssh => "ssh",
            Self::Dns => "dns",
            Self::Quic => "quic",
            Self::Smtp => "smtp",
            Self::Ftp => "ftp",
            Self::Pop3 => "pop3",
            Self::Imap => "imap",
            Self::Mysql => "mysql",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for AppProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The method of an HTTP request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: its answer has no body.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `CONNECT`.
    Connect,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `PATCH`.
    Patch,
    /// Another one.
    Other,
}

impl Method {
    /// As it stands in a request; `OTHER` for those that are not told apart.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }

    pub(super) fn of(token: &str) -> Self {
        let told = [
            Self::Get,
            Self::Head,
            Self::Post,
            Self::Put,
            Self::Delete,
            Self::Connect,
            Self::Options,
            Self::Trace,
            Self::Patch,
        ];
        told.into_iter().find(|method| method.name() == token).unwrap_or(Self::Other)
    }
}

/// What was recognised. Small: the ledger of an idle connection keeps one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The protocol.
    pub protocol: AppProtocol,
    /// The name that the client asked for: SNI, `Host`, `:authority` or the question; lower case, without port and
    /// last dot, as A-label. Nothing when there was none, or what stood there is no domain name.
    pub name: Option<Box<str>>,
    /// The protocols that a TLS or QUIC client offered, in its order, with commas between; without those that are not
    /// printable (GREASE).
    pub alpn: Option<Box<str>>,
    /// The client sent an Encrypted Client Hello, real or as GREASE: `name` is the outer one, and may not be the
    /// server that is meant.
    pub ech: bool,
    /// The method of an HTTP request.
    pub method: Option<Method>,
}

impl Finding {
    /// A protocol, and nothing else that is known.
    #[must_use]
    pub const fn of(protocol: AppProtocol) -> Self {
        Self { protocol, name: None, alpn: None, ech: false, method: None }
    }

    /// Nothing that is known.
    #[must_use]
    pub const fn unknown() -> Self {
        Self::of(AppProtocol::Unknown)
    }
}

/// A look at the bytes so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// They may become something known, or tell more: look again with more, up to [`LIMIT`](super::LIMIT).
    More,
    /// This is what it is, whatever may follow.
    Found(Finding),
}
