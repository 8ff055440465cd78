//! Executables, users and cgroups: who has which value, and what filters and memberships that gives.

use super::writer::{Set, Writer};
use super::{Cgroup, Filter, Members, Provider};
use crate::image::{at, flag};
use crate::records::Exe;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A process property: who has which value, and what filters and memberships that gives.
pub(super) fn write_processes(writer: &mut Writer, providers: &[Provider], filters: &[&Filter]) {
    let mut flags = 0;
    flags |= write_property(
        writer,
        at::EXE,
        flag::NEEDS_EXE,
        filters,
        &values(filters, |f| f.exes.as_deref()),
        &values(filters, |f| f.original_exes.as_deref()),
        &memberships(providers, |m| &m.exes),
        (|f| f.exes.is_none(), |f| f.original_exes.is_none()),
        |exe: &Exe| [exe.ino, u64::from(exe.dev)],
    );
    flags |= write_property(
        writer,
        at::USER,
        flag::NEEDS_USER,
        filters,
        &values(filters, |f| f.users.as_deref()),
        &values(filters, |f| f.original_users.as_deref()),
        &memberships(providers, |m| &m.users),
        (|f| f.users.is_none(), |f| f.original_users.is_none()),
        |uid: &u32| [u64::from(*uid), 0],
    );
    flags |= write_cgroups(writer, providers, filters);
    writer.put(at::FLAGS, flags);
}

type Values<T> = BTreeMap<T, Vec<usize>>;

fn values<T: Ord + Clone>(filters: &[&Filter], of: impl Fn(&Filter) -> Option<&[T]>) -> Values<T> {
    let mut values = Values::new();
    for (i, filter) in filters.iter().enumerate() {
        for value in of(filter).unwrap_or_default() {
            values.entry(value.clone()).or_default().push(i);
        }
    }
    values
}

fn memberships<T: Ord + Clone>(
    providers: &[Provider],
    of: impl Fn(&Members) -> &Vec<T>,
) -> BTreeMap<T, u64> {
    let mut members = BTreeMap::new();
    for (i, provider) in providers.iter().enumerate() {
        for value in of(&provider.members) {
            *members.entry(value.clone()).or_default() |= 1u64 << i;
        }
    }
    members
}

type Unconditional = (fn(&Filter) -> bool, fn(&Filter) -> bool);

#[expect(clippy::too_many_arguments, reason = "one call per property, each argument its own role")]
fn write_property<T: Ord + Clone>(
    writer: &mut Writer,
    table: u32,
    needs: u64,
    filters: &[&Filter],
    own: &Values<T>,
    original: &Values<T>,
    members: &BTreeMap<T, u64>,
    unconditional: Unconditional,
    key: impl Fn(&T) -> [u64; 2],
) -> u64 {
    let own_miss = Set::of(filters, unconditional.0);
    let original_miss = Set::of(filters, unconditional.1);
    let miss = pair(writer, own_miss.clone(), original_miss.clone());
    writer.put(table + 1, miss);
    let all: BTreeSet<&T> = own.keys().chain(original.keys()).chain(members.keys()).collect();
    let empty = Vec::new();
    let entries: BTreeMap<[u64; 2], [u64; 2]> = all
        .into_iter()
        .map(|value| {
            let own = own_miss.clone().with(own.get(value).unwrap_or(&empty));
            let original = original_miss.clone().with(original.get(value).unwrap_or(&empty));
            let sets = pair(writer, own, original);
            (key(value), [sets, members.get(value).copied().unwrap_or(0)])
        })
        .collect();
    let conditional = filters.iter().any(|f| !unconditional.0(f) || !unconditional.1(f));
    writer.table(table, &entries);
    if conditional || !entries.is_empty() { needs } else { 0 }
}

fn pair(writer: &mut Writer, own: Set, original: Set) -> u64 {
    let own = u64::from(writer.set(own));
    own | u64::from(writer.set(original)) << 31
}

/// Cgroups are subtrees: a cgroup's set contains the sets of every configured cgroup above it, so
/// that the deepest match alone decides.
fn write_cgroups(writer: &mut Writer, providers: &[Provider], filters: &[&Filter]) -> u64 {
    let own = values(filters, |f| f.cgroups.as_deref());
    let members = memberships(providers, |m| &m.cgroups);
    let miss = Set::of(filters, |f| f.cgroups.is_none());
    let at = pair(writer, miss.clone(), miss.clone());
    writer.put(at::CGROUP_MISS, at);
    let all: BTreeSet<&Cgroup> = own.keys().chain(members.keys()).collect();
    let mut levels = 0u64;
    let mut entries = BTreeMap::new();
    for cgroup in &all {
        let level = cgroup.path.len().saturating_sub(1) as u32;
        levels |= 1 << level;
        let above = |other: &&&Cgroup| cgroup.path.starts_with(&other.path);
        let mut set = miss.clone();
        let mut member = 0;
        for other in all.iter().filter(above) {
            set = set.with(own.get(*other).map_or(&[], Vec::as_slice));
            member |= members.get(*other).copied().unwrap_or(0);
        }
        let sets = pair(writer, set.clone(), set);
        if let Some(&id) = cgroup.path.last() {
            entries.insert([id, 0], [sets, member]);
        }
    }
    writer.put(at::CGROUP_LEVELS, levels);
    writer.table(at::CGROUP, &entries);
    let conditional = filters.iter().any(|f| f.cgroups.is_some());
    if conditional || !entries.is_empty() { flag::NEEDS_CGROUP } else { 0 }
}
