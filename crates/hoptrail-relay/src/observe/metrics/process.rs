//! What the kernel says of this process.

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::fs;

pub(super) fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

pub(super) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The kernel has counted them in the directory's size since 6.2; before that it is 0, and to count them one by one
/// would be slow with many.
pub(super) fn open_fds() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|dir| dir.len()).filter(|count| *count > 0)
}

pub(super) fn max_fds() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}
