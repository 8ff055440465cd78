//! One kernel side has one daemon: whoever loads it or removes it holds the lock of its pin directory.

use crate::failure::Failure;
use hoptrail_engine::kernel::{DEFAULT_PINS, mount_bpffs};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File};
use std::path::Path;

/// Held until it is dropped, or by the kernel until the process dies.
#[derive(Debug)]
pub(crate) struct PinLock {
    _dir: Flock<File>,
}

impl PinLock {
    /// Makes the directory if it is not there, and takes its lock.
    pub(crate) fn make(pins: &Path) -> Result<Self, Failure> {
        let usual = Path::new(DEFAULT_PINS).parent();
        if usual.is_some_and(|bpffs| pins.starts_with(bpffs)) {
            mount_bpffs()?;
        }
        fs::create_dir_all(pins).map_err(|e| {
            Failure::os(format!("cannot make the pin directory {}", pins.display()), e)
        })?;
        Self::take(pins)
    }

    /// Takes the lock of a directory that is there.
    pub(crate) fn take(pins: &Path) -> Result<Self, Failure> {
        let dir = File::open(pins)
            .map_err(|e| Failure::os(format!("cannot open {}", pins.display()), e))?;
        match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
            Ok(dir) => Ok(Self { _dir: dir }),
            Err(_) => Err(Failure::new(format!(
                "another hoptrail daemon uses the pins in {}; stop it first, or say --pins",
                pins.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let pins = dir.path().join("pins");
        let first = PinLock::make(&pins).unwrap();
        let refused = PinLock::take(&pins).unwrap_err().to_string();
        assert!(refused.contains(&pins.display().to_string()), "{refused}");
        drop(first);
        PinLock::take(&pins).unwrap();
    }
}
