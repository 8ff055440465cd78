//! Which programs sit on the cgroup hooks that Hoptrail uses, its own and those of others. Nothing is changed.
#![expect(unsafe_code, reason = "BPF_PROG_QUERY has no safe wrapper")]

use crate::kernel::HOOKS;
use aya::maps::MapInfo;
use aya::programs::{ProgramInfo, loaded_programs};
use hoptrail_core::shared::map;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

const BPF_PROG_QUERY: libc::c_long = 16;
/// More programs than one hook of one cgroup can have (the kernel's BPF_CGROUP_MAX_PROGS is 64).
const MOST: usize = 64;

/// A program on a hook.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Attached {
    /// Its id, as bpftool shows it.
    pub id: u32,
    /// Its name; empty when it cannot be asked.
    pub name: String,
    /// The hook.
    pub hook: &'static str,
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// Whether it is a Hoptrail's.
    pub ours: bool,
}

/// `struct { ... } query` of `union bpf_attr`, as far as every kernel from 6.1 on reads it.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
    prog_attach_flags: u64,
}

/// Ids of the programs attached to exactly this cgroup at that hook.
///
/// # Errors
/// EINVAL when the kernel does not know the hook, EPERM without CAP_NET_ADMIN, ENOSYS or EPERM where
/// seccomp takes the system call away.
pub fn query(cgroup: &File, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; MOST];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_raw_fd().cast_unsigned(),
        attach_type,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST as u32,
        ..QueryAttr::default()
    };
    // SAFETY: `attr` is as long as said and outlives the call; the kernel writes at most `prog_cnt` numbers to
    // `prog_ids`, which is that long, and the count into `attr`.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attr, size_of::<QueryAttr>())
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(ids[..(attr.prog_cnt as usize).min(MOST)].to_vec())
}

/// Hooks that this kernel does not have.
///
/// # Errors
/// When the bpf system call cannot be used at all.
pub fn missing(cgroup: &Path) -> io::Result<Vec<&'static str>> {
    let dir = File::open(cgroup)?;
    let mut missing = Vec::new();
    for &(hook, attach_type) in HOOKS {
        match query(&dir, attach_type) {
            Ok(_) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => missing.push(hook),
            Err(e) => return Err(e),
        }
    }
    Ok(missing)
}

/// Every program on our hooks at any of `cgroups`.
#[must_use]
pub fn attached(cgroups: &[PathBuf]) -> Vec<Attached> {
    let known: HashMap<u32, ProgramInfo> =
        loaded_programs().flatten().map(|info| (info.id(), info)).collect();
    let our_maps = our_maps(&known);
    let mut found = Vec::new();
    for cgroup in cgroups {
        let Ok(dir) = File::open(cgroup) else { continue };
        for &(hook, attach_type) in HOOKS {
            for id in query(&dir, attach_type).unwrap_or_default() {
                let info = known.get(&id);
                let name = info.and_then(|info| info.name_as_str()).unwrap_or_default().to_owned();
                let has_ours = |info| maps_of(info).iter().any(|map| our_maps.contains(map));
                let ours = name == hook && info.is_some_and(has_ours);
                found.push(Attached { id, name, hook, cgroup: cgroup.clone(), ours });
            }
        }
    }
    found
}

/// The names of programs are too common to tell whose they are. Most of ours use a map whose name tells; the others
/// share a map with one that does.
fn our_maps(known: &HashMap<u32, ProgramInfo>) -> HashSet<u32> {
    let by_hooks = known
        .values()
        .filter(|info| HOOKS.iter().any(|(hook, _)| info.name_as_str() == Some(*hook)));
    by_hooks
        .map(maps_of)
        .filter(|maps| maps.iter().any(|map| is_our_name(*map)))
        .flatten()
        .collect()
}

fn maps_of(info: &ProgramInfo) -> Vec<u32> {
    info.map_ids().ok().flatten().unwrap_or_default()
}

fn is_our_name(map: u32) -> bool {
    MapInfo::from_id(map).is_ok_and(|info| {
        matches!(
            info.name_as_str(),
            Some(map::TUPLES | map::LINKS | map::FLOW_TRAILS | map::POLICY | map::TEMPLATE)
        )
    })
}
