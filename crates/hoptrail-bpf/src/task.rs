//! Who connects: the current task, read from the kernel's own structures at the offsets that user
//! space took from the kernel's type information.

use crate::maps;
use crate::policy::repeat;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_pid_tgid,
    bpf_get_current_task, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns, bpf_probe_read_kernel,
};
use core::ffi::c_void;
use hoptrail_core::decide::Process;
use hoptrail_core::records::Exe;
use hoptrail_core::shared::{ExeKey, ExePath, Offsets, PATH_END};

/// Filled in by the loader before the programs are verified.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets {
    task_group_leader: 0,
    task_mm: 0,
    task_start_boottime: 0,
    task_comm: 0,
    mm_exe_file: 0,
    file_inode: 0,
    file_path: 0,
    inode_ino: 0,
    inode_sb: 0,
    super_block_dev: 0,
    path_mnt: 0,
    path_dentry: 0,
    dentry_parent: 0,
    dentry_name: 0,
    qstr_len: 0,
    qstr_name: 0,
    vfsmount_root: 0,
    mount_mnt: 0,
    mount_parent: 0,
    mount_mountpoint: 0,
};

/// First and last local port for connected UDP sockets; the loader sets the host's range.
#[unsafe(no_mangle)]
static PORT_RANGE: [u32; 2] = [32_768, 60_999];

macro_rules! offset {
    ($field:ident) => {
        // Volatile, or the compiler would take the zeroes above for the truth.
        unsafe { (&raw const OFFSETS.$field).read_volatile() }
    };
}

#[inline(always)]
pub fn port_range() -> (u32, u32) {
    unsafe {
        ((&raw const PORT_RANGE[0]).read_volatile(), (&raw const PORT_RANGE[1]).read_volatile())
    }
}

/// Reads 64 bits at `offset` of the kernel structure at `base`; zero when they cannot be read. Not
/// inlined, so that its place on the stack is not added to the caller's for every field.
#[inline(never)]
fn read(base: u64, offset: u32) -> u64 {
    let mut value = 0u64;
    let from = (base + offset as u64) as *const c_void;
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 8, from) };
    value
}

/// As [`read`], 32 bits.
#[inline(always)]
fn read32(base: u64, offset: u32) -> u32 {
    read(base, offset) as u32
}

#[inline(always)]
pub fn now() -> u64 {
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Process and thread id in one number, for keys.
#[inline(always)]
pub fn thread() -> u64 {
    unsafe { bpf_get_current_pid_tgid() }
}

#[inline(always)]
pub fn pid() -> u32 {
    (thread() >> 32) as u32
}

#[inline(always)]
pub fn uid() -> u32 {
    unsafe { bpf_get_current_uid_gid() as u32 }
}

#[inline(always)]
pub fn gid() -> u32 {
    unsafe { (bpf_get_current_uid_gid() >> 32) as u32 }
}

#[inline(always)]
pub fn cgroup() -> u64 {
    unsafe { bpf_get_current_cgroup_id() }
}

/// Start of the process, nanoseconds since boot.
#[inline(always)]
pub fn start_ns() -> u64 {
    read(leader(), offset!(task_start_boottime))
}

/// Name of the main thread, not of the one that happens to connect.
#[inline(always)]
pub fn name(into: *mut [u8; 16]) {
    let from = (leader() + offset!(task_comm) as u64) as *const c_void;
    unsafe { bpf_probe_read_kernel(into.cast(), 16, from) };
}

#[inline(always)]
fn leader() -> u64 {
    read(unsafe { bpf_get_current_task() }, offset!(task_group_leader))
}

#[inline(always)]
fn exe_file() -> u64 {
    let mm: u64 = read(unsafe { bpf_get_current_task() }, offset!(task_mm));
    if mm == 0 {
        return 0;
    }
    read(mm, offset!(mm_exe_file))
}

/// Device and inode of the executable; zeroes for a kernel thread.
#[inline(always)]
pub fn exe() -> Exe {
    let file = exe_file();
    if file == 0 {
        return Exe { dev: 0, ino: 0 };
    }
    let inode: u64 = read(file, offset!(file_inode));
    let sb: u64 = read(inode, offset!(inode_sb));
    Exe { dev: read32(sb, offset!(super_block_dev)), ino: read(inode, offset!(inode_ino)) }
}

/// The current task as the decision asks for it.
pub struct Current;

impl Process for Current {
    #[inline(always)]
    fn exe(&self) -> Exe {
        exe()
    }

    #[inline(always)]
    fn uid(&self) -> u32 {
        uid()
    }

    #[inline(always)]
    fn cgroup_at(&self, level: u32) -> u64 {
        unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) }
    }
}

/// Components of a path that are walked at most.
const MAX_COMPONENTS: u32 = 64;

/// Puts the path of the current executable into the table of paths, once per file. User space could
/// only look in /proc, where a short-lived process is gone before anybody reads.
#[inline(always)]
pub fn remember_path(dev: u64, ino: u64) {
    let key = ExeKey { ino, dev };
    let table = maps::paths();
    let template = maps::template();
    if ino == 0 || template.is_null() {
        return;
    }
    let dentry = read(exe_file() + offset!(file_path) as u64, offset!(path_dentry));
    // The first eight bytes of a qstr are the name's hash and length.
    let stamp = dentry.rotate_left(32) ^ read(dentry, offset!(dentry_name));
    let mut path = table.get(&key);
    if path.is_null() {
        table.put_new(&key, unsafe { &raw const (*template).path });
        path = table.get(&key);
    }
    if path.is_null() || unsafe { (*path).stamp } == stamp {
        return;
    }
    unsafe {
        (*path).start = 0;
        (*path).stamp = stamp;
    }
    walk(path);
}

/// Writes the path from its end to its beginning: from the file's dentry up to the root.
#[inline(always)]
fn walk(path: *mut ExePath) {
    let file_path = exe_file() + offset!(file_path) as u64;
    let mut dentry: u64 = read(file_path, offset!(path_dentry));
    let mut vfsmount: u64 = read(file_path, offset!(path_mnt));
    let mut start = PATH_END as u64;
    repeat(MAX_COMPONENTS, || {
        let root: u64 = read(vfsmount, offset!(vfsmount_root));
        if dentry == root {
            // The top of this mount: go on at the place where it is mounted.
            let mount = vfsmount - offset!(mount_mnt) as u64;
            let parent: u64 = read(mount, offset!(mount_parent));
            if parent == mount || parent == 0 {
                return false;
            }
            dentry = read(mount, offset!(mount_mountpoint));
            vfsmount = parent + offset!(mount_mnt) as u64;
            return true;
        }
        let parent: u64 = read(dentry, offset!(dentry_parent));
        if parent == dentry || parent == 0 {
            return false;
        }
        let qstr = dentry + offset!(dentry_name) as u64;
        let length = read32(qstr, offset!(qstr_len));
        let name: u64 = read(qstr, offset!(qstr_name));
        // One byte more for the slash; a path too long keeps its end.
        if length == 0 || length as u64 + 1 >= start {
            return false;
        }
        start -= length as u64 + 1;
        let at = start as usize & 0xff;
        let length = length & 0xff;
        unsafe {
            let into = (&raw mut (*path).bytes).cast::<u8>().add(at);
            into.write(b'/');
            bpf_probe_read_kernel(into.add(1).cast(), length, name as *const c_void);
        }
        dentry = parent;
        true
    });
    unsafe { (*path).start = start };
}
