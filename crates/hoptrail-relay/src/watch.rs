//! Watching for given bytes in everything that passes: markers of documents, canary tokens, keys.

use crate::ledger::Ledger;
use crate::tap::{Ruling, Tap, Taps};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, packed};
use std::sync::Arc;

/// Bytes of all patterns up to which speed is worth its memory.
const DFA_BYTES: usize = 8 << 10;

/// What happens to a connection in which a pattern was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnMatch {
    /// It goes on; the log says which pattern was seen first.
    Note,
    /// The bytes with the end of the pattern do not pass, and both sides are reset.
    Deny,
}

/// Patterns, compiled: searching costs the same for one and for many.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Patterns>);

#[derive(Debug)]
struct Patterns {
    searcher: Searcher,
    longest: usize,
    on_match: OnMatch,
}

/// How they are searched for.
#[derive(Debug)]
enum Searcher {
    /// Few patterns: many bytes of the input at once.
    Packed(packed::Searcher),
    /// Many: a table, one byte after another.
    Table(AhoCorasick),
}

/// Patterns that cannot be watched for.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch for these patterns: {0}; use fewer or shorter ones")]
pub struct WatchError(#[from] aho_corasick::BuildError);

/// One direction of one connection.
#[derive(Debug)]
struct Watcher {
    patterns: Arc<Patterns>,
    /// The last bytes that passed: one less than the longest pattern.
    tail: Vec<u8>,
    seen: Option<u16>,
}

impl Watch {
    /// Watches for `patterns`, none of which is empty.
    ///
    /// # Errors
    /// When they are too many or too long to be searched for.
    pub fn new(patterns: &[Vec<u8>], on_match: OnMatch) -> Result<Self, WatchError> {
        let searcher = match packed::Searcher::new(patterns) {
            Some(packed) => Searcher::Packed(packed),
            None => Searcher::Table(table(patterns)?),
        };
        let longest = patterns.iter().map(Vec::len).max().unwrap_or(0);
        Ok(Self(Arc::new(Patterns { searcher, longest, on_match })))
    }
}

/// Against the kinds that the library would choose, ten to fifty times faster where the first bytes of
/// patterns are frequent; but it has a KiB for each byte of the patterns.
fn table(patterns: &[Vec<u8>]) -> Result<AhoCorasick, WatchError> {
    let bytes: usize = patterns.iter().map(Vec::len).sum();
    let kind = (bytes <= DFA_BYTES).then_some(AhoCorasickKind::DFA);
    let builder =
        AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).kind(kind).build(patterns);
    Ok(builder?)
}

impl Taps for Watch {
    fn of(&self, _ledger: &Ledger) -> Option<[Box<dyn Tap>; 2]> {
        let watcher = || -> Box<dyn Tap> { Box::new(Watcher::new(&self.0)) };
        Some([watcher(), watcher()])
    }
}

impl Watcher {
    fn new(patterns: &Arc<Patterns>) -> Self {
        Self { patterns: Arc::clone(patterns), tail: Vec::new(), seen: None }
    }

    fn find(&self, bytes: &[u8]) -> Option<u16> {
        let found = match &self.patterns.searcher {
            Searcher::Packed(packed) => packed.find(bytes),
            Searcher::Table(table) => table.find(bytes),
        }?;
        // Numbered from 1; the configuration takes no more than fit.
        u16::try_from(found.pattern().as_usize() + 1).ok()
    }

    /// Bytes of two pieces that may hold the two parts of one pattern.
    fn overlap(&self) -> usize {
        self.patterns.longest.saturating_sub(1)
    }

    fn across(&self, bytes: &[u8]) -> Option<u16> {
        if self.tail.is_empty() {
            return None;
        }
        self.find(&[&self.tail, &bytes[..bytes.len().min(self.overlap())]].concat())
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let overlap = self.overlap();
        let from_new = bytes.len().min(overlap);
        let from_old = (overlap - from_new).min(self.tail.len());
        self.tail.drain(..self.tail.len() - from_old);
        self.tail.extend_from_slice(&bytes[bytes.len() - from_new..]);
    }
}

impl Tap for Watcher {
    fn see(&mut self, bytes: &[u8]) -> Ruling {
        if self.seen.is_some() {
            return Ruling::Pass;
        }
        self.seen = self.across(bytes).or_else(|| self.find(bytes));
        self.keep_tail(bytes);
        match self.patterns.on_match {
            OnMatch::Deny if self.seen.is_some() => Ruling::Deny,
            OnMatch::Deny | OnMatch::Note => Ruling::Pass,
        }
    }

    fn seen(&self) -> Option<u16> {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn watcher(patterns: &[&str], on_match: OnMatch) -> Watcher {
        let patterns: Vec<_> = patterns.iter().map(|p| p.as_bytes().to_vec()).collect();
        Watcher::new(&Watch::new(&patterns, on_match).unwrap().0)
    }

    #[test]
    fn the_first_that_is_seen_is_named() {
        let mut watcher = watcher(&["SECRET", "TOKEN-"], OnMatch::Note);
        assert_eq!(watcher.see(b"nothing here"), Ruling::Pass);
        assert_eq!(
            (watcher.see(b"a TOKEN-1 and a SECRET"), watcher.seen()),
            (Ruling::Pass, Some(2))
        );
        assert_eq!((watcher.see(b"SECRET"), watcher.seen()), (Ruling::Pass, Some(2)));
    }

    #[test]
    fn denied_at_its_last_byte() {
        let mut watcher = watcher(&["SECRET"], OnMatch::Deny);
        for byte in b"SECRE" {
            assert_eq!(watcher.see(&[*byte]), Ruling::Pass);
        }
        assert_eq!(watcher.see(b"T"), Ruling::Deny);
    }

    #[test]
    fn many_patterns_are_found_like_few() {
        let patterns: Vec<String> = (0..500).map(|n| format!("token-{n:03}")).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let mut watcher = watcher(&patterns, OnMatch::Note);
        assert!(matches!(watcher.patterns.searcher, Searcher::Table(_)));
        let _ = watcher.see(b"a token-49");
        let _ = watcher.see(b"9 here");
        assert_eq!(watcher.seen(), Some(500));
    }

    proptest! {
        #[test]
        fn pieces_are_seen_as_the_whole(
            bytes in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b')], 0..60),
            cuts in proptest::collection::vec(1usize..8, 0..60),
        ) {
            let patterns = ["abba", "bbbb", "aabaab"];
            let mut whole = watcher(&patterns, OnMatch::Note);
            let _ = whole.see(&bytes);
            let mut pieces = watcher(&patterns, OnMatch::Note);
            let (mut rest, mut cuts) = (&bytes[..], cuts.into_iter());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(3).min(rest.len()));
                let _ = pieces.see(piece);
                rest = after;
            }
            prop_assert_eq!(pieces.seen().is_some(), whole.seen().is_some());
        }
    }
}
