//! The daemon's directory, /run/hoptrail: its lock, its control socket, and what it last loaded.

use crate::failure::Failure;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it is when nothing else is said.
pub(crate) const DEFAULT_RUN_DIR: &str = "/run/hoptrail";

const LOCK: &str = "lock";
const SOCKET: &str = "control";
const STATE: &str = "state.json";

/// The directory.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
}

/// The right to be the one daemon of a directory; given up when dropped, or by the kernel when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// What a daemon last loaded, for verbs that work without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    /// The daemon.
    pub(crate) pid: u32,
    /// Its configuration.
    pub(crate) config: PathBuf,
    /// The cgroup on which it acts.
    pub(crate) cgroup: PathBuf,
    /// The cgroup of its proxies.
    pub(crate) proxies: PathBuf,
    /// Its pins.
    pub(crate) pins: PathBuf,
    /// The policy's generation.
    pub(crate) generation: u64,
    /// In the order of asking.
    pub(crate) providers: Vec<ProviderState>,
}

/// A provider as loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProviderState {
    /// Name.
    pub(crate) name: String,
    /// Redirect handle, 16 hexadecimal digits.
    pub(crate) handle: String,
    /// Stable identity.
    pub(crate) guid: String,
    /// Rank.
    pub(crate) rank: i64,
    /// Where its proxy listens.
    pub(crate) listen: Vec<std::net::SocketAddr>,
    /// `block` or `bypass`.
    pub(crate) on_unavailable: String,
    /// Number of filters.
    pub(crate) filters: usize,
    /// Command of the proxy, when hoptrail runs it.
    pub(crate) command: Option<Vec<String>>,
    /// The command's cgroup.
    pub(crate) cgroup: Option<PathBuf>,
}

impl RunDir {
    /// At `path`.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Becomes the one daemon here.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        fs::create_dir_all(&self.path)
            .map_err(|e| Failure::os(format!("cannot make {}", self.path.display()), e))?;
        let path = self.path.join(LOCK);
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|e| Failure::os(format!("cannot open {}", path.display()), e))?;
        let mut file = patiently(file).ok_or_else(|| Failure::new(self.occupied()))?;
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|e| Failure::os(format!("cannot write {}", path.display()), e))?;
        Ok(Lock { _file: file })
    }

    /// The daemon's process, when one runs here.
    pub(crate) fn daemon(&self) -> Option<u32> {
        let file = File::open(self.path.join(LOCK)).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_free) => None,
            Err(_) => fs::read_to_string(self.path.join(LOCK)).ok()?.trim().parse().ok(),
        }
    }

    /// The control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// What the last daemon loaded.
    pub(crate) fn state(&self) -> Result<Option<State>, Failure> {
        let path = self.path.join(STATE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Failure::os(format!("cannot read {}", path.display()), e)),
        };
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Failure::new(format!(
                "{} is not what a daemon of this version wrote: {e}",
                path.display()
            ))
        })
    }

    /// Keeps what was loaded, by one atomic rename.
    pub(crate) fn save(&self, state: &State) -> Result<(), Failure> {
        let (new, path) = (self.path.join("state.new"), self.path.join(STATE));
        let text = serde_json::to_vec_pretty(state).map_err(|e| Failure::new(e.to_string()))?;
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
        written.map_err(|e| Failure::os(format!("cannot write {}", path.display()), e))
    }

    /// Removes everything of ours in it, and itself if nothing else is there; gives what was removed.
    pub(crate) fn remove(&self) -> Vec<PathBuf> {
        let files = [SOCKET, STATE, "state.new", LOCK].map(|name| self.path.join(name));
        let mut removed: Vec<_> =
            files.into_iter().filter(|file| fs::remove_file(file).is_ok()).collect();
        if fs::remove_dir(&self.path).is_ok() {
            removed.push(self.path.clone());
        }
        removed
    }

    fn occupied(&self) -> String {
        let who = fs::read_to_string(self.path.join(LOCK)).unwrap_or_default();
        format!(
            "a hoptrail daemon runs already for {} (process {}); stop it, or give this one another --run-dir, --pins and --cgroup",
            self.path.display(),
            who.trim()
        )
    }
}

/// Whoever asks whether a daemon runs holds the lock for a moment.
fn patiently(mut file: File) -> Option<Flock<File>> {
    for _ in 0..10 {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((back, _)) => file = back,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_runs() {
        let path = std::env::temp_dir().join(format!("hoptrail-rundir-{}", std::process::id()));
        let dir = RunDir::at(&path);
        assert_eq!(dir.daemon(), None);
        let lock = dir.lock().unwrap();
        assert_eq!(dir.daemon(), Some(std::process::id()));
        let error = dir.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(dir.daemon(), None);
        assert!(dir.state().unwrap().is_none());
        let state = State {
            pid: 1,
            config: "/c".into(),
            cgroup: "/g".into(),
            proxies: "/p".into(),
            pins: "/b".into(),
            generation: 3,
            providers: Vec::new(),
        };
        dir.save(&state).unwrap();
        assert_eq!(dir.state().unwrap().unwrap().generation, 3);
        assert_eq!(dir.remove().len(), 3, "state, lock and the directory");
        assert!(dir.remove().is_empty());
    }
}
