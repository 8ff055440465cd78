//! What a ClientHello says of where the client wants to go: the same for TLS and for QUIC.

use super::finding::{AppProtocol, Finding};
use super::name::domain;
use tls_parser::{
    SNIType, TlsExtension, parse_tls_extension_alpn_content, parse_tls_extension_sni_content,
    parse_tls_extension_unknown, parse_tls_handshake_client_hello,
};

/// Type and length.
pub(super) const HEADER: usize = 4;

const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// RFC 9849.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// The most bytes of protocol names that are kept: a client can offer 64 KiB of them.
const MOST_ALPN: usize = 128;

/// Whether a handshake message that begins so can be a ClientHello.
pub(super) fn may_begin(message: &[u8]) -> bool {
    // Its fields together fill a little over 128 KiB at most: the first byte of the length is 0 or 1, rarely 2.
    message.first().is_none_or(|byte| *byte == CLIENT_HELLO)
        && message.get(1).is_none_or(|byte| *byte <= 2)
}

/// Length of the whole message, its header included; nothing while that is not there.
pub(super) fn whole_len(message: &[u8]) -> Option<usize> {
    let [_, a, b, c] = *message.first_chunk::<HEADER>()?;
    Some(HEADER + u32::from_be_bytes([0, a, b, c]) as usize)
}

/// What a whole message says. A ClientHello that no server would take says nothing.
pub(super) fn read(protocol: AppProtocol, message: &[u8]) -> Finding {
    let mut finding = Finding::of(protocol);
    let body = message.get(HEADER..).unwrap_or_default();
    let Ok((_, hello)) = parse_tls_handshake_client_hello(body) else { return finding };
    let mut names = Vec::new();
    // One by one and unread: an extension that is none of ours cannot hide those behind it by being odd.
    let mut rest = hello.ext.unwrap_or_default();
    while let Ok((next, TlsExtension::Unknown(kind, content))) = parse_tls_extension_unknown(rest) {
        rest = next;
        match kind.0 {
            SERVER_NAME => names.extend(server_names(content)),
            ALPN if finding.alpn.is_none() => finding.alpn = protocols(content),
            ENCRYPTED_CLIENT_HELLO => finding.ech = true,
            _ => {}
        }
    }
    // Of two names we cannot tell which one the server goes by.
    if let [name] = names[..] {
        finding.name = domain(name);
    }
    finding
}

fn server_names(content: &[u8]) -> Vec<&[u8]> {
    let Ok((_, TlsExtension::SNI(names))) = parse_tls_extension_sni_content(content) else {
        return Vec::new();
    };
    names.into_iter().filter(|(kind, _)| *kind == SNIType::HostName).map(|(_, name)| name).collect()
}

fn protocols(content: &[u8]) -> Option<Box<str>> {
    let Ok((_, TlsExtension::ALPN(names))) = parse_tls_extension_alpn_content(content) else {
        return None;
    };
    let mut list = String::new();
    for name in names.into_iter().filter_map(printable) {
        if list.len() + name.len() >= MOST_ALPN {
            break;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name);
    }
    (!list.is_empty()).then(|| list.into())
}

fn printable(name: &[u8]) -> Option<&str> {
    let good = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty() && name.as_bytes().iter().all(good))
}
