//! From a resolved policy to its image: every condition value is put into a class, every class gets
//! the set of filters that hold for it.

mod error;
mod intervals;
mod policy;
mod processes;
mod writer;

pub use error::CompileError;
pub use policy::{Cgroup, Filter, Members, Policy, Prefix, Provider, handle_of};

use crate::image::{
    IMAGE_WORDS, MAGIC, MAX_CGROUP_LEVEL, MAX_FILTERS, MAX_PROVIDERS, PROVIDER_WORDS, at,
    provider_flag,
};
use alloc::vec::Vec;
use writer::{Set, Writer};

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
    intervals::write_remotes(&mut writer, &only);
    intervals::write_ports(&mut writer, &only);
    processes::write_processes(&mut writer, &providers, &only);
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
