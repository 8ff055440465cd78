//! QUIC versions 1 and 2: the ClientHello in a client's Initial packets, which anyone on the path can read (RFC 9001, 5.2).

mod frames;
mod keys;
mod packet;
mod stream;
mod varint;

use super::finding::{AppProtocol, Finding, Look};
use super::{LIMIT, hello};
use keys::Keys;
use packet::Initial;
use stream::Stream;

/// A ClientHello of [`LIMIT`] bytes fits into fewer; what is not complete by then will not be.
const MOST_DATAGRAMS: u8 = 32;

/// A flow whose ClientHello is being put together.
#[derive(Debug)]
pub(super) struct Flow {
    /// From the connection id of the first packet: they stay when the client takes up the server's.
    keys: Keys,
    stream: Stream,
    datagrams: u8,
}

impl Flow {
    /// A flow that begins with this datagram, if its first packet is an Initial that the keys made from it open.
    pub(super) fn begin(datagram: &[u8]) -> Option<Self> {
        let (initial, _) = Initial::split(datagram)?;
        let keys = Keys::of(&initial)?;
        keys.open(&initial)?;
        Some(Self { keys, stream: Stream::default(), datagrams: 0 })
    }

    /// Looks at the next datagram, or again at the one with which it began.
    pub(super) fn datagram(&mut self, mut rest: &[u8]) -> Look {
        self.datagrams = self.datagrams.saturating_add(1);
        while let Some((initial, next)) = Initial::split(rest) {
            let payload = self.keys.open(&initial).or_else(|| {
                // After a Retry the client begins again, with keys from the id that the server chose.
                let keys = Keys::of(&initial)?;
                let payload = keys.open(&initial)?;
                self.keys = keys;
                Some(payload)
            });
            for (offset, bytes) in payload.iter().flat_map(|payload| frames::crypto(payload)) {
                self.stream.put(offset, bytes);
            }
            rest = next;
        }
        self.look()
    }

    fn look(&self) -> Look {
        let message = self.stream.begun();
        let whole = hello::whole_len(message);
        if let Some(whole) = whole.and_then(|whole| message.get(..whole)) {
            return Look::Found(hello::read(AppProtocol::Quic, whole));
        }
        let hopeless = !hello::may_begin(message) || whole.is_some_and(|whole| whole > LIMIT);
        if hopeless || self.datagrams >= MOST_DATAGRAMS {
            return Look::Found(Finding::of(AppProtocol::Quic));
        }
        Look::More
    }
}
