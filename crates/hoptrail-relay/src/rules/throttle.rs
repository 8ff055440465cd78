//! A token bucket: one for each direction of each throttled connection.

use super::Rate;

const NS_PER_S: u128 = 1_000_000_000;

/// The smallest burst: less would cut up single small messages.
const MIN_BURST: u64 = 4096;

/// Grants bytes at a rate. Exact: its level is counted in bytes times nanoseconds, and nothing is rounded away.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: u64,
    /// Bytes that may go now, times 10^9.
    level: u128,
    /// When `level` was right, in the caller's nanoseconds.
    at: u64,
}

impl Bucket {
    /// A full bucket. It holds a tenth of a second's worth, but at least 4096 bytes: that is the burst after a pause.
    #[must_use]
    pub fn new(rate: Rate, now_ns: u64) -> Self {
        let rate = rate.0.get();
        let mut bucket = Self { rate, level: 0, at: now_ns };
        bucket.level = bucket.full();
        bucket
    }

    /// The most bytes that are ever granted at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        (self.rate / 10).max(MIN_BURST)
    }

    /// Takes up to `want` bytes and says how many may go now, maybe 0. `now_ns` never goes back.
    pub fn take(&mut self, want: u64, now_ns: u64) -> u64 {
        self.fill(now_ns);
        let granted = want.min(self.whole());
        self.level -= u128::from(granted) * NS_PER_S;
        granted
    }

    /// Puts back what was granted and not used: the socket took less.
    pub fn give_back(&mut self, bytes: u64) {
        self.level = (self.level + u128::from(bytes) * NS_PER_S).min(self.full());
    }

    /// The first nanosecond at which `want` bytes, or a whole burst if that is less, will be granted.
    #[must_use]
    pub fn ready_at(&self, want: u64) -> u64 {
        let missing = (u128::from(want.min(self.burst())) * NS_PER_S).saturating_sub(self.level);
        let wait = missing.div_ceil(u128::from(self.rate));
        self.at.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX))
    }

    fn fill(&mut self, now_ns: u64) {
        let passed = now_ns.saturating_sub(self.at);
        self.at += passed;
        let more = u128::from(passed) * u128::from(self.rate);
        self.level = self.level.saturating_add(more).min(self.full());
    }

    fn whole(&self) -> u64 {
        u64::try_from(self.level / NS_PER_S).unwrap_or(u64::MAX)
    }

    fn full(&self) -> u128 {
        u128::from(self.burst()) * NS_PER_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(rate: u64, now: u64) -> Bucket {
        Bucket::new(Rate(rate.try_into().unwrap()), now)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = bucket(1_000_000, 5);
        assert_eq!(bucket.take(u64::MAX, 5), 100_000);
        assert_eq!(bucket.take(1, 5), 0);
        assert_eq!(bucket.ready_at(1000), 5 + SECOND / 1000);
        assert_eq!(bucket.take(5000, 5 + SECOND / 1000), 1000);
        // A pause fills it, and no more than that.
        assert_eq!(bucket.take(u64::MAX, 100 * SECOND), 100_000);
        assert_eq!(bucket.ready_at(u64::MAX), 100 * SECOND + SECOND / 10);
    }

    #[test]
    fn what_was_not_used_goes_back() {
        let mut bucket = bucket(10, 0);
        assert_eq!(bucket.take(4096, 0), 4096);
        bucket.give_back(96);
        assert_eq!(bucket.take(4096, 0), 96);
        bucket.give_back(u64::MAX);
        assert_eq!(bucket.take(u64::MAX, 0), 4096);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut fast = bucket(u64::MAX, 0);
        assert_eq!(fast.take(u64::MAX, u64::MAX), u64::MAX / 10);
        assert_eq!(fast.ready_at(1), u64::MAX);
        let mut slow = bucket(1, 0);
        assert_eq!(slow.take(4096, 0), 4096);
        assert_eq!(slow.ready_at(4096), 4096 * SECOND);
        // A clock that goes back is one that stands still.
        let mut back = bucket(1000, 10 * SECOND);
        assert_eq!(back.take(4096, 10 * SECOND), 4096);
        assert_eq!(back.take(4096, 0), 0);
        assert_eq!(back.take(4096, 11 * SECOND), 1000);
    }

    proptest! {
        /// Whatever is asked for and when: over the whole time it is the burst and the rate, to the byte.
        #[test]
        fn never_a_byte_more_and_none_lost(
            rate in 1u64..1 << 40,
            steps in prop::collection::vec((1u64..10_000_000, 0u64..1 << 22), 1..200),
        ) {
            let mut bucket = bucket(rate, 0);
            let burst = u128::from(bucket.burst());
            let (mut now, mut passed) = (0u64, 0u128);
            for (pause, want) in steps {
                now += pause;
                passed += u128::from(bucket.take(want, now));
                let allowed = burst + u128::from(now) * u128::from(rate) / u128::from(SECOND);
                prop_assert!(passed <= allowed);
            }
            // Taken as soon as it is ready, it keeps to the rate.
            bucket.take(u64::MAX, now);
            let start = now;
            let more = bucket.burst().min(1000);
            let mut taken = 0u128;
            for _ in 0..50 {
                let ready = bucket.ready_at(more);
                prop_assert!(bucket.clone().take(more, ready.saturating_sub(1)) < more || ready == now);
                now = ready;
                let got = bucket.take(more, now);
                prop_assert_eq!(got, more);
                taken += u128::from(got);
            }
            let fits = u128::from(now - start) * u128::from(rate) / u128::from(SECOND) + 1;
            prop_assert!(taken <= fits);
        }
    }
}
