//! From a resolved policy to its image: every condition value is put into a class, every class gets
//! the set of filters that hold for it.

use crate::addr::{Endpoint, Ip};
use crate::image::{
    Action, ENTRY_WORDS, IMAGE_WORDS, MAGIC, MAX_CGROUP_LEVEL, MAX_FILTERS, MAX_PROVIDERS, PROBES,
    PROVIDER_WORDS, TAKEN, at, flag, provider_flag, slot,
};
use crate::records::Exe;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::RangeInclusive;

/// A policy whose names (executables, users, cgroups) are resolved to what the kernel knows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// In any order; the image asks them by falling rank.
    pub providers: Vec<Provider>,
}

/// One redirecting party.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its name, unique in the policy.
    pub name: String,
    /// Its stable identity.
    pub guid: [u8; 16],
    /// Higher is asked first; unique in the policy.
    pub rank: i64,
    /// Where its proxy listens for IPv4 destinations.
    pub listen_v4: Option<Endpoint>,
    /// Where its proxy listens for IPv6 destinations.
    pub listen_v6: Option<Endpoint>,
    /// Whether connections pass when its listener is gone (otherwise they are refused).
    pub bypass: bool,
    /// Number of its context bytes in the kernel; 0 for none.
    pub context: u32,
    /// Who may act as its proxy.
    pub members: Members,
    /// In the order of the configuration; the first match decides.
    pub filters: Vec<Filter>,
}

impl Provider {
    /// The redirect handle: the first half of the GUID.
    #[must_use]
    pub fn handle(&self) -> u64 {
        handle_of(self.guid)
    }
}

/// The redirect handle of a GUID: its first eight bytes as they stand in memory.
#[must_use]
pub fn handle_of(guid: [u8; 16]) -> u64 {
    let mut half = [0; 8];
    half.copy_from_slice(&guid[..8]);
    u64::from_ne_bytes(half)
}

/// Who may act as a provider's proxy: a process in any of these.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Cgroup subtrees.
    pub cgroups: Vec<Cgroup>,
    /// Executables.
    pub exes: Vec<Exe>,
    /// Users.
    pub users: Vec<u32>,
}

/// A cgroup by the ids of the cgroups from the root (level 0) down to itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cgroup {
    /// Root first; never empty.
    pub path: Vec<u64>,
}

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Any address in it.
    pub ip: Ip,
    /// Leading bits: 0 to 32 for an IPv4 `ip`, 0 to 128 otherwise.
    pub bits: u8,
}

/// One filter. A condition that is `None` or empty holds always; one that is `Some` of nothing holds
/// never (what it names does not exist at present).
#[derive(Clone, Debug)]
pub struct Filter {
    /// What it does.
    pub action: Action,
    /// TCP connections.
    pub tcp: bool,
    /// UDP flows.
    pub udp: bool,
    /// Destination in any of these; none means everywhere.
    pub remote: Vec<Prefix>,
    /// And in none of these.
    pub remote_not: Vec<Prefix>,
    /// Destination port in any of these; none means all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Executable of the connecting process.
    pub exes: Option<Vec<Exe>>,
    /// User of the connecting process.
    pub users: Option<Vec<u32>>,
    /// Cgroup subtree of the connecting process.
    pub cgroups: Option<Vec<Cgroup>>,
    /// Executable of the process that first made the connection.
    pub original_exes: Option<Vec<Exe>>,
    /// User of the process that first made the connection.
    pub original_users: Option<Vec<u32>>,
    /// Also loopback destinations.
    pub loopback: bool,
}

impl Filter {
    /// Holds for everything but loopback destinations.
    #[must_use]
    pub const fn all(action: Action) -> Self {
        Self {
            action,
            tcp: true,
            udp: true,
            remote: Vec::new(),
            remote_not: Vec::new(),
            ports: Vec::new(),
            exes: None,
            users: None,
            cgroups: None,
            original_exes: None,
            original_users: None,
            loopback: false,
        }
    }
}

/// Why a policy has no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// More than [`MAX_PROVIDERS`].
    TooManyProviders(usize),
    /// More than [`MAX_FILTERS`].
    TooManyFilters(usize),
    /// Two providers have one rank.
    EqualRanks(String, String, i64),
    /// Two providers have one GUID, or GUIDs with the same first half.
    EqualHandles(String, String),
    /// A condition or membership of this provider names a cgroup below [`MAX_CGROUP_LEVEL`].
    CgroupTooDeep(String, usize),
    /// The image would be longer than the kernel's map value.
    TooLarge {
        /// Words that it would need.
        words: usize,
    },
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyProviders(n) => {
                write!(f, "{n} providers; at most {MAX_PROVIDERS} are possible")
            }
            Self::TooManyFilters(n) => {
                write!(f, "{n} filters in all; at most {MAX_FILTERS} are possible")
            }
            Self::EqualRanks(a, b, rank) => write!(
                f,
                "providers {a} and {b} both have rank {rank}; give each its own, the higher is asked first"
            ),
            Self::EqualHandles(a, b) => {
                write!(f, "providers {a} and {b} have the same guid; give each its own")
            }
            Self::CgroupTooDeep(provider, level) => write!(
                f,
                "provider {provider} names a cgroup {level} levels deep; at most {MAX_CGROUP_LEVEL} are possible, name one above it"
            ),
            Self::TooLarge { words } => write!(
                f,
                "the compiled policy needs {} KiB and {} KiB are there; use fewer distinct prefixes, or wider ones",
                words / 128,
                IMAGE_WORDS / 128
            ),
        }
    }
}

impl core::error::Error for CompileError {}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The image's words, header first.
    pub words: Vec<u64>,
    /// The providers in the order of asking: a verdict's provider is an index into this.
    pub providers: Vec<Provider>,
    /// Distinct sets of filters in the image.
    pub sets: usize,
}

impl Compiled {
    /// Provider and filter number within it, of a filter number in the policy.
    #[must_use]
    pub fn filter(&self, number: u16) -> Option<(&Provider, usize)> {
        let mut left = usize::from(number);
        for provider in &self.providers {
            if left < provider.filters.len() {
                return Some((provider, left));
            }
            left -= provider.filters.len();
        }
        None
    }
}

/// Compiles `policy` as generation `generation`.
///
/// # Errors
/// [`CompileError`] when the policy is contradictory or too large.
pub fn compile(policy: &Policy, generation: u64) -> Result<Compiled, CompileError> {
    let mut providers = policy.providers.clone();
    providers.sort_by_key(|p| core::cmp::Reverse(p.rank));
    check(&providers)?;
    let filters: Vec<(usize, &Filter)> = providers
        .iter()
        .enumerate()
        .flat_map(|(i, p)| p.filters.iter().map(move |f| (i, f)))
        .collect();
    if filters.len() > MAX_FILTERS {
        return Err(CompileError::TooManyFilters(filters.len()));
    }
    let mut writer = Writer::new();
    writer.put(at::MAGIC, MAGIC);
    writer.put(at::GENERATION, generation);
    writer.put(at::COUNTS, providers.len() as u64 | (filters.len() as u64) << 32);
    let only: Vec<&Filter> = filters.iter().map(|(_, f)| *f).collect();
    write_kinds(&mut writer, &only);
    write_remotes(&mut writer, &only);
    write_ports(&mut writer, &only);
    write_processes(&mut writer, &providers, &only);
    write_providers(&mut writer, &providers);
    let at = writer.words.len();
    writer.put(at::FILTERS, at as u64);
    for (provider, filter) in &filters {
        writer.words.push(filter.action as u64 | (*provider as u64) << 8);
    }
    let words = writer.words.len();
    writer.put(at::LENGTH, words as u64);
    if words > IMAGE_WORDS {
        return Err(CompileError::TooLarge { words });
    }
    Ok(Compiled { words: writer.words, providers, sets: writer.sets.len() })
}

fn check(providers: &[Provider]) -> Result<(), CompileError> {
    if providers.len() > MAX_PROVIDERS {
        return Err(CompileError::TooManyProviders(providers.len()));
    }
    for pair in providers.windows(2) {
        if pair[0].rank == pair[1].rank {
            let names = (pair[0].name.clone(), pair[1].name.clone());
            return Err(CompileError::EqualRanks(names.0, names.1, pair[0].rank));
        }
    }
    for (i, a) in providers.iter().enumerate() {
        if let Some(b) = providers[..i].iter().find(|b| b.handle() == a.handle()) {
            return Err(CompileError::EqualHandles(b.name.clone(), a.name.clone()));
        }
    }
    providers.iter().try_for_each(check_cgroups)
}

fn check_cgroups(provider: &Provider) -> Result<(), CompileError> {
    let conditions = provider.filters.iter().filter_map(|f| f.cgroups.as_deref()).flatten();
    let deepest = conditions.chain(&provider.members.cgroups).map(|c| c.path.len()).max();
    match deepest.unwrap_or(0).saturating_sub(1) {
        level if level > MAX_CGROUP_LEVEL as usize => {
            Err(CompileError::CgroupTooDeep(provider.name.clone(), level))
        }
        _ => Ok(()),
    }
}

/// A set of filters while it is being made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Set([u64; 64]);

impl Set {
    fn of(filters: &[&Filter], mut holds: impl FnMut(&Filter) -> bool) -> Self {
        let mut set = Self([0; 64]);
        for (i, filter) in filters.iter().enumerate() {
            if holds(filter) {
                set.insert(i);
            }
        }
        set
    }

    fn insert(&mut self, i: usize) {
        self.0[i / 64] |= 1 << (i % 64);
    }

    fn with(mut self, others: &[usize]) -> Self {
        others.iter().for_each(|&i| self.insert(i));
        self
    }
}

struct Writer {
    words: Vec<u64>,
    sets: BTreeMap<Set, u32>,
}

impl Writer {
    fn new() -> Self {
        let mut words = vec![0; at::HEADER_WORDS as usize];
        // The empty set's summary is a word of the header that stays zero.
        words[at::EMPTY as usize] = 0;
        let sets = BTreeMap::from([(Set([0; 64]), at::EMPTY)]);
        Self { words, sets }
    }

    fn put(&mut self, at: u32, word: u64) {
        self.words[at as usize] = word;
    }

    fn set(&mut self, set: Set) -> u32 {
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
    fn table(&mut self, header: u32, entries: &BTreeMap<[u64; 2], [u64; 2]>) {
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

fn write_kinds(writer: &mut Writer, filters: &[&Filter]) {
    for (i, (udp, loopback)) in
        [(false, false), (true, false), (false, true), (true, true)].into_iter().enumerate()
    {
        let set =
            Set::of(filters, |f| (if udp { f.udp } else { f.tcp }) && (f.loopback || !loopback));
        let at = writer.set(set);
        writer.put(at::KIND_SETS + i as u32, at.into());
    }
}

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

fn write_remotes(writer: &mut Writer, filters: &[&Filter]) {
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

fn write_ports(writer: &mut Writer, filters: &[&Filter]) {
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

/// A process property: who has which value, and what filters and memberships that gives.
fn write_processes(writer: &mut Writer, providers: &[Provider], filters: &[&Filter]) {
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

fn write_providers(writer: &mut Writer, providers: &[Provider]) {
    let handles =
        providers.iter().enumerate().map(|(i, p)| ([p.handle(), 0], [0, i as u64])).collect();
    writer.table(at::HANDLES, &handles);
    let base = writer.words.len() as u64;
    writer.put(at::PROVIDERS, base);
    let mut first = 0u64;
    for provider in providers {
        let end = first + provider.filters.len() as u64;
        let mut flags = 0;
        let mut listeners = [[0u64; 2]; 2];
        for (i, (listen, has)) in
            [(provider.listen_v4, provider_flag::V4), (provider.listen_v6, provider_flag::V6)]
                .into_iter()
                .enumerate()
        {
            if let Some(listen) = listen {
                flags |= has | u64::from(listen.port) << (16 * (i + 1));
                let w = listen.ip.words().map(u64::from);
                listeners[i] = [w[0] | w[1] << 32, w[2] | w[3] << 32];
            }
        }
        if provider.bypass {
            flags |= provider_flag::BYPASS;
        }
        let guid = provider.guid;
        let before = writer.words.len();
        writer.words.extend([
            provider.handle(),
            first | end << 16 | u64::from(provider.context) << 32,
            flags,
            listeners[0][0],
            listeners[0][1],
            listeners[1][0],
            listeners[1][1],
            handle_of(guid),
            u64::from_ne_bytes(guid[8..].try_into().unwrap_or_default()),
        ]);
        writer.words.resize(before + PROVIDER_WORDS as usize, 0);
        first = end;
    }
}
