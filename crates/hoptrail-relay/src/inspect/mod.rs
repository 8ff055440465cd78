//! What a connection speaks, from its first bytes. Nothing here does I/O, keeps time, panics, or does more work than in
//! proportion to the bytes it is shown.
//!
//! The bytes are only looked at: whoever calls passes them on unchanged.

mod finding;

pub use finding::{AppProtocol, Finding, Look, Method};

/// The most bytes that are kept while a recogniser asks for more.
pub const LIMIT: usize = 16 * 1024;

/// Looks at all that a TCP client has sent so far, to `port` of its destination.
///
/// [`Look::More`] only while fewer than [`LIMIT`] bytes can still become something known; the first byte that rules out
/// everything gives [`AppProtocol::Unknown`]. What was found stays the same for any longer input.
#[must_use]
pub fn client(bytes: &[u8], port: u16) -> Look {
    let _ = port;
    if bytes.is_empty() { Look::More } else { Look::Found(Finding::unknown()) }
}

/// What `bytes` are when no more of them will come, or no more will be waited for.
#[must_use]
pub fn last(bytes: &[u8], port: u16) -> Finding {
    let _ = (bytes, port);
    Finding::unknown()
}

/// Looks at all that a TCP server has sent so far, the client having sent nothing.
///
/// [`Look::More`] and [`Look::Found`] as in [`client`].
#[must_use]
pub fn server(bytes: &[u8]) -> Look {
    if bytes.is_empty() { Look::More } else { Look::Found(Finding::unknown()) }
}

/// What the first datagram of a UDP flow is, to `port` of its destination; see [`FlowLook`] for those that do not say
/// everything in one.
#[must_use]
pub fn datagram(bytes: &[u8], port: u16) -> Finding {
    match FlowLook::default().datagram(bytes, port) {
        Look::Found(finding) => finding,
        Look::More => Finding::of(AppProtocol::Quic),
    }
}

/// A look at a UDP flow whose ClientHello may be spread over several datagrams, in any order. Bounded: it keeps at most
/// [`LIMIT`] bytes, and they are freed when something was found.
#[derive(Default, Debug)]
pub struct FlowLook {}

impl FlowLook {
    /// Looks at the next datagram that the client sent, to `port` of its destination.
    ///
    /// [`Look::More`] while QUIC's ClientHello is incomplete: until then it is known to be
    /// [`AppProtocol::Quic`](finding::AppProtocol::Quic), and nothing more.
    pub fn datagram(&mut self, bytes: &[u8], port: u16) -> Look {
        let _ = (bytes, port);
        Look::Found(Finding::unknown())
    }
}
