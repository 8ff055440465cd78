//! Executables as the kernel side sees them.
//!
//! The BPF programs read `i_sb->s_dev` and `i_ino` of a process' `mm->exe_file`. The device that
//! stat(2) gives is not that one on btrfs and overlayfs, so it is taken from the mount. A script's
//! executable is its interpreter.

use super::mounts::Mounts;
use hoptrail_core::records::Exe;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Most symbolic links that are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// The file at `path`, symbolic links followed.
///
/// # Errors
/// What the kernel says, `NotFound` among it.
pub fn exe(path: &Path, mounts: &Mounts) -> io::Result<Exe> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let stat = statx(CWD, path, AtFlags::empty(), wanted)?;
    let known = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    let of_mount = known.then(|| mounts.device(stat.stx_mnt_id)).flatten();
    // A mount that is not in our list (reached through /proc/PID/root) leaves only what stat says.
    let dev = of_mount.unwrap_or(stat.stx_dev_major << 20 | stat.stx_dev_minor);
    Ok(Exe { dev, ino: stat.stx_ino })
}

/// `path`, every symbolic link on the way, and the file where it ends: when one of them is replaced,
/// the name may mean another file.
#[must_use]
pub fn links(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_path_buf()];
    let mut here = PathBuf::from("/");
    let mut ahead = steps(path);
    while let Some(step) = ahead.pop() {
        if step.as_os_str() == ".." {
            here.pop();
            continue;
        }
        // Joining "/", with which an absolute target begins, starts from there again.
        let next = here.join(&step);
        match std::fs::read_link(&next) {
            Ok(target) if all.len() <= MAX_LINKS => {
                ahead.extend(steps(&target));
                all.push(next);
            }
            _ => here = next,
        }
    }
    all.push(here);
    all.dedup();
    all
}

/// The components of `path`, last first.
fn steps(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// The interpreter that the file's `#!` line names, if it is a script that can be read.
#[must_use]
pub fn interpreter(path: &Path) -> Option<String> {
    let mut head = Vec::new();
    std::fs::File::open(path).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_and_copies() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = Mounts::read().unwrap();
        let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        std::fs::write(&a, "#!/bin/sh -e\n").unwrap();
        symlink("a", &b).unwrap();
        symlink(&b, &c).unwrap();
        assert_eq!(exe(&a, &mounts).unwrap(), exe(&c, &mounts).unwrap());
        assert_eq!(interpreter(&c).as_deref(), Some("/bin/sh"));
        std::fs::copy(&a, dir.path().join("d")).unwrap();
        assert_ne!(exe(&a, &mounts).unwrap(), exe(&dir.path().join("d"), &mounts).unwrap());
        let gone = exe(&dir.path().join("gone"), &mounts).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_device_is_that_of_the_memory_map() {
        // /proc/self/maps shows the kernel's s_dev and i_ino of the running executable.
        let path = std::env::current_exe().unwrap();
        let found = exe(&path, &Mounts::read().unwrap()).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|l| l.ends_with(&*path.to_string_lossy())).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (major, minor) = fields[3].split_once(':').unwrap();
        let hex = |text| u32::from_str_radix(text, 16).unwrap();
        assert_eq!(found.dev, hex(major) << 20 | hex(minor));
        assert_eq!(found.ino, fields[4].parse::<u64>().unwrap());
    }

    #[test]
    fn every_link_on_the_way_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("app/v1/bin")).unwrap();
        std::fs::write(at("app/v1/bin/tool"), "").unwrap();
        symlink("v1", at("app/now")).unwrap();
        symlink("../app/now/bin/tool", at("app/tool")).unwrap();
        symlink(at("app/tool"), at("tool")).unwrap();
        assert_eq!(
            links(&at("tool")),
            [at("tool"), at("app/tool"), at("app/now"), at("app/v1/bin/tool")]
        );
        assert_eq!(links(&at("gone/x")), [at("gone/x")]);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        symlink("x", dir.path().join("x")).unwrap();
        assert_eq!(links(&dir.path().join("x")), [dir.path().join("x")]);
        symlink("z", dir.path().join("y")).unwrap();
        symlink("y", dir.path().join("z")).unwrap();
        assert!(links(&dir.path().join("y")).len() <= MAX_LINKS + 2);
    }
}
