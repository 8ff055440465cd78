//! The memory of the machine, as connections use it up.

use crate::Result;
use hoptrail_engine::EngineError;
use std::fs;

/// Small objects that have nothing to do with connections that are held, and change by themselves: the caches
/// of file systems, and connections that wait in TIME_WAIT.
const OTHERS: [&str; 9] = [
    "btrfs_",
    "buffer_head",
    "ext4_",
    "extent_status",
    "proc_inode_cache",
    "radix_tree_node",
    "tw_sock_",
    "vm_area_struct",
    "xfs_",
];

/// Those that the kernel counts among what it can take back, though an open socket's inode and name it cannot.
const RECLAIMABLE: [&str; 4] = ["dentry", "kmalloc-rcl-", "lsm_inode_cache", "sock_inode_cache"];

/// Small objects in use on the whole machine, in bytes: of these are sockets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Objects {
    /// Sockets, files, what waits for their events.
    pub(crate) unreclaimable: u64,
    /// Those and their inodes and names.
    pub(crate) all: u64,
}

impl Objects {
    pub(crate) fn in_use() -> Result<Self> {
        let text = fs::read_to_string("/proc/slabinfo")
            .map_err(|e| EngineError::os("cannot read /proc/slabinfo", e))?;
        Ok(Self::sum(&text))
    }

    /// `name <active_objs> <num_objs> <objsize> ...`, after two lines of head.
    fn sum(text: &str) -> Self {
        let mut sum = Self::default();
        for line in text.lines().skip(2) {
            let mut fields = line.split_whitespace();
            let Some(name) = fields.next().filter(|name| !begins(name, &OTHERS)) else { continue };
            let mut number = |skipped| fields.nth(skipped)?.parse::<u64>().ok();
            let bytes = number(0).unwrap_or_default() * number(1).unwrap_or_default();
            sum.all += bytes;
            sum.unreclaimable += if begins(name, &RECLAIMABLE) { 0 } else { bytes };
        }
        sum
    }
}

fn begins(name: &str, with: &[&str]) -> bool {
    with.iter().any(|with| name.starts_with(with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_count_and_file_systems_do_not() {
        let text = "slabinfo - version: 2.1\n# name\nTCP 10 20 2432 13 8 : tunables\n\
                    ext4_inode_cache 1000 1000 1128 29 8 :\nsock_inode_cache 3 9 832 9 1 :\nfilp 2 64 192 21 1 :\n";
        let sockets = 10 * 2432 + 2 * 192;
        let all = sockets + 3 * 832;
        assert_eq!(Objects::sum(text), Objects { unreclaimable: sockets, all });
    }
}
