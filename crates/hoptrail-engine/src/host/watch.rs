//! Tells when a name that the policy uses may mean something else: an executable was replaced, a
//! cgroup was made or removed.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long nothing more may happen before a change counts: a package's files are replaced one by one.
const QUIET: Duration = Duration::from_millis(100);
/// After which a change counts even if more keep coming.
const AT_MOST: Duration = Duration::from_secs(1);

/// Watches the directories in which the names stand.
///
/// Poll it for reading, and call [`Self::change`] when it is readable or the time that the last
/// call gave has passed.
#[derive(Debug)]
pub struct Watcher {
    inotify: OwnedFd,
    /// By watch descriptor: the names in that directory that matter.
    names: HashMap<i32, HashSet<OsString>>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    first: Instant,
    last: Instant,
}

/// What a watcher has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// Something; ask again after this time, when it has come to rest.
    Settling(Duration),
    /// Something, and it has come to rest: resolve again and make a new watcher for the new paths.
    Settled,
}

impl Watcher {
    /// Watches `paths`, existing or not, and every directory on the way to them: one of those may be
    /// made, or swapped for another, as well.
    ///
    /// # Errors
    /// When the kernel has no inotify instance or watch left, or a directory cannot be read.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let mut watcher = Self { inotify, names: HashMap::new(), pending: None };
        let mut wanted: HashMap<PathBuf, HashSet<OsString>> = HashMap::new();
        for path in paths {
            for step in path.ancestors() {
                if let (Some(directory), Some(name)) = (step.parent(), step.file_name()) {
                    wanted.entry(directory.to_path_buf()).or_default().insert(name.to_owned());
                }
            }
        }
        for (directory, names) in wanted.into_iter().filter(|(directory, _)| directory.is_dir()) {
            watcher.add(&directory, names)?;
        }
        Ok(watcher)
    }

    /// Whether something has changed, at the time `now`.
    ///
    /// # Errors
    /// When the kernel does not let the events be read.
    pub fn change(&mut self, now: Instant) -> io::Result<Change> {
        if self.read()? {
            let first = self.pending.map_or(now, |pending| pending.first);
            self.pending = Some(Pending { first, last: now });
        }
        let Some(pending) = self.pending else { return Ok(Change::None) };
        let due = (pending.last + QUIET).min(pending.first + AT_MOST);
        if now < due {
            return Ok(Change::Settling(due - now));
        }
        self.pending = None;
        Ok(Change::Settled)
    }

    fn add(&mut self, directory: &Path, names: HashSet<OsString>) -> io::Result<()> {
        let events = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, directory, events) {
            // Two paths to one directory have one watch.
            Ok(watch) => self.names.entry(watch).or_default().extend(names),
            // It went away just now, which is a change.
            Err(Errno::NOENT | Errno::NOTDIR) => {
                let now = Instant::now();
                self.pending = Some(Pending { first: now, last: now });
            }
            Err(error) => return Err(explained(directory, error)),
        }
        Ok(())
    }

    /// Takes every event that is there; whether one of them matters.
    fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let mut matters = false;
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(matters),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let whole = ReadFlags::QUEUE_OVERFLOW
                | ReadFlags::DELETE_SELF
                | ReadFlags::MOVE_SELF
                | ReadFlags::UNMOUNT;
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            let known = || Some(self.names.get(&event.wd())?.contains(name?));
            matters |= event.events().intersects(whole) || known() == Some(true);
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn explained(directory: &Path, error: Errno) -> io::Error {
    let advice =
        if error == Errno::NOSPC { "; raise the sysctl fs.inotify.max_user_watches" } else { "" };
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("cannot watch {}: {error}{advice}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock(Instant);

    impl Clock {
        fn later(&mut self, by: Duration) -> Instant {
            self.0 += by;
            self.0
        }
    }

    fn setup(names: &[&str]) -> (tempfile::TempDir, Watcher, Clock) {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
        std::fs::write(dir.path().join("curl"), "old").unwrap();
        let watcher = Watcher::new(paths.iter().map(PathBuf::as_path)).unwrap();
        (dir, watcher, Clock(Instant::now()))
    }

    #[test]
    fn a_replaced_file_is_seen_when_it_has_come_to_rest() {
        let (dir, mut watcher, mut clock) = setup(&["curl"]);
        assert_eq!(watcher.change(clock.0).unwrap(), Change::None);
        std::fs::write(dir.path().join("curl.new"), "new").unwrap();
        assert_eq!(watcher.change(clock.0).unwrap(), Change::None, "another name");
        std::fs::rename(dir.path().join("curl.new"), dir.path().join("curl")).unwrap();
        assert_eq!(watcher.change(clock.0).unwrap(), Change::Settling(QUIET));
        let almost = clock.later(QUIET - Duration::from_millis(1));
        assert_eq!(watcher.change(almost).unwrap(), Change::Settling(Duration::from_millis(1)));
        assert_eq!(watcher.change(clock.later(QUIET)).unwrap(), Change::Settled);
        assert_eq!(watcher.change(clock.later(QUIET)).unwrap(), Change::None);
    }

    #[test]
    fn a_change_that_never_rests_counts_after_a_second() {
        let (dir, mut watcher, mut clock) = setup(&["x"]);
        let mut steps = 0;
        loop {
            std::fs::write(dir.path().join("x"), "").unwrap();
            std::fs::remove_file(dir.path().join("x")).unwrap();
            steps += 1;
            if watcher.change(clock.later(QUIET / 2)).unwrap() == Change::Settled {
                break;
            }
        }
        assert_eq!(steps, 21, "one second in steps of 50 ms");
    }

    #[test]
    fn a_missing_directory_is_waited_for() {
        let (dir, mut watcher, mut clock) = setup(&["later/bin/tool"]);
        std::fs::create_dir(dir.path().join("later")).unwrap();
        assert_ne!(watcher.change(clock.0).unwrap(), Change::None);
        assert_eq!(watcher.change(clock.later(QUIET)).unwrap(), Change::Settled);
    }

    #[test]
    fn a_swapped_directory_above_is_a_change() {
        let (dir, _, mut clock) = setup(&[]);
        let old = dir.path().join("app/bin");
        std::fs::create_dir_all(&old).unwrap();
        std::fs::create_dir(dir.path().join("app.new")).unwrap();
        let mut watcher = Watcher::new([old.join("tool").as_path()]).unwrap();
        std::fs::rename(dir.path().join("app"), dir.path().join("app.old")).unwrap();
        std::fs::rename(dir.path().join("app.new"), dir.path().join("app")).unwrap();
        assert_ne!(watcher.change(clock.0).unwrap(), Change::None);
        assert_eq!(watcher.change(clock.later(QUIET)).unwrap(), Change::Settled);
    }

    #[test]
    fn it_can_be_polled() {
        let (dir, watcher, _) = setup(&["curl"]);
        let readable = || {
            let mut fds = [rustix::event::PollFd::new(&watcher, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap()
        };
        assert_eq!(readable(), 0);
        std::fs::remove_file(dir.path().join("curl")).unwrap();
        assert_eq!(readable(), 1);
    }

    #[test]
    fn a_removed_directory_is_a_change() {
        let (dir, mut watcher, clock) = setup(&["curl"]);
        drop(dir);
        assert_ne!(watcher.change(clock.0).unwrap(), Change::None);
    }
}
