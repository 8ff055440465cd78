//! A rate for datagrams: unlike a connection's bytes they pass whole or not at all, and none may be so
//! long that it never passes.

use crate::rules::Rate;

/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;
/// What may come at once however low the rate is: one datagram of any length.
const LEAST_BURST: u64 = 64 << 10;

/// Exact: its level is in bytes times nanoseconds, and nothing is rounded away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: u64,
    level: u128,
    filled_ns: u64,
}

impl Bucket {
    /// Full: a second's bytes, or one datagram's.
    pub(super) fn new(rate: Rate, now_ns: u64) -> Self {
        let mut bucket = Self { rate: rate.0.get(), level: 0, filled_ns: now_ns };
        bucket.level = bucket.full();
        bucket
    }

    /// Whether so many bytes may pass; if so, they are taken.
    pub(super) fn take(&mut self, bytes: usize, now_ns: u64) -> bool {
        let since = now_ns.saturating_sub(self.filled_ns);
        self.filled_ns += since;
        self.level = (self.level + u128::from(since) * u128::from(self.rate)).min(self.full());
        let bytes = bytes as u128 * SECOND;
        let passes = bytes <= self.level;
        self.level -= if passes { bytes } else { 0 };
        passes
    }

    fn full(&self) -> u128 {
        u128::from(self.rate.max(LEAST_BURST)) * SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of `length` that pass of one datagram in each `step` nanoseconds of ten seconds.
    fn passed(rate: u64, length: usize, step: usize) -> u64 {
        let mut bucket = Bucket::new(Rate(rate.try_into().unwrap()), 0);
        let times = (0..10 * 1_000_000_000u64).step_by(step);
        times.filter(|&now| bucket.take(length, now)).count() as u64 * length as u64
    }

    #[test]
    fn the_rate_is_kept_whatever_the_lengths() {
        for (rate, length, step) in
            [(1_000_000, 1200, 100_000), (1_000_000, 60_000, 1_000_000), (300, 100, 1_000_000)]
        {
            let bytes = passed(rate, length, step);
            let most = rate * 10 + rate.max(LEAST_BURST);
            assert!(bytes <= most, "{rate} {length}: {bytes} > {most}");
            assert!(bytes + 2 * length as u64 >= most, "{rate} {length}: {bytes}");
        }
    }

    #[test]
    fn what_is_below_the_rate_passes_whole() {
        assert_eq!(passed(1_000_000, 1000, 1_000_000), 10_000_000);
    }
}
