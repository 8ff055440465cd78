//! What the BPF programs and the engine exchange through maps: names, values and counters, once.

use crate::addr::{Ip, Port};
use crate::records::Trail;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of everything in this module; pins of another version are not adopted.
pub const LAYOUT_VERSION: u32 = 1;

/// Map names.
pub mod map {
    #![allow(missing_docs)]
    pub const POLICY: &str = "POLICY";
    pub const LINKS: &str = "LINKS";
    pub const TUPLES: &str = "TUPLES";
    pub const FLOW_TRAILS: &str = "FLOW_TRAILS";
    pub const CONTEXTS: &str = "CONTEXTS";
    pub const PATHS: &str = "PATHS";
    pub const KEY: &str = "KEY";
    pub const COUNTERS: &str = "COUNTERS";
    pub const EVENTS: &str = "EVENTS";
    pub const TEMPLATE: &str = "TEMPLATE";
    pub const GENERATION: &str = "GENERATION";
}

/// Entries of the table of context bytes; number 0 means none.
pub const MAX_CONTEXTS: usize = 1024;

/// Context bytes of a provider. Numbers are never reused while the kernel side lives, so that a hop
/// keeps the bytes of the moment of its redirect (statement 20).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ContextBytes {
    /// Bytes in use.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
    /// The bytes.
    pub bytes: [u8; crate::context::MAX_PROVIDER_BYTES],
}

/// Key of the table of executable paths.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExeKey {
    /// Inode.
    pub ino: u64,
    /// Device.
    pub dev: u64,
}

/// Path of an executable as the kernel walked it: it ends at byte 256 and begins at `start`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ExePath {
    /// First byte of the path; 0 while it is being written.
    pub start: u64,
    /// Which name of which directory entry was walked: a file renamed, or another file with the inode
    /// number of one that is gone, is walked anew.
    pub stamp: u64,
    /// The path ends at 256; the rest is room that the verifier wants to see.
    pub bytes: [u8; 512],
}

/// Where the path ends.
pub const PATH_END: usize = crate::context::MAX_PATH_BYTES;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $index:literal;)*) => {
        /// Index of each counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $name = $index,)* }

        impl Counter {
            /// Every counter in the order of their indexes.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

counters! {
    /// Connects and flows that some filter's address conditions matched.
    Considered = 0;
    /// Redirects applied.
    Redirected = 1;
    /// Refused by a block filter.
    Blocked = 2;
    /// Refused because a listener was gone.
    ListenerGone = 3;
    /// Refused because the table of redirected connections was full.
    TableFull = 4;
    /// Refused because the trail had all its hops.
    TrailFull = 5;
    /// Accepted connections that got their records.
    Linked = 6;
    /// Redirected connections that could not be linked to what the proxy accepts.
    LinkFailed = 7;
    /// Records set.
    RecordsSet = 8;
    /// Records refused.
    RecordsRefused = 9;
    /// Trails adopted.
    Adopted = 10;
    /// Events that found no room.
    EventsLost = 11;
}

/// Number of counters.
pub const COUNTERS: usize = Counter::ALL.len();

/// What became of a leg, in [`EventRecord::kind`].
pub mod event_kind {
    /// A redirect was applied.
    pub const REDIRECTED: u8 = 1;
    /// A socket with a trail was let through.
    pub const REACHED: u8 = 2;
    /// The connect was refused.
    pub const REFUSED: u8 = 3;
}

/// One event in the ring.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EventRecord {
    /// [`event_kind`].
    pub kind: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::records::Provenance`].
    pub provenance: u8,
    /// [`crate::reason::Reason`].
    pub reason: u8,
    /// Number of the deciding filter within its provider.
    pub filter: u32,
    /// Nanoseconds since boot.
    pub time_ns: u64,
    /// Handle of the deciding provider; 0 for none.
    pub handle: u64,
    /// Policy generation.
    pub generation: u64,
    /// The connecting process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Inode of its executable.
    pub exe_ino: u64,
    /// Device of its executable.
    pub exe_dev: u32,
    /// Where it wanted to go.
    pub asked_port: Port,
    /// Where it went.
    pub to_port: Port,
    /// Where it wanted to go.
    pub asked: Ip,
    /// Where it went.
    pub to: Ip,
    /// Name of its main thread.
    pub name: [u8; 16],
    /// The trail, this leg's hop included.
    pub trail: Trail,
}

/// Hops that a short event has room for; most trails have no more.
pub const SHORT_HOPS: usize = 2;
/// Bytes of a short event: an [`EventRecord`] cut after those hops.
pub const SHORT_EVENT_BYTES: usize = size_of::<EventRecord>() - size_of::<Trail>()
    + crate::records::HEADER_BYTES
    + SHORT_HOPS * crate::records::HOP_BYTES;
/// A reader is woken at most once in this many nanoseconds; events in between wait for it to look
/// again. Waking it for each would cost the connecting process more than the whole redirect.
pub const WAKE_PAUSE_NS: u64 = 10_000_000;

/// Offsets of kernel structure fields, which user space takes from the kernel's BTF.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "each field is named after the kernel's structure and field")]
pub struct Offsets {
    pub task_group_leader: u32,
    pub task_mm: u32,
    pub task_start_boottime: u32,
    pub task_comm: u32,
    pub mm_exe_file: u32,
    pub file_inode: u32,
    pub file_path: u32,
    pub inode_ino: u32,
    pub inode_sb: u32,
    pub super_block_dev: u32,
    pub path_mnt: u32,
    pub path_dentry: u32,
    pub dentry_parent: u32,
    pub dentry_name: u32,
    pub qstr_len: u32,
    pub qstr_name: u32,
    pub vfsmount_root: u32,
    pub mount_mnt: u32,
    pub mount_parent: u32,
    pub mount_mountpoint: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_their_positions() {
        for (i, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, i);
        }
    }
}
