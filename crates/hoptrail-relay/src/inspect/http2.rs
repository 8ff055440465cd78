//! HTTP/2 with prior knowledge, by the preface of RFC 9113, 3.4.
//!
//! No name: the client need not send a request before the server's settings, and none of the HPACK decoders that can be
//! had by themselves is both kept up and cheap enough for first bytes.

use super::finding::{AppProtocol, Finding};
use super::{Bytes, Step};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) fn look(bytes: Bytes<'_>) -> Step {
    bytes.literal(PREFACE, || Finding::of(AppProtocol::Http2))
}
