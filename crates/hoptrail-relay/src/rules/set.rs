//! Sets of rules, a bit for each, and conditions that give them.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// The most rules: their numbers stay small, and a set fits the stack.
pub(crate) const MOST_RULES: usize = 4096;

const WORDS: usize = MOST_RULES / 64;

/// A set of rules, by index from 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Set([u64; WORDS]);

impl Set {
    /// No rule.
    pub(super) const NONE: Self = Self([0; WORDS]);

    pub(super) const fn insert(&mut self, rule: u16) {
        self.0[rule as usize / 64] |= 1 << (rule % 64);
    }

    const fn remove(&mut self, rule: u16) {
        self.0[rule as usize / 64] &= !(1 << (rule % 64));
    }

    pub(super) fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= other;
        }
    }

    pub(super) fn keep_not(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
    }

    /// The lowest index.
    pub(super) fn first(&self) -> Option<u16> {
        let at = self.0.iter().position(|word| *word != 0)?;
        Some(at as u16 * 64 + self.0[at].trailing_zeros() as u16)
    }
}

/// One kind of condition, over all rules: which of them hold is looked up by what a connection has, not rule by rule.
#[derive(Clone, Debug)]
pub(super) struct Condition<K> {
    /// The rules that hold when nothing is found: those without such a condition, and those with exclusions alone.
    base: Set,
    /// The rules that hold for a key.
    meant: HashMap<K, Vec<u16>>,
    /// The rules that then do not hold.
    excluded: HashMap<K, Vec<u16>>,
}

impl<K> Default for Condition<K> {
    fn default() -> Self {
        Self { base: Set::NONE, meant: HashMap::new(), excluded: HashMap::new() }
    }
}

impl<K: Eq + Hash> Condition<K> {
    /// Adds what a rule says; with nothing meant, it holds for everything that is not excluded.
    pub(super) fn add(
        &mut self,
        rule: u16,
        meant: impl IntoIterator<Item = K>,
        excluded: impl IntoIterator<Item = K>,
    ) {
        let mut any = true;
        for key in meant {
            any = false;
            self.meant.entry(key).or_default().push(rule);
        }
        for key in excluded {
            self.excluded.entry(key).or_default().push(rule);
        }
        if any {
            self.base.insert(rule);
        }
    }

    /// Keeps in `rules` those that hold for a connection that has `keys`.
    pub(super) fn keep<'q, Q: Eq + Hash + ?Sized + 'q>(
        &self,
        rules: &mut Set,
        keys: impl Iterator<Item = &'q Q> + Clone,
    ) where
        K: Borrow<Q>,
    {
        if self.meant.is_empty() && self.excluded.is_empty() {
            return;
        }
        let mut holding = self.base.clone();
        for rule in keys.clone().filter_map(|key| self.meant.get(key)).flatten() {
            holding.insert(*rule);
        }
        for rule in keys.filter_map(|key| self.excluded.get(key)).flatten() {
            holding.remove(*rule);
        }
        rules.keep(&holding);
    }

    /// The keys that rules name.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.meant.keys().chain(self.excluded.keys())
    }
}
