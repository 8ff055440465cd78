//! Flows by peer, by slot, and for each owner in the order in which they were last used.

use std::collections::HashMap;
use std::hash::Hash;

const NONE: u32 = u32::MAX;

/// A slot with the generation that tells a flow from an earlier one there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Id {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Values with a key and an owner each. The number of values is the caller's to bound.
#[derive(Debug)]
pub(super) struct Table<K, O, V> {
    slots: Vec<Slot<K, O, V>>,
    free: Vec<u32>,
    keys: HashMap<K, u32>,
    owners: HashMap<O, List>,
}

#[derive(Debug)]
struct Slot<K, O, V> {
    generation: u32,
    entry: Option<Entry<K, O, V>>,
}

#[derive(Debug)]
struct Entry<K, O, V> {
    key: K,
    owner: O,
    value: V,
    used_ns: u64,
    /// The one of the same owner that was used before this.
    older: u32,
    newer: u32,
}

/// Of one owner, linked through the slots.
#[derive(Clone, Copy, Debug)]
struct List {
    oldest: u32,
    newest: u32,
    length: usize,
}

impl<K: Hash + Eq + Clone, O: Hash + Eq + Clone, V> Table<K, O, V> {
    pub(super) fn new() -> Self {
        Self { slots: vec![], free: vec![], keys: HashMap::new(), owners: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn find(&self, key: &K) -> Option<Id> {
        self.keys.get(key).map(|&slot| self.id(slot))
    }

    /// The flow, unless it has ended.
    pub(super) fn get(&mut self, id: Id) -> Option<&mut V> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        (slot.generation == id.generation).then_some(())?;
        slot.entry.as_mut().map(|entry| &mut entry.value)
    }

    /// Adds one that was just used. A key that is there already would be two flows of one peer: remove
    /// it first.
    pub(super) fn insert(&mut self, key: K, owner: O, now_ns: u64, value: V) -> Id {
        let entry = Entry {
            key: key.clone(),
            owner: owner.clone(),
            value,
            used_ns: now_ns,
            older: NONE,
            newer: NONE,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        });
        self.slots[slot as usize].entry = Some(entry);
        let before = self.keys.insert(key, slot);
        debug_assert!(before.is_none());
        self.append(slot, owner);
        self.id(slot)
    }

    /// It was used.
    pub(super) fn touch(&mut self, id: Id, now_ns: u64) {
        if self.get(id).is_none() {
            return;
        }
        let owner = self.unlink(id.slot);
        if let Some(owner) = owner {
            self.entry(id.slot).used_ns = now_ns;
            self.append(id.slot, owner);
        }
    }

    /// Takes it out.
    pub(super) fn remove(&mut self, id: Id) -> Option<V> {
        self.get(id)?;
        self.unlink(id.slot);
        let slot = &mut self.slots[id.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        let entry = slot.entry.take()?;
        self.keys.remove(&entry.key);
        self.free.push(id.slot);
        Some(entry.value)
    }

    /// Of the owner that has most, the one that was idle longest. An owner that is about to get one
    /// more counts with it.
    pub(super) fn to_evict(&self, newcomer: &O) -> Option<Id> {
        let weight = |(owner, list): &(&O, &List)| {
            (list.length + usize::from(*owner == newcomer), *owner == newcomer)
        };
        let most = self.owners.iter().max_by_key(weight);
        most.map(|(_, list)| self.id(list.oldest))
    }

    /// All that were last used before then.
    pub(super) fn idle_since(&self, then_ns: u64) -> Vec<Id> {
        let mut idle = Vec::new();
        for list in self.owners.values() {
            let mut slot = list.oldest;
            while let Some(entry) = self.look(slot)
                && entry.used_ns < then_ns
            {
                idle.push(self.id(slot));
                slot = entry.newer;
            }
        }
        idle
    }

    /// Of those that are meant, the one that was idle longest.
    pub(super) fn idlest(&self, meant: impl Fn(&V) -> bool) -> Option<Id> {
        let entries =
            (0..).zip(&self.slots).filter_map(|(n, slot)| Some((n, slot.entry.as_ref()?)));
        let idlest = entries.filter(|(_, e)| meant(&e.value)).min_by_key(|(_, e)| e.used_ns);
        idlest.map(|(slot, _)| self.id(slot))
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        self.keys.values().map(|&slot| self.id(slot)).collect()
    }

    fn id(&self, slot: u32) -> Id {
        Id { slot, generation: self.slots[slot as usize].generation }
    }

    fn look(&self, slot: u32) -> Option<&Entry<K, O, V>> {
        self.slots.get(slot as usize)?.entry.as_ref()
    }

    /// Slots in lists are never empty.
    fn entry(&mut self, slot: u32) -> &mut Entry<K, O, V> {
        self.slots[slot as usize].entry.as_mut().expect("a linked slot holds a flow")
    }

    /// At the end of its owner's list.
    fn append(&mut self, slot: u32, owner: O) {
        let list = self.owners.entry(owner);
        let list = list.or_insert(List { oldest: slot, newest: NONE, length: 0 });
        let before = std::mem::replace(&mut list.newest, slot);
        list.length += 1;
        self.entry(slot).older = before;
        self.entry(slot).newer = NONE;
        if before != NONE {
            self.entry(before).newer = slot;
        }
    }

    /// Out of its owner's list. Gives the owner.
    fn unlink(&mut self, slot: u32) -> Option<O> {
        let entry = self.look(slot)?;
        let (owner, older, newer) = (entry.owner.clone(), entry.older, entry.newer);
        if older != NONE {
            self.entry(older).newer = newer;
        }
        if newer != NONE {
            self.entry(newer).older = older;
        }
        let list = self.owners.get_mut(&owner)?;
        list.oldest = if older == NONE { newer } else { list.oldest };
        list.newest = if newer == NONE { older } else { list.newest };
        list.length -= 1;
        if list.length == 0 {
            self.owners.remove(&owner);
        }
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_owner_of_most_loses_the_one_idle_longest() {
        let mut table = Table::new();
        let ids: Vec<_> = (0..4).map(|n| table.insert(n, "many", n, n)).collect();
        let lone = table.insert(10, "one", 0, 10);
        table.touch(ids[0], 5);
        assert_eq!(table.to_evict(&"one"), Some(ids[1]));
        table.remove(ids[1]);
        table.remove(ids[2]);
        // Two against one that is about to be two: the newcomer's own goes.
        assert_eq!(table.to_evict(&"one"), Some(lone));
        assert_eq!(table.to_evict(&"other"), Some(ids[3]));
    }

    #[test]
    fn a_slot_that_is_used_again_is_another_flow() {
        let mut table = Table::new();
        let first = table.insert("a", (), 0, 1);
        assert_eq!(table.remove(first), Some(1));
        let second = table.insert("b", (), 0, 2);
        assert_eq!(first.slot, second.slot);
        assert_eq!((table.get(first), table.remove(first)), (None, None));
        assert_eq!(table.get(second), Some(&mut 2));
        assert_eq!((table.find(&"a"), table.find(&"b")), (None, Some(second)));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Use(u8),
        Remove(u8),
        Evict(u8),
        Expire(u8),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => any::<u8>().prop_map(|n| Act::Use(n % 40)),
            1 => any::<u8>().prop_map(|n| Act::Remove(n % 40)),
            1 => any::<u8>().prop_map(|n| Act::Evict(n % 4)),
            1 => any::<u8>().prop_map(Act::Expire),
        ]
    }

    proptest! {
        /// Against a list that is searched from its beginning.
        #[test]
        fn it_is_a_list_in_order_of_use(acts in prop::collection::vec(act(), 1..200)) {
            let mut table = Table::new();
            let mut list: Vec<(u8, u64)> = vec![];
            for (now, act) in (1u64..).zip(acts) {
                match act {
                    Act::Use(key) => {
                        list.retain(|(k, _)| *k != key);
                        list.push((key, now));
                        match table.find(&key) {
                            Some(id) => table.touch(id, now),
                            None => drop(table.insert(key, key % 4, now, key)),
                        }
                    }
                    Act::Remove(key) => {
                        list.retain(|(k, _)| *k != key);
                        table.find(&key).map(|id| table.remove(id));
                    }
                    Act::Evict(owner) => {
                        let of = |o: u8| list.iter().filter(|(k, _)| k % 4 == o).count();
                        let weight = |o: u8| (of(o) + usize::from(o == owner), o == owner);
                        let most = (0..4).filter(|o| of(*o) > 0).map(weight).max();
                        let evicted = table.to_evict(&owner).and_then(|id| table.remove(id));
                        prop_assert_eq!(evicted.map(|key| weight(key % 4)), most);
                        if let Some(key) = evicted {
                            let oldest = list.iter().find(|(k, _)| k % 4 == key % 4);
                            prop_assert_eq!(oldest.map(|(k, _)| *k), Some(key));
                            list.retain(|(k, _)| *k != key);
                        }
                    }
                    Act::Expire(ago) => {
                        let then = now.saturating_sub(ago.into());
                        let mut idle = table.idle_since(then);
                        let mut gone: Vec<_> =
                            idle.drain(..).filter_map(|id| table.remove(id)).collect();
                        gone.sort_unstable();
                        let mut expected: Vec<_> =
                            list.iter().filter(|(_, used)| *used < then).map(|(k, _)| *k).collect();
                        expected.sort_unstable();
                        prop_assert_eq!(gone, expected);
                        list.retain(|(_, used)| *used >= then);
                    }
                }
                prop_assert_eq!(table.len(), list.len());
                prop_assert_eq!(table.ids().len(), list.len());
            }
        }
    }
}
