//! Addresses and ports: the number line is cut wherever some filter's condition begins or ends.

use super::writer::{Set, Writer};
use super::{Filter, Prefix};
use crate::image::at;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// First and last address of a prefix, as numbers; `None` when it is of the other family.
fn range(prefix: &Prefix, v4: bool) -> Option<(u128, u128)> {
    if prefix.ip.is_v4() != v4 {
        return None;
    }
    let width = if v4 { 32 } else { 128 };
    let value = if v4 {
        u128::from(prefix.ip.v4_number())
    } else {
        u128::from(prefix.ip.high()) << 64 | u128::from(prefix.ip.low())
    };
    let host_bits = u32::from(width - prefix.bits.min(width));
    let mask = if host_bits == 128 { u128::MAX } else { (1u128 << host_bits) - 1 };
    Some((value & !mask, value | mask))
}

pub(super) fn write_remotes(writer: &mut Writer, filters: &[&Filter]) {
    for v4 in [true, false] {
        let end = if v4 { u128::from(u32::MAX) } else { u128::MAX };
        let sweep = sweep(filters, end, |f| {
            let yes = if f.remote.is_empty() {
                // Everything of both families, also when there are only exclusions.
                vec![(0, end)]
            } else {
                f.remote.iter().filter_map(|p| range(p, v4)).collect()
            };
            (yes, f.remote_not.iter().filter_map(|p| range(p, v4)).collect())
        });
        let sets: Vec<(u128, u32)> =
            sweep.into_iter().map(|(start, set)| (start, writer.set(set))).collect();
        let base = writer.words.len() as u64;
        for (start, set) in &sets {
            if v4 {
                writer.words.push((*start as u64) << 32 | u64::from(*set));
            } else {
                writer.words.extend([(start >> 64) as u64, *start as u64, u64::from(*set)]);
            }
        }
        writer.put(if v4 { at::V4 } else { at::V6 }, base | (sets.len() as u64) << 32);
    }
}

pub(super) fn write_ports(writer: &mut Writer, filters: &[&Filter]) {
    let end = u128::from(u16::MAX);
    let sweep = sweep(filters, end, |f| {
        let yes = if f.ports.is_empty() {
            vec![(0, end)]
        } else {
            f.ports.iter().map(|r| ((*r.start()).into(), (*r.end()).into())).collect()
        };
        (yes, Vec::new())
    });
    let sets: Vec<(u128, u32)> =
        sweep.into_iter().map(|(start, set)| (start, writer.set(set))).collect();
    let base = writer.words.len() as u64;
    writer.words.extend(sets.iter().map(|(start, set)| (*start as u64) << 32 | u64::from(*set)));
    writer.put(at::PORTS, base | (sets.len() as u64) << 32);
}

type Ranges = Vec<(u128, u128)>;

/// Cuts the numbers from 0 to `end` wherever some filter's condition begins or ends, and gives each piece's start
/// with the filters that hold in it. Every filter is in a piece when one of its ranges covers it and
/// none of its exclusions does.
fn sweep(
    filters: &[&Filter],
    end: u128,
    ranges: impl Fn(&Filter) -> (Ranges, Ranges),
) -> Vec<(u128, Set)> {
    // At a position: how much the number of covering ranges and exclusions of a filter changes.
    let mut changes: BTreeMap<u128, Vec<(usize, i32, i32)>> = BTreeMap::from([(0, Vec::new())]);
    for (i, filter) in filters.iter().enumerate() {
        let (yes, no) = ranges(filter);
        for (list, step) in [(yes, (1, 0)), (no, (0, 1))] {
            for (first, last) in list {
                changes.entry(first).or_default().push((i, step.0, step.1));
                // Nothing begins after the end: its start would not fit into the image.
                if last < end {
                    changes.entry(last + 1).or_default().push((i, -step.0, -step.1));
                }
            }
        }
    }
    let mut covering = vec![(0i32, 0i32); filters.len()];
    let mut set = Set([0; 64]);
    let mut pieces: Vec<(u128, Set)> = Vec::with_capacity(changes.len());
    for (start, list) in changes {
        for (i, yes, no) in list {
            covering[i].0 += yes;
            covering[i].1 += no;
            let bit = 1u64 << (i % 64);
            if covering[i].0 > 0 && covering[i].1 == 0 {
                set.0[i / 64] |= bit;
            } else {
                set.0[i / 64] &= !bit;
            }
        }
        if pieces.last().is_none_or(|(_, last)| *last != set) {
            pieces.push((start, set.clone()));
        }
    }
    pieces
}
