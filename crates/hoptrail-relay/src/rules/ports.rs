//! The condition on the port: ranges, cut into stretches for which the same rules hold.

use super::set::Set;
use std::ops::RangeInclusive;

#[derive(Clone, Default, Debug)]
pub(super) struct Ports {
    /// Where a stretch begins, and the rules that hold in it; empty when no rule names a port.
    stretches: Vec<(u16, Set)>,
}

impl Ports {
    /// From each rule's ranges, in order; a rule without ranges holds for all.
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a [RangeInclusive<u16>]> + Clone) -> Self {
        let ranges = rules.clone().flatten();
        let mut starts: Vec<u16> = ranges
            .flat_map(|range| [Some(*range.start()), range.end().checked_add(1)])
            .flatten()
            .collect();
        if starts.is_empty() {
            return Self::default();
        }
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();
        let mut stretches: Vec<(u16, Set)> =
            starts.into_iter().map(|start| (start, Set::NONE)).collect();
        for (rule, ranges) in (0..).zip(rules) {
            let all = [0..=u16::MAX];
            for range in if ranges.is_empty() { &all } else { ranges } {
                let from = stretches.partition_point(|(start, _)| start < range.start());
                let to = stretches.partition_point(|(start, _)| start <= range.end());
                for (_, set) in &mut stretches[from..to] {
                    set.insert(rule);
                }
            }
        }
        Self { stretches }
    }

    /// Keeps in `rules` those that hold for the port.
    pub(super) fn keep(&self, rules: &mut Set, port: u16) {
        let after = self.stretches.partition_point(|(start, _)| *start <= port);
        if let Some((_, set)) = after.checked_sub(1).and_then(|at| self.stretches.get(at)) {
            rules.keep(set);
        }
    }
}
