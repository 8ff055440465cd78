//! The cgroup2 hierarchy: from a cgroup's path to the ids that the kernel side compares.

use super::cgroup2::Mount;
use hoptrail_core::compile::Cgroup;
use hoptrail_core::image::MAX_CGROUP_LEVEL;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The kernel gives the root of the hierarchy this id.
const ROOT_ID: u64 = 1;

/// Why a cgroup has no ids.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// What is mounted is a part: levels cannot be told.
    #[error(
        "{} is not the root of the cgroup2 hierarchy (a container?); cgroups can be named only where the whole hierarchy is mounted",
        .0.display()
    )]
    Part(PathBuf),
    /// Deeper than conditions can say.
    #[error("cgroup {0} is more than {MAX_CGROUP_LEVEL} levels deep; name one above it")]
    TooDeep(String),
    /// It cannot be looked at.
    #[error("cannot look at cgroup {}: {source}", .path.display())]
    Unreadable {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whether `mount` shows the whole hierarchy, so that levels count from its root.
///
/// # Errors
/// [`CgroupError::Part`] in a cgroup namespace.
pub fn check_whole(mount: &Mount) -> Result<(), CgroupError> {
    match id(mount.root())? {
        Some(ROOT_ID) => Ok(()),
        _ => Err(CgroupError::Part(mount.root().to_path_buf())),
    }
}

/// The ids from the root down to the cgroup at `path`, which is written as in `/proc/PID/cgroup`;
/// `None` when it does not exist.
///
/// # Errors
/// [`CgroupError::TooDeep`], [`CgroupError::Unreadable`].
pub fn cgroup(mount: &Mount, path: &str) -> Result<Option<Cgroup>, CgroupError> {
    let inside = mount.relative(&mount.absolute(Path::new(path)));
    let mut directory = mount.root().to_path_buf();
    let mut ids = Vec::new();
    ids.extend(id(&directory)?);
    for part in inside.components() {
        let Component::Normal(part) = part else { continue };
        directory.push(part);
        match id(&directory)? {
            Some(id) => ids.push(id),
            None => return Ok(None),
        }
    }
    if ids.len() > MAX_CGROUP_LEVEL as usize + 1 {
        return Err(CgroupError::TooDeep(path.to_owned()));
    }
    Ok(Some(Cgroup { path: ids }))
}

/// A cgroup's id is its directory's inode number; `None` when there is no such directory.
fn id(directory: &Path) -> Result<Option<u64>, CgroupError> {
    match std::fs::metadata(directory) {
        Ok(metadata) => Ok(metadata.is_dir().then(|| metadata.ino())),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(source) => Err(CgroupError::Unreadable { path: directory.to_path_buf(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ino(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn ids_come_root_first() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("a/b"));
        std::fs::create_dir_all(&b).unwrap();
        std::fs::write(a.join("cgroup.procs"), "").unwrap();
        let mount = Mount::at(dir.path());
        let ids = |path: &str| cgroup(&mount, path).unwrap().map(|found| found.path);
        assert_eq!(ids("/a/b"), Some(vec![ino(dir.path()), ino(&a), ino(&b)]));
        assert_eq!(ids("/"), Some(vec![ino(dir.path())]));
        assert_eq!(ids("/a/gone"), None);
        assert_eq!(ids("/a/cgroup.procs"), None);
        assert_eq!(ids("/a/cgroup.procs/x"), None);
        assert_eq!(ids(&b.display().to_string()), ids("/a/b"), "named by its directory");
    }

    #[test]
    fn too_deep_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = "/x".repeat(MAX_CGROUP_LEVEL as usize + 1);
        let mount = Mount::at(dir.path());
        std::fs::create_dir_all(mount.absolute(Path::new(&path))).unwrap();
        let error = cgroup(&mount, &path).unwrap_err().to_string();
        assert!(error.contains("more than 31 levels deep"), "{error}");
        assert!(cgroup(&mount, &path[2..]).unwrap().is_some());
    }
}
