//! Datagrams of flows that send faster than their turn allows: kept in short queues, so that the
//! listener's own queue, which all flows share, is always emptied quickly. A flow that floods fills
//! its queue and loses what is over it; the others lose nothing.

use super::table::Id;
use std::collections::{HashMap, VecDeque};

/// Bytes that all queues together may hold.
pub(super) const MOST_BYTES: usize = 8 << 20;
/// What a datagram takes beyond its bytes, so that empty ones count, too.
const OVERHEAD: usize = 64;

/// The queues, and whose turn it is.
#[derive(Default, Debug)]
pub(super) struct Backlog {
    queues: HashMap<Id, Queue>,
    turns: VecDeque<Id>,
    bytes: usize,
}

#[derive(Default, Debug)]
struct Queue {
    datagrams: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether datagrams of this flow wait: then later ones must queue behind them.
    pub(super) fn holds(&self, id: Id) -> bool {
        self.queues.contains_key(&id)
    }

    /// Queues a datagram. Gives how many are lost: none, or this one, or when all is full others of the
    /// flow that has most.
    pub(super) fn push(&mut self, id: Id, datagram: &[u8]) -> usize {
        let size = datagram.len() + OVERHEAD;
        let held = self.queues.get(&id).map_or(0, |queue| queue.bytes) + size;
        if held > MOST_BYTES / 2 {
            return 1;
        }
        let mut lost = 0;
        while self.bytes + size > MOST_BYTES {
            if !self.shorten_longest(held) {
                return lost + 1;
            }
            lost += 1;
        }
        let queue = self.queues.entry(id).or_insert_with(|| {
            self.turns.push_back(id);
            Queue::default()
        });
        queue.datagrams.push_back(datagram.into());
        queue.bytes += size;
        self.bytes += size;
        lost
    }

    /// Takes the newest datagram of the longest queue, if that is longer than `held` bytes.
    fn shorten_longest(&mut self, held: usize) -> bool {
        let longest = self.queues.values_mut().max_by_key(|queue| queue.bytes);
        let Some(queue) = longest.filter(|queue| queue.bytes > held) else {
            return false;
        };
        let size = queue.datagrams.pop_back().map_or(0, |datagram| datagram.len() + OVERHEAD);
        queue.bytes -= size;
        self.bytes -= size;
        true
    }

    /// The flows that have a turn in this round.
    pub(super) fn round(&self) -> usize {
        self.turns.len()
    }

    /// Up to `most` datagrams of the next flow, oldest first.
    pub(super) fn turn(&mut self, most: usize) -> Option<(Id, Vec<Box<[u8]>>)> {
        let id = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&id)?;
        let datagrams: Vec<_> = queue.datagrams.drain(..most.min(queue.datagrams.len())).collect();
        let bytes: usize = datagrams.iter().map(|datagram| datagram.len() + OVERHEAD).sum();
        queue.bytes -= bytes;
        self.bytes -= bytes;
        if queue.datagrams.is_empty() {
            self.queues.remove(&id);
        } else {
            self.turns.push_back(id);
        }
        Some((id, datagrams))
    }

    /// Drops what a flow that ends has waiting; gives the number of its datagrams.
    pub(super) fn forget(&mut self, id: Id) -> usize {
        let Some(queue) = self.queues.remove(&id) else {
            return 0;
        };
        self.turns.retain(|other| *other != id);
        self.bytes -= queue.bytes;
        queue.datagrams.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> Id {
        Id { slot, generation: 0 }
    }

    #[test]
    fn a_flood_fills_its_own_queue_alone() {
        let mut backlog = Backlog::default();
        let mut taken = 0;
        while backlog.push(id(0), &[0; 1000]) == 0 {
            taken += 1;
        }
        assert!(taken > 1000, "a burst fits: {taken}");
        for slot in 1..100 {
            let lost: usize = (0..50).map(|_| backlog.push(id(slot), &[0; 1000])).sum();
            let own = backlog.queues[&id(slot)].datagrams.len();
            assert_eq!(own, 50, "flow {slot}: what is lost ({lost}) is the flood's");
        }
        assert!(backlog.queues[&id(0)].datagrams.len() < taken);
        assert!(backlog.bytes <= MOST_BYTES);
    }

    #[test]
    fn turns_go_round_and_keep_each_flow_in_order() {
        let mut backlog = Backlog::default();
        for n in 0..10u8 {
            assert_eq!(backlog.push(id(0), &[n]), 0);
        }
        for n in 0..3u8 {
            assert_eq!(backlog.push(id(1), &[n]), 0);
        }
        let mut order = vec![];
        while let Some((id, datagrams)) = backlog.turn(4) {
            order.extend(datagrams.iter().map(|datagram| (id.slot, datagram[0])));
        }
        let of = |slot: u32, range: std::ops::Range<u8>| range.map(move |n| (slot, n));
        let expected = of(0, 0..4).chain(of(1, 0..3)).chain(of(0, 4..10));
        assert_eq!(order, expected.collect::<Vec<_>>());
        assert!(backlog.is_empty() && backlog.bytes == 0);
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_flows_and_given_back() {
        let mut backlog = Backlog::default();
        let push = |backlog: &mut Backlog, slot| backlog.push(id(slot), &[0; 3000]);
        let lost: usize = (0..8000).map(|n| push(&mut backlog, n % 4000)).sum();
        assert!(lost > 0 && backlog.bytes <= MOST_BYTES);
        let waiting: usize = (0..4000).map(|slot| backlog.forget(id(slot))).sum();
        assert_eq!(waiting + lost, 8000);
        assert!(backlog.is_empty() && backlog.bytes == 0 && backlog.round() == 0);
    }
}
