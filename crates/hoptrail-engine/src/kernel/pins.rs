//! Attaching and pinning: what lets the kernel side outlive the daemon, and a new daemon adopt it.
//!
//! Layout below the pin directory: `v1/MAP` for the maps and `v1/links/CGROUP-ID/PROGRAM` for the
//! links, where 1 is the layout version of what the maps hold.

use super::load::{Loaded, chain};
use super::{hooks::HOOKS, sys};
use crate::engine::EngineError;
use hoptrail_core::shared::LAYOUT_VERSION;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the daemon pins.
pub const DEFAULT_PINS: &str = "/sys/fs/bpf/hoptrail";
const BPFFS: &str = "/sys/fs/bpf";
/// `f_type` of the BPF file system (linux/magic.h).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The directory of the pins of this layout version.
pub(super) fn version_dir(pins: &Path) -> PathBuf {
    pins.join(format!("v{LAYOUT_VERSION}"))
}

/// A pin directory.
pub(super) struct Pins {
    dir: PathBuf,
}

impl Pins {
    pub(super) fn open(pins: &Path) -> Result<Self, EngineError> {
        if pins.starts_with(BPFFS) {
            mount_bpffs()?;
        }
        let dir = version_dir(pins);
        fs::create_dir_all(dir.join("links")).map_err(|e| {
            EngineError::os(
                format!(
                    "cannot make the pin directory {}; it must be on a BPF file system (mount -t bpf bpf {BPFFS})",
                    dir.display()
                ),
                e,
            )
        })?;
        Ok(Self { dir })
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn links(&self, cgroup: u64) -> PathBuf {
        self.dir.join("links").join(cgroup.to_string())
    }

    /// Removes the links of all cgroups but those of `attachments`.
    pub(super) fn remove_links_but(&self, attachments: &[Attachment]) -> Result<(), EngineError> {
        let links = self.dir.join("links");
        for entry in read_dir(&links)? {
            let ours = attachments.iter().any(|a| self.links(a.cgroup) == entry);
            if !ours {
                remove_tree(&entry, &mut Vec::new())?;
            }
        }
        Ok(())
    }
}

/// All programs on one cgroup. Without pins, dropping it detaches them.
pub(super) struct Attachment {
    path: PathBuf,
    cgroup: u64,
    #[expect(dead_code, reason = "held for its drop, which detaches")]
    links: Vec<OwnedFd>,
}

impl Attachment {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is(&self, path: &Path, cgroup: u64) -> bool {
        self.path == path && self.cgroup == cgroup
    }

    /// Removes the pins of its links.
    pub(super) fn unpin(&self, pins: Option<&Pins>) -> Result<(), EngineError> {
        match pins.map(|pins| pins.links(self.cgroup)) {
            Some(dir) if dir.exists() => remove_tree(&dir, &mut Vec::new()),
            _ => Ok(()),
        }
    }
}

/// The id of the cgroup at `path`.
pub(super) fn cgroup_id(path: &Path) -> Result<u64, EngineError> {
    let metadata = fs::metadata(path);
    metadata
        .map(|m| m.ino())
        .map_err(|e| EngineError::os(format!("cannot open the cgroup {}", path.display()), e))
}

pub(super) fn attach(
    loaded: &Loaded,
    pins: Option<&Pins>,
    path: &Path,
) -> Result<Attachment, EngineError> {
    let at = |e| EngineError::os(format!("cannot open the cgroup {}", path.display()), e);
    let cgroup = File::open(path).map_err(at)?;
    let id = cgroup.metadata().map_err(at)?.ino();
    let dir = pins.map(|p| p.links(id));
    if let Some(dir) = &dir {
        fs::create_dir_all(dir)
            .map_err(|e| EngineError::os(format!("cannot make {}", dir.display()), e))?;
    }
    let mut links = Vec::new();
    for (name, attach_type) in HOOKS {
        let program = loaded
            .ebpf
            .program(name)
            .ok_or_else(|| EngineError::new(format!("the BPF object has no program {name}")))?;
        let program = program.fd().map_err(|e| EngineError::new(chain(&e)))?.as_fd();
        let pin = dir.as_ref().map(|dir| dir.join(name));
        if let Some(pin) = pin.as_ref().filter(|pin| pin.exists()) {
            // A daemon was here before: its link gets our program, in one step.
            sys::open_pin(pin)
                .and_then(|link| sys::link_update(link.as_fd(), program))
                .map_err(|e| EngineError::os(format!("cannot adopt {}", pin.display()), e))?;
            continue;
        }
        let link = sys::link_create(program, cgroup.as_fd(), *attach_type)
            .map_err(|e| refused(name, path, e))?;
        match pin {
            Some(pin) => sys::pin(link.as_fd(), &pin)
                .map_err(|e| EngineError::os(format!("cannot pin {}", pin.display()), e))?,
            None => links.push(link),
        }
    }
    Ok(Attachment { path: path.to_owned(), cgroup: id, links })
}

fn refused(name: &str, path: &Path, error: io::Error) -> EngineError {
    EngineError::os(
        format!(
            "cannot attach {name} to the cgroup {}; another program may be attached there exclusively (hoptrail doctor lists them)",
            path.display()
        ),
        error,
    )
}

/// Mounts the BPF file system at its usual place unless it is there.
///
/// # Errors
/// When it cannot be mounted.
pub fn mount_bpffs() -> Result<(), EngineError> {
    if is_bpffs(Path::new(BPFFS)) {
        return Ok(());
    }
    mount().map_err(|e| {
        EngineError::os(format!("cannot mount the BPF file system (mount -t bpf bpf {BPFFS})"), e)
    })
}

#[expect(unsafe_code, reason = "mount(2)")]
fn mount() -> io::Result<()> {
    // SAFETY: the three strings are NUL terminated and static; the data pointer may be null.
    let result = unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            c"/sys/fs/bpf".as_ptr(),
            c"bpf".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            std::ptr::null(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|s| s.filesystem_type().0 == BPF_FS_MAGIC)
}

/// Removes what Hoptrail has pinned below `pins`, which detaches what was attached, and gives what was
/// removed.
///
/// # Errors
/// When something is there that cannot be removed, or `pins` is no BPF file system.
pub fn cleanup(pins: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut removed = Vec::new();
    if !pins.exists() {
        return Ok(removed);
    }
    if !is_bpffs(pins) {
        return Err(EngineError::new(format!(
            "{} is not on a BPF file system; nothing was removed",
            pins.display()
        )));
    }
    for entry in read_dir(pins)? {
        if is_version_dir(&entry) {
            remove_tree(&entry, &mut removed)?;
        }
    }
    // The directory itself only when nobody else has put anything there, and never a mount point.
    if fs::remove_dir(pins).is_ok() {
        removed.push(pins.to_owned());
    }
    Ok(removed)
}

/// Whether this is a directory of ours: `v` and a layout version, with links in it.
fn is_version_dir(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let numbered = name.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok());
    numbered && path.join("links").is_dir()
}

fn read_dir(dir: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let at = |e| EngineError::os(format!("cannot read {}", dir.display()), e);
    fs::read_dir(dir).map_err(at)?.map(|e| e.map(|e| e.path()).map_err(at)).collect()
}

fn remove_tree(path: &Path, removed: &mut Vec<PathBuf>) -> Result<(), EngineError> {
    let at = |e| EngineError::os(format!("cannot remove {}", path.display()), e);
    if path.is_dir() {
        for entry in read_dir(path)? {
            remove_tree(&entry, removed)?;
        }
        fs::remove_dir(path).map_err(at)?;
    } else {
        fs::remove_file(path).map_err(at)?;
    }
    removed.push(path.to_owned());
    Ok(())
}
