//! An actor's own side: it takes its place in cgroup, network namespace and user, then does what it is told.
#![expect(unsafe_code, reason = "a function is sent to another process of the same binary")]

use super::PREFIX;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// First argument of a test binary that is to be an actor.
const ACTOR: &str = "--hoptrail-actor";

/// A function of this binary with its arguments. Functions are told by their distance from one that
/// both processes know, since each process has its own address layout.
#[derive(Serialize, Deserialize)]
pub(super) struct Order {
    id: u64,
    own_thread: bool,
    entrance: isize,
    work: isize,
    arguments: String,
}

/// What became of an order.
#[derive(Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
enum Outcome {
    Done(String),
    Failed { errno: Option<i32>, text: String },
    Panicked(String),
}

/// Takes the address of a work function and its arguments as JSON, gives its result as JSON.
type Entrance = fn(usize, &str) -> io::Result<String>;

impl Order {
    pub(super) fn new<A: DeserializeOwned, R: Serialize>(
        id: u64,
        own_thread: bool,
        work: fn(A) -> io::Result<R>,
        arguments: String,
    ) -> Self {
        let entrance: Entrance = enter::<A, R>;
        Self {
            id,
            own_thread,
            entrance: distance(entrance as usize),
            work: distance(work as usize),
            arguments,
        }
    }

    fn carry_out(self) {
        let work = address(self.work);
        // SAFETY: orders are made by `Order::new` alone, from a function of this type, in a process
        // of the same binary: at the same distance from `landmark` is the same function.
        let entrance = unsafe { std::mem::transmute::<usize, Entrance>(address(self.entrance)) };
        let outcome = catch_unwind(AssertUnwindSafe(|| entrance(work, &self.arguments)));
        let outcome = match outcome {
            Ok(Ok(result)) => Outcome::Done(result),
            Ok(Err(e)) => Outcome::Failed { errno: e.raw_os_error(), text: e.to_string() },
            Err(panic) => Outcome::Panicked(words(panic.as_ref())),
        };
        let line = serde_json::to_string(&Answer { id: self.id, outcome }).expect("an answer");
        let mut out = io::stdout().lock();
        // A test that is gone has closed the pipe, and this process is about to end.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

impl Answer {
    pub(super) fn outcome<R: DeserializeOwned>(self) -> io::Result<R> {
        match self.outcome {
            Outcome::Done(json) => Ok(serde_json::from_str(&json)?),
            Outcome::Failed { errno: Some(errno), .. } => Err(io::Error::from_raw_os_error(errno)),
            Outcome::Failed { errno: None, text } => Err(io::Error::other(text)),
            Outcome::Panicked(text) => panic!("the actor panicked: {text}"),
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}

fn enter<A: DeserializeOwned, R: Serialize>(work: usize, arguments: &str) -> io::Result<String> {
    // SAFETY: as in `Order::carry_out`; this instance was chosen together with a `work` of this type.
    let work = unsafe { std::mem::transmute::<usize, fn(A) -> io::Result<R>>(work) };
    let result = work(serde_json::from_str(arguments)?)?;
    Ok(serde_json::to_string(&result)?)
}

fn landmark() {}

fn distance(function: usize) -> isize {
    (function as isize).wrapping_sub(landmark as fn() as usize as isize)
}

fn address(distance: isize) -> usize {
    (landmark as fn() as usize as isize).wrapping_add(distance) as usize
}

/// The arguments that make the test binary an actor.
pub(super) fn arguments(uid: Option<u32>, cgroup: Option<&Path>, netns: &Path) -> [PathBuf; 4] {
    let uid = uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string());
    let cgroup = cgroup.map_or_else(|| "-".into(), Path::to_path_buf);
    [ACTOR.into(), uid.into(), cgroup, netns.into()]
}

/// Plays an actor's part to its end, if that is what this process was started for.
pub(super) fn play() -> bool {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, actor, uid, cgroup, netns] = arguments.as_slice() else { return false };
    if actor != ACTOR {
        return false;
    }
    take_place(uid, cgroup, netns).expect("an actor takes its place");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let order: Order = serde_json::from_str(&line).expect("an order");
        if order.own_thread {
            std::thread::spawn(move || order.carry_out());
        } else {
            order.carry_out();
        }
    }
    true
}

fn take_place(uid: &str, cgroup: &str, netns: &str) -> io::Result<()> {
    setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
    if cgroup != "-" {
        std::fs::write(Path::new(cgroup).join("cgroup.procs"), "0")?;
    }
    if let Ok(id) = uid.parse() {
        let (gid, uid) = (Gid::from_raw(id), Uid::from_raw(id));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    Ok(())
}

/// A copy of the test binary: an executable with an inode of its own. Removed when dropped.
#[derive(Debug)]
pub struct Copy {
    dir: PathBuf,
    path: PathBuf,
}

impl Copy {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // What remains lies in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Copies the test binary to a file called `name`.
///
/// # Panics
/// When it cannot.
#[must_use]
pub fn copy_of_binary(name: &str) -> Copy {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = format!("{PREFIX}{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(dir);
    std::fs::create_dir(&dir).expect("a directory for a copy");
    let path = dir.join(name);
    copy_executable(&std::env::current_exe().expect("the test binary"), &path);
    Copy { dir, path }
}

/// Copies an executable that is going to be run.
///
/// By cp(1): were it written here, a process that another thread is just starting could hold it open
/// for writing a moment longer, and execve would fail with ETXTBSY.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_executable(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp {} {}: {status}", from.display(), to.display());
}

/// Files that the actor keeps open between orders, by their descriptors.
fn kept() -> MutexGuard<'static, HashMap<i32, Arc<OwnedFd>>> {
    static KEPT: OnceLock<Mutex<HashMap<i32, Arc<OwnedFd>>>> = OnceLock::new();
    KEPT.get_or_init(Mutex::default).lock().expect("kept files")
}

/// Keeps a file open until [`close`], and gives its descriptor.
pub fn keep(file: impl Into<OwnedFd>) -> i32 {
    let file = file.into();
    let fd = file.as_raw_fd();
    kept().insert(fd, Arc::new(file));
    fd
}

/// A descriptor that has come from elsewhere, as by `SCM_RIGHTS`.
#[must_use]
pub fn adopt(fd: RawFd) -> OwnedFd {
    // SAFETY: whoever has received a descriptor owns it, and hands it over here once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A file that is kept.
///
/// # Errors
/// `EBADF` when it is not.
pub fn held(fd: i32) -> io::Result<Arc<OwnedFd>> {
    kept().get(&fd).cloned().ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
}

/// Closes a file that is kept.
pub fn close(fd: i32) {
    kept().remove(&fd);
}

/// Closes every file that is kept.
pub(super) fn close_all() {
    kept().clear();
}
