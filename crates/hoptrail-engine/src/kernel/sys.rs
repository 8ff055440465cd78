//! bpf(2) for cgroup links: creating, pinning, opening and replacing them. The loader library keeps a
//! link's descriptor to itself, and without it a link cannot be replaced.
#![expect(unsafe_code, reason = "a system call")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;

/// The part of `union bpf_attr` that BPF_LINK_CREATE and BPF_LINK_UPDATE read.
#[repr(C)]
struct LinkAttr {
    /// Create: the program; update: the link.
    first: u32,
    /// Create: the cgroup; update: the new program.
    second: u32,
    /// Create: the attach type; update: flags.
    third: u32,
    /// Create: flags; update: the old program, only read with a flag.
    fourth: u32,
}

/// The part that BPF_OBJ_PIN and BPF_OBJ_GET read.
#[repr(C)]
struct ObjectAttr {
    path: u64,
    fd: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, attr: &T) -> io::Result<i32> {
    // SAFETY: the attribute is a live structure of the size given; the kernel only reads it, and the
    // path it may point to is held by the caller.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

/// Attaches a program to a cgroup; the link ends when its last descriptor or pin goes.
///
/// Flags are zero: links are refused with the flag for several programs, and always share the hook.
pub(super) fn link_create(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let attr = LinkAttr {
        first: program.as_raw_fd() as u32,
        second: cgroup.as_raw_fd() as u32,
        third: attach_type,
        fourth: 0,
    };
    bpf(BPF_LINK_CREATE, &attr).map(owned)
}

/// Replaces the program behind a link, atomically: every hook runs the old or the new one.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = LinkAttr {
        first: link.as_raw_fd() as u32,
        second: program.as_raw_fd() as u32,
        third: 0,
        fourth: 0,
    };
    bpf(BPF_LINK_UPDATE, &attr).map(drop)
}

/// Pins a link.
pub(super) fn pin(link: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let attr = ObjectAttr { path: path.as_ptr() as u64, fd: link.as_raw_fd() as u32, flags: 0 };
    bpf(BPF_OBJ_PIN, &attr).map(drop)
}

/// Opens what is pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let attr = ObjectAttr { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    bpf(BPF_OBJ_GET, &attr).map(owned)
}
