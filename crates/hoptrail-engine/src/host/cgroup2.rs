//! The cgroup2 tree: where it is mounted, and cgroups of our own that leave nothing behind.

use crate::EngineError;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a cgroup that was told to die may take.
const DEATH: Duration = Duration::from_secs(5);

/// Where cgroup2 is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    root: PathBuf,
}

/// A cgroup that exists; whoever holds this does not own it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupDir {
    path: PathBuf,
}

/// A cgroup made by this process: when dropped, its members are killed and its subtree removed.
#[derive(Debug)]
pub struct OwnedCgroup {
    dir: CgroupDir,
    kept: bool,
}

impl Mount {
    /// Finds the mount among this process's own.
    ///
    /// # Errors
    /// When there is none, saying how to get one.
    pub fn find() -> Result<Self, EngineError> {
        let info = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|e| EngineError::os("cannot read /proc/self/mountinfo", e))?;
        parse_mountinfo(&info).map(Self::at).ok_or_else(|| {
            EngineError::new(
                "cgroup2 is not mounted here: mount it (`mount -t cgroup2 none /sys/fs/cgroup`), or enter a network \
                 namespace with `nsenter --net` instead of `ip netns exec`, which hides it",
            )
        })
    }

    /// A tree at a known place.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory of the root cgroup.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a cgroup named either by its directory or, as in /proc/PID/cgroup, by its
    /// path within the tree.
    #[must_use]
    pub fn absolute(&self, path: &Path) -> PathBuf {
        if path.starts_with(&self.root) {
            return path.to_owned();
        }
        let inside = path.components().filter(|c| matches!(c, Component::Normal(_)));
        inside.fold(self.root.clone(), |dir, part| dir.join(part))
    }

    /// The path within the tree, beginning with `/`.
    #[must_use]
    pub fn relative(&self, dir: &Path) -> PathBuf {
        Path::new("/").join(dir.strip_prefix(&self.root).unwrap_or(dir))
    }

    /// The cgroup of a process.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of_process(&self, pid: u32) -> io::Result<CgroupDir> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        Ok(CgroupDir { path: self.absolute(Path::new(path)) })
    }

    /// Every cgroup below `dir` (and `dir` itself) for which `keep` says so.
    #[must_use]
    pub fn search(&self, keep: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.root, &mut |dir| {
            if keep(dir) {
                found.push(dir.to_owned());
            }
        });
        found
    }
}

impl CgroupDir {
    /// An existing cgroup.
    ///
    /// # Errors
    /// When there is none at `path`.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, EngineError> {
        let path = path.into();
        if path.join("cgroup.procs").exists() {
            return Ok(Self { path });
        }
        Err(EngineError::new(format!(
            "there is no cgroup at {}; name one that exists",
            path.display()
        )))
    }

    /// The cgroup at `path`, made if it is not there; parents are made too.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, EngineError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(|e| {
            EngineError::os(format!("cannot make the cgroup {}", path.display()), e)
        })?;
        Self::open(path)
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, as the kernel's helpers give it: the directory's inode.
    ///
    /// # Errors
    /// When it is gone.
    pub fn id(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    /// The ids from the root cgroup down to this one.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn ids(&self, mount: &Mount) -> io::Result<Vec<u64>> {
        let mut dirs: Vec<&Path> =
            self.path.ancestors().take_while(|dir| dir.starts_with(mount.root())).collect();
        dirs.reverse();
        dirs.into_iter().map(|dir| Ok(fs::metadata(dir)?.ino())).collect()
    }

    /// Processes directly in it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let text = fs::read_to_string(self.path.join("cgroup.procs"))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Processes in it and below.
    #[must_use]
    pub fn subtree_processes(&self) -> Vec<u32> {
        let mut all = Vec::new();
        walk(&self.path, &mut |dir| {
            all.extend(Self { path: dir.to_owned() }.processes().unwrap_or_default());
        });
        all
    }

    /// Whether a process lives in it or below.
    #[must_use]
    pub fn populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
    }

    /// The file to which a process writes `0` to move itself here; opened now, so that the right to do so
    /// is checked now.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn entrance(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))
    }

    /// Asks every process in it and below to end.
    pub fn terminate(&self) {
        signal_each(&self.subtree_processes(), Signal::SIGTERM);
    }

    /// Kills every process in it and below, and waits until they are gone.
    ///
    /// # Errors
    /// When they are not gone in five seconds.
    pub fn kill(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + DEATH;
        while self.populated() {
            let at_once = fs::write(self.path.join("cgroup.kill"), "1");
            if at_once.is_err() {
                signal_each(&self.subtree_processes(), Signal::SIGKILL);
            }
            if Instant::now() > deadline {
                return Err(EngineError::new(format!(
                    "processes {:?} in {} do not die",
                    self.subtree_processes(),
                    self.path.display()
                )));
            }
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Removes it and everything below; it must hold no process. Gone already is fine.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn remove(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + DEATH;
        loop {
            match remove_tree(&self.path) {
                Ok(()) => return Ok(()),
                // The last process's exit is seen in cgroup.events a moment before its task leaves.
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(2));
                }
                Err(e) => {
                    let what = format!("cannot remove the cgroup {}", self.path.display());
                    return Err(EngineError::os(what, e));
                }
            }
        }
    }
}

impl OwnedCgroup {
    /// A new cgroup.
    ///
    /// # Errors
    /// When it exists already or the kernel refuses it.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, EngineError> {
        let path = path.into();
        fs::create_dir(&path).map_err(|e| {
            EngineError::os(format!("cannot make the cgroup {}", path.display()), e)
        })?;
        Ok(Self { dir: CgroupDir::open(path)?, kept: false })
    }

    /// The cgroup.
    #[must_use]
    pub const fn dir(&self) -> &CgroupDir {
        &self.dir
    }

    /// A cgroup below, which goes with it.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn child(&self, name: &str) -> Result<CgroupDir, EngineError> {
        CgroupDir::create(self.dir.path.join(name))
    }

    /// Kills its members and removes it, now.
    ///
    /// # Errors
    /// When members do not die or the kernel refuses it.
    pub fn end(mut self) -> Result<(), EngineError> {
        self.kept = true;
        self.dir.kill()?;
        self.dir.remove()
    }
}

impl Drop for OwnedCgroup {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.dir.kill().and_then(|()| self.dir.remove());
        }
    }
}

fn signal_each(pids: &[u32], signal: Signal) {
    for pid in pids {
        if let Ok(pid) = i32::try_from(*pid) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(dir);
    for child in children(dir) {
        walk(&child, visit);
    }
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for child in children(dir) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw` (proc_pid_mountinfo(5)). A mount of
/// the whole tree goes before one of a part.
fn parse_mountinfo(info: &str) -> Option<PathBuf> {
    let mounts = info.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        let (part, at) = (fields.next()?, fields.next()?);
        (kind.split(' ').next() == Some("cgroup2")).then(|| (part == "/", unescape(at)))
    });
    mounts.max_by_key(|(whole, _)| *whole).map(|(_, at)| at)
}

/// Spaces and the like stand as `\040` in mountinfo.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|_| first == b'\\');
        let code =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 30 0:23 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
27 25 0:25 /part /mnt/one\\040part rw shared:11 - cgroup2 cgroup2 rw
26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
28 25 0:26 / /sys/fs/cgroup/memory rw shared:12 - cgroup cgroup rw,memory";

    #[test]
    fn the_whole_tree_is_found_beside_version_1_and_parts() {
        assert_eq!(parse_mountinfo(HYBRID), Some("/sys/fs/cgroup/unified".into()));
        let only_part: Vec<&str> = HYBRID.lines().filter(|l| !l.contains("unified")).collect();
        assert_eq!(parse_mountinfo(&only_part.join("\n")), Some("/mnt/one part".into()));
        assert_eq!(parse_mountinfo("26 25 0:24 / /proc rw - proc proc rw"), None);
    }

    #[test]
    fn a_cgroup_is_named_by_directory_or_by_its_path_in_the_tree() {
        let mount = Mount::at("/sys/fs/cgroup");
        for name in ["/sys/fs/cgroup/a/b", "/a/b", "a/b", "../a/b"] {
            assert_eq!(mount.absolute(Path::new(name)), Path::new("/sys/fs/cgroup/a/b"), "{name}");
        }
        assert_eq!(mount.absolute(Path::new("/")), mount.root());
        assert_eq!(mount.relative(Path::new("/sys/fs/cgroup/a")), Path::new("/a"));
    }
}
