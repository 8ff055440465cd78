//! The handshake's bytes, put together from pieces that come in any order.

use crate::inspect::LIMIT;
use std::ops::Range;

/// Browsers cut a ClientHello into a dozen or two pieces.
const MOST_PIECES: usize = 64;

#[derive(Default, Debug)]
pub(super) struct Stream {
    bytes: Vec<u8>,
    /// What is there; ordered, and with gaps between.
    pieces: Vec<Range<usize>>,
}

impl Stream {
    /// Takes a piece. Of one that reaches beyond [`LIMIT`] only what lies before; nothing when there are too many.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        let Some(start) = usize::try_from(offset).ok().filter(|start| *start < LIMIT) else {
            return;
        };
        let bytes = &bytes[..bytes.len().min(LIMIT - start)];
        let end = start + bytes.len();
        if bytes.is_empty() || !self.note(start..end) {
            return;
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
    }

    /// What is there without a gap from the beginning.
    pub(super) fn begun(&self) -> &[u8] {
        let end = self.pieces.first().filter(|piece| piece.start == 0).map_or(0, |piece| piece.end);
        &self.bytes[..end]
    }

    fn note(&mut self, mut new: Range<usize>) -> bool {
        let from = self.pieces.partition_point(|piece| piece.end < new.start);
        let to = self.pieces.partition_point(|piece| piece.start <= new.end);
        if from == to && self.pieces.len() >= MOST_PIECES {
            return false;
        }
        for piece in self.pieces.drain(from..to) {
            new = new.start.min(piece.start)..new.end.max(piece.end);
        }
        self.pieces.insert(from, new);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_out_of_order() {
        let mut stream = Stream::default();
        stream.put(4, b"efg");
        assert_eq!(stream.begun(), b"");
        stream.put(0, b"ab");
        assert_eq!(stream.begun(), b"ab");
        stream.put(2, b"cd");
        assert_eq!(stream.begun(), b"abcdefg");
        assert_eq!(stream.pieces.len(), 1);
    }

    #[test]
    fn bounded() {
        let mut stream = Stream::default();
        stream.put(u64::MAX, b"x");
        stream.put(LIMIT as u64, b"x");
        assert!(stream.bytes.is_empty());
        stream.put(LIMIT as u64 - 1, b"xy");
        assert_eq!(stream.bytes.len(), LIMIT);
        for at in 0..LIMIT as u64 / 2 {
            stream.put(at * 2, b"x");
        }
        assert_eq!(stream.pieces.len(), MOST_PIECES);
    }

    proptest! {
        /// Against a plain array of what is there.
        #[test]
        fn any_pieces(pieces in prop::collection::vec((0u64..300, 0usize..60), 0..40)) {
            let source: Vec<u8> = (0..400u32).map(|at| (at * 7 % 251) as u8).collect();
            let mut stream = Stream::default();
            let mut there = [false; 400];
            for (offset, len) in pieces {
                let start = offset as usize;
                stream.put(offset, &source[start..start + len]);
                there[start..start + len].fill(true);
            }
            let begun = there.iter().position(|there| !there).unwrap_or(there.len());
            prop_assert_eq!(stream.begun(), &source[..begun]);
        }
    }
}
