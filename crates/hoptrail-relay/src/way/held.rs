//! What was read and not written yet: first bytes that are looked at, and what a blocked target has left.

use rustix::net::SendFlags;

/// Bytes between a source and its target. Nearly all directions hold none, so it is one pointer.
#[derive(Default, Debug)]
pub(super) struct Held(Option<Box<Waiting>>);

/// Never with all bytes gone: then it is as new.
#[derive(Default, Debug)]
struct Waiting {
    bytes: Vec<u8>,
    /// How many of them are gone already.
    gone: usize,
    /// How many of the rest are the relay's own and not the source's.
    own: usize,
    /// How many of them, at the end, the tap has not seen.
    unseen: usize,
    /// The last of them is urgent, and must be so for the target too.
    ends_urgent: bool,
}

impl Held {
    /// What is not gone.
    pub(super) fn rest(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], Waiting::rest)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    /// How many bytes more make `limit`; those that are gone still take their memory.
    pub(super) fn room(&self, limit: usize) -> usize {
        limit.saturating_sub(self.0.as_deref().map_or(0, |waiting| waiting.bytes.len()))
    }

    /// Adds bytes that the tap has seen. `spare` is used up before memory is asked for.
    pub(super) fn keep(&mut self, bytes: &[u8], spare: &mut Self) {
        self.waiting(spare).bytes.extend_from_slice(bytes);
    }

    /// Adds bytes that the tap has not seen.
    pub(super) fn gather(&mut self, bytes: &[u8], spare: &mut Self) {
        self.keep(bytes, spare);
        self.waiting(spare).unseen += bytes.len();
    }

    /// Adds an urgent byte; none may follow before it is gone.
    pub(super) fn keep_urgent(&mut self, byte: u8, seen: bool, spare: &mut Self) {
        let waiting = self.waiting(spare);
        waiting.bytes.push(byte);
        waiting.ends_urgent = true;
        waiting.unseen = usize::from(!seen);
    }

    /// Puts the relay's own bytes before all others.
    pub(super) fn put_first(&mut self, own: &[u8]) {
        let waiting = self.0.get_or_insert_default();
        waiting.bytes.splice(..waiting.gone, own.iter().copied());
        waiting.gone = 0;
        waiting.own += own.len();
    }

    /// What the tap has to see, which it is taken to have then.
    pub(super) fn take_unseen(&mut self) -> &[u8] {
        let Some(waiting) = &mut self.0 else { return &[] };
        let unseen = std::mem::take(&mut waiting.unseen);
        &waiting.bytes[waiting.bytes.len() - unseen..]
    }

    /// What can be written at once, and how.
    pub(super) fn front(&self) -> Option<(&[u8], SendFlags)> {
        let waiting = self.0.as_deref()?;
        let (rest, urgent) = (waiting.rest(), usize::from(waiting.ends_urgent));
        match rest.len() {
            0 => None,
            n if n > urgent => Some((&rest[..n - urgent], SendFlags::empty())),
            _ => Some((rest, SendFlags::OOB)),
        }
    }

    /// The first `n` were written. Says how many of them were the source's.
    pub(super) fn written(&mut self, n: usize) -> usize {
        let Some(waiting) = &mut self.0 else { return 0 };
        let own = n.min(waiting.own);
        waiting.own -= own;
        waiting.pass(n);
        n - own
    }

    /// The first `n` were meant for the relay.
    pub(super) fn consume(&mut self, n: usize) {
        if let Some(waiting) = &mut self.0 {
            waiting.pass(n);
        }
    }

    /// An empty one gives its box to the next that needs one: the first message of a connection,
    /// which is always held for a moment, so costs no more than its bytes.
    pub(super) fn give_back(&mut self, spare: &mut Self) {
        if let Some(waiting) = self.0.take_if(|waiting| waiting.bytes.is_empty()) {
            spare.0 = Some(waiting);
        }
    }

    fn waiting(&mut self, spare: &mut Self) -> &mut Waiting {
        self.0.get_or_insert_with(|| spare.0.take().unwrap_or_default())
    }
}

impl Waiting {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    fn pass(&mut self, n: usize) {
        self.gone += n;
        self.unseen = self.unseen.min(self.rest().len());
        if self.rest().is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_bytes_go_first_and_are_not_counted() {
        let (mut held, mut spare) = (Held::default(), Held::default());
        held.gather(b"abcd", &mut spare);
        assert_eq!(held.written(1), 1);
        held.put_first(b"own");
        assert_eq!(held.front(), Some((&b"ownbcd"[..], SendFlags::empty())));
        assert_eq!((held.written(2), held.written(2)), (0, 1));
        assert_eq!(held.rest(), b"cd");
        assert_eq!(held.take_unseen(), b"cd");
    }

    #[test]
    fn an_urgent_byte_goes_alone() {
        let (mut held, mut spare) = (Held::default(), Held::default());
        held.keep(b"ab", &mut spare);
        held.keep_urgent(b'!', false, &mut spare);
        assert_eq!(held.front(), Some((&b"ab"[..], SendFlags::empty())));
        assert_eq!(held.take_unseen(), b"!");
        assert_eq!(held.written(2), 2);
        assert_eq!(held.front(), Some((&b"!"[..], SendFlags::OOB)));
        assert_eq!((held.written(1), held.front()), (1, None));
        held.keep(b"c", &mut spare);
        assert_eq!(held.front(), Some((&b"c"[..], SendFlags::empty())));
    }

    #[test]
    fn only_an_empty_box_goes_round() {
        let (mut held, mut spare) = (Held::default(), Held::default());
        held.gather(b"ab", &mut spare);
        held.give_back(&mut spare);
        assert!(held.0.is_some() && spare.0.is_none());
        held.consume(2);
        held.give_back(&mut spare);
        assert!(held.0.is_none() && spare.0.is_some());
        held.keep(b"c", &mut spare);
        assert!(spare.0.is_none());
        assert_eq!(held.rest(), b"c");
        assert!(held.take_unseen().is_empty());
    }
}
