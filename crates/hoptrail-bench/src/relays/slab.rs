//! The kernel's small objects, of which sockets are made.

use crate::Result;
use hoptrail_engine::EngineError;
use std::fs;

/// What has nothing to do with connections that are held, and changes by itself: the caches of file
/// systems, and connections that wait in TIME_WAIT.
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

/// Bytes of objects in use, machine-wide.
pub(crate) fn in_use() -> Result<u64> {
    let text = fs::read_to_string("/proc/slabinfo")
        .map_err(|e| EngineError::os("cannot read /proc/slabinfo", e))?;
    Ok(sum(&text))
}

/// `name <active_objs> <num_objs> <objsize> ...`, after two lines of head.
fn sum(text: &str) -> u64 {
    let bytes = text.lines().skip(2).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?;
        let active = fields.next()?.parse::<u64>().ok()?;
        let size = fields.nth(1)?.parse::<u64>().ok()?;
        let other = OTHERS.iter().any(|other| name.starts_with(other));
        (!other).then_some(active * size)
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_count_and_file_systems_do_not() {
        let text = "slabinfo - version: 2.1\n# name\nTCP 10 20 2432 13 8 : tunables\n\
                    ext4_inode_cache 1000 1000 1128 29 8 :\nfilp 2 64 192 21 1 :\n";
        assert_eq!(sum(text), 10 * 2432 + 2 * 192);
    }
}
