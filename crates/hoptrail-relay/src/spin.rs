//! Whether to look again for a moment before sleeping.
//!
//! Waking a thread costs more than most messages: an interrupt to another CPU, and in a virtual
//! machine an exit. Where the next message comes within that time, looking for it is cheaper than
//! sleeping, for everybody. How long it pays is learnt from how long the last waits were, in the way in
//! which KVM polls for its halted CPUs; a thread whose events come seldom never spins.

use crate::config::Spinning;

/// The longest spin. Longer waits are not worth the CPU.
const MOST_NS: u64 = 50_000;
/// The first spin after a short wait.
const FIRST_NS: u64 = 10_000;

/// The time for which it pays to look again, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Spin {
    budget: u64,
    most: u64,
}

impl Spin {
    pub(crate) fn new(spinning: Spinning) -> Self {
        let most = match spinning {
            Spinning::Auto => MOST_NS,
            Spinning::Never => 0,
        };
        Self { budget: 0, most }
    }

    /// For how long to look before sleeping; 0 for not at all.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// So long it took until something came, from the moment when there was nothing to do.
    pub(crate) fn waited(&mut self, ns: u64) {
        if ns > MOST_NS {
            self.budget = 0;
        } else if ns > self.budget {
            self.budget = (self.budget * 2).max(FIRST_NS).min(self.most);
        }
    }

    /// What came was no small message: the others need the CPU more.
    pub(crate) fn stop(&mut self) {
        self.budget = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_waits_make_it_longer_and_a_long_one_ends_it() {
        let mut spin = Spin::new(Spinning::Auto);
        assert_eq!(spin.budget(), 0);
        let budgets: Vec<_> = (0..5)
            .map(|_| {
                spin.waited(45_000);
                spin.budget()
            })
            .collect();
        assert_eq!(budgets, [10_000, 20_000, 40_000, 50_000, 50_000]);
        spin.waited(5_000);
        assert_eq!(spin.budget(), 50_000);
        spin.waited(MOST_NS + 1);
        assert_eq!(spin.budget(), 0);
    }

    #[test]
    fn never_is_never() {
        let mut spin = Spin::new(Spinning::Never);
        spin.waited(1);
        assert_eq!(spin.budget(), 0);
    }
}
