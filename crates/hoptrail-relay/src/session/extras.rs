//! What most connections do without, or need only at their beginning.

use super::Side;
use crate::rules::Rate;
use crate::rules::throttle::Bucket;
use crate::tap::Tap;
use crate::upstream::Handshake;

/// One pointer, to a box that is there only as long as something is in it.
#[derive(Default)]
pub(super) struct Extras(Option<Box<Inside>>);

#[derive(Default)]
struct Inside {
    /// The upstream proxy is being told where to go.
    handshake: Option<Box<Handshake>>,
    /// What the destination is told before the client's first byte.
    prelude: Option<Box<[u8]>>,
    /// The client's first bytes, as far as they were passed on before it was clear what they are.
    passed: Vec<u8>,
    /// Of each direction, when throttled.
    pace: Option<Box<[Bucket; 2]>>,
    taps: Option<[Box<dyn Tap>; 2]>,
}

impl Extras {
    pub(super) fn new(prelude: Option<Box<[u8]>>, taps: Option<[Box<dyn Tap>; 2]>) -> Self {
        let mut extras = Self::default();
        if prelude.is_some() || taps.is_some() {
            let inside = extras.inside();
            (inside.prelude, inside.taps) = (prelude, taps);
        }
        extras
    }

    pub(super) fn begin_handshake(&mut self, handshake: Handshake) {
        self.inside().handshake = Some(Box::new(handshake));
    }

    pub(super) fn handshake(&mut self) -> Option<&mut Handshake> {
        self.0.as_deref_mut()?.handshake.as_deref_mut()
    }

    pub(super) fn end_handshake(&mut self) {
        self.take(|inside| inside.handshake.take());
    }

    pub(super) fn take_prelude(&mut self) -> Option<Box<[u8]>> {
        self.take(|inside| inside.prelude.take())
    }

    /// A copy of bytes that pass; there are some.
    pub(super) fn remember_passed(&mut self, bytes: &[u8]) {
        self.inside().passed.extend_from_slice(bytes);
    }

    /// Nothing when none were remembered.
    pub(super) fn passed(&mut self) -> Option<&mut Vec<u8>> {
        self.0.as_deref_mut().map(|inside| &mut inside.passed).filter(|passed| !passed.is_empty())
    }

    pub(super) fn forget_passed(&mut self) {
        self.take(|inside| Some(std::mem::take(&mut inside.passed)));
    }

    pub(super) fn throttle(&mut self, rate: Rate, now: u64) {
        self.inside().pace = Some(Box::new([Bucket::new(rate, now), Bucket::new(rate, now)]));
    }

    /// What the direction from that side is throttled and seen by.
    pub(super) fn of(
        &mut self,
        from: Side,
    ) -> (Option<&mut Bucket>, Option<&mut (dyn Tap + 'static)>) {
        let Some(inside) = self.0.as_deref_mut() else { return (None, None) };
        let bucket = inside.pace.as_deref_mut().map(|pace| &mut pace[from.index()]);
        let tap = inside.taps.as_mut().map(|taps| &mut *taps[from.index()]);
        (bucket, tap)
    }

    /// What the taps have seen.
    pub(super) fn seen(&self) -> Option<u16> {
        self.0.as_deref()?.taps.as_ref()?.iter().find_map(|tap| tap.seen())
    }

    fn inside(&mut self) -> &mut Inside {
        self.0.get_or_insert_default()
    }

    /// Takes something out; the box goes with the last.
    fn take<T>(&mut self, out: impl FnOnce(&mut Inside) -> Option<T>) -> Option<T> {
        let taken = out(self.0.as_deref_mut()?);
        self.0.take_if(|inside| inside.is_empty());
        taken
    }
}

impl Inside {
    fn is_empty(&self) -> bool {
        let Self { handshake, prelude, passed, pace, taps } = self;
        let lasting = pace.is_some() || taps.is_some();
        !lasting && handshake.is_none() && prelude.is_none() && passed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_goes_with_the_last() {
        assert!(Extras::new(None, None).0.is_none());
        let mut extras = Extras::new(Some([1].into()), None);
        extras.remember_passed(b"GE");
        assert_eq!(extras.take_prelude().as_deref(), Some(&[1][..]));
        extras.end_handshake();
        assert_eq!(extras.passed().map(|passed| passed.as_slice()), Some(&b"GE"[..]));
        extras.forget_passed();
        assert!(extras.0.is_none() && extras.passed().is_none());
        extras.forget_passed();
        assert!(extras.0.is_none());
    }
}
