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
        self.level = (self.level + u128::from(passed) * u128::from(self.rate)).min(self.full());
    }

    fn whole(&self) -> u64 {
        u64::try_from(self.level / NS_PER_S).unwrap_or(u64::MAX)
    }

    fn full(&self) -> u128 {
        u128::from(self.burst()) * NS_PER_S
    }
}
