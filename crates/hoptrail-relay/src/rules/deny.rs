//! The bytes with which a denied connection is told so in its own protocol.

use crate::inspect::{AppProtocol, Finding, Method};

/// RFC 9110, 15.5.4. No cache keeps it, since another application may be allowed.
macro_rules! forbidden {
    ($body:literal) => {
        concat!(
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 39\r\n",
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

const HTTP1: &[u8] = forbidden!("Denied by a rule of the Hoptrail relay\n");
/// The answer to HEAD has the length of the body, but not the body.
const HTTP1_HEAD: &[u8] = forbidden!("");

/// The server's preface, which is SETTINGS without any, and GOAWAY: no stream was processed, INADEQUATE_SECURITY, since
/// clients try again after NO_ERROR or REFUSED_STREAM (RFC 9113, 6.5 and 6.8).
const HTTP2: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x2e\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0cDenied by a rule of the Hoptrail relay";

/// A fatal alert, access_denied (RFC 8446, 6.2).
const TLS: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// What is sent to the client before the connection is closed; nothing where only a reset fits.
///
/// To be sent whole, then `shutdown` for writing, and the client's bytes read to their end: closing with unread bytes
/// makes the kernel reset the connection, and the client may never see the answer.
#[must_use]
pub const fn answer(finding: &Finding) -> Option<&'static [u8]> {
    match finding.protocol {
        AppProtocol::Http1 if matches!(finding.method, Some(Method::Head)) => Some(HTTP1_HEAD),
        AppProtocol::Http1 => Some(HTTP1),
        AppProtocol::Http2 => Some(HTTP2),
        AppProtocol::Tls => Some(TLS),
        AppProtocol::Ssh
        | AppProtocol::Dns
        | AppProtocol::Quic
        | AppProtocol::Smtp
        | AppProtocol::Ftp
        | AppProtocol::Pop3
        | AppProtocol::Imap
        | AppProtocol::Mysql
        | AppProtocol::Unknown => None,
    }
}
