//! The image being written: words, sets that are shared, hash tables.

use super::Filter;
use crate::image::{ENTRY_WORDS, IMAGE_WORDS, PROBES, TAKEN, at, slot};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// A set of filters while it is being made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Set(pub(super) [u64; 64]);

impl Set {
    pub(super) fn of(filters: &[&Filter], mut holds: impl FnMut(&Filter) -> bool) -> Self {
        let mut set = Self([0; 64]);
        for (i, filter) in filters.iter().enumerate() {
            if holds(filter) {
                set.insert(i);
            }
        }
        set
    }

    pub(super) fn insert(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }

    pub(super) fn with(mut self, others: &[usize]) -> Self {
        others.iter().for_each(|&i| self.insert(i));
        self
    }
}

pub(super) struct Writer {
    pub(super) words: Vec<u64>,
    pub(super) sets: BTreeMap<Set, u32>,
}

impl Writer {
    pub(super) fn new() -> Self {
        let mut words = vec![0; at::HEADER_WORDS as usize];
        // The empty set's summary is a word of the header that stays zero.
        words[at::EMPTY as usize] = 0;
        let sets = BTreeMap::from([(Set([0; 64]), at::EMPTY)]);
        Self { words, sets }
    }

    pub(super) fn put(&mut self, at: u32, word: u64) {
        self.words[at as usize] = word;
    }

    pub(super) fn set(&mut self, set: Set) -> u32 {
        if let Some(&at) = self.sets.get(&set) {
            return at;
        }
        let at = self.words.len() as u32;
        let summary = (0..64).filter(|&w| set.0[w] != 0).fold(0u64, |summary, w| summary | 1 << w);
        self.words.push(summary);
        self.words.extend(set.0.iter().filter(|&&word| word != 0));
        self.sets.insert(set, at);
        at
    }

    /// A hash table at header word `header`, grown until every key is within reach. Keys that no size
    /// spreads make it grow past every image, which is then refused as too large.
    pub(super) fn table(&mut self, header: u32, entries: &BTreeMap<[u64; 2], [u64; 2]>) {
        let mut slots = (entries.len() * 2).next_power_of_two().max(1);
        let table = loop {
            match place(entries, slots) {
                Some(table) => break table,
                None if slots > IMAGE_WORDS => break vec![0; slots],
                None => slots *= 2,
            }
        };
        let base = self.words.len() as u64;
        self.words.extend(table);
        self.put(header, base | ((slots - 1) as u64) << 32);
    }
}

fn place(entries: &BTreeMap<[u64; 2], [u64; 2]>, slots: usize) -> Option<Vec<u64>> {
    let width = ENTRY_WORDS as usize;
    let mut table = vec![0; slots * width];
    for (key, value) in entries {
        let first = slot(*key, (slots - 1) as u32) as usize;
        let at = (0..PROBES as usize)
            .map(|probe| ((first + probe) & (slots - 1)) * width)
            .find(|at| table[at + 2] & TAKEN == 0)?;
        table[at..at + width].copy_from_slice(&[key[0], key[1], value[0] | TAKEN, value[1]]);
    }
    Some(table)
}
