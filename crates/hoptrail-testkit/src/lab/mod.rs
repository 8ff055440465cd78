//! A laboratory for kernel tests: a network namespace and cgroups of its own, an engine attached to
//! them, and actors, which are processes inside.
//!
//! Everything goes when the [`Lab`] is dropped, also when the test panics, and what a killed test
//! left behind is swept by the next one. A test binary has `harness = false` and gives its tests to
//! [`harness::run`], which also plays the actors' part when the binary is started as one.

pub mod actor;
pub mod address;
pub mod cc;
pub mod harness;
pub mod net;
pub mod option;
pub mod origin;
pub mod policy;
pub mod proxy;
pub mod socket;
pub mod stage;

pub use actor::{Actor, Person, Task};
pub use address::{BEYOND_V4, BEYOND_V6, PORT, V4, V4_OTHER, V6, at};
pub use harness::{Case, Test, need, run, run_anywhere};
pub use net::Net;
pub use option::Probe;
pub use origin::Origin;
pub use policy::listener;
pub use proxy::{Manner, Proxy, Seen};
pub use socket::Fd;

use hoptrail_core::compile::{Cgroup, Policy, Provider};
use hoptrail_core::records::Exe;
use hoptrail_engine::engine::{Counters, Resolved};
use hoptrail_engine::event::Event;
use hoptrail_engine::host::cgroup2::{Mount, OwnedCgroup};
use hoptrail_engine::kernel::{KernelEngine, KernelOptions, LiveLink};
use hoptrail_engine::{Engine, EngineError};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Every lab's cgroup begins with this; the test's process id and a number follow.
pub const PREFIX: &str = "hoptrail-test-";
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Network namespace, cgroups and engine of one test.
pub struct Lab {
    /// Attached to the lab's cgroup. Dropped before the cgroups.
    pub engine: RefCell<KernelEngine>,
    net: Net,
    mount: Mount,
    cgroup: OwnedCgroup,
}

/// A namespace beside the lab's.
pub struct Neighbour {
    net: Net,
    /// Index of the interface in the lab's namespace that leads to it.
    pub interface: u32,
}

impl Neighbour {
    /// As [`Lab::origin`], there.
    ///
    /// # Panics
    /// When it cannot listen there.
    #[must_use]
    pub fn origin(&self, at: SocketAddr) -> Origin {
        self.net.inside(|| Origin::start(at)).expect("the origin listens")
    }

    /// As [`Lab::outsider`], there.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn outsider(&self) -> Actor {
        Actor::start(&Person::default(), None, self.net.file()).expect("an actor starts")
    }

    /// As [`Lab::inside`], there.
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.net.inside(work)
    }
}

impl std::fmt::Debug for Neighbour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Neighbour").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl Lab {
    /// A lab whose engine has no policy yet.
    ///
    /// # Panics
    /// When it cannot be made: the harness runs tests only where it can.
    #[must_use]
    pub fn new() -> Self {
        Self::with(&KernelOptions::default())
    }

    /// A lab with a policy of these providers in force.
    #[must_use]
    pub fn of(providers: impl FnOnce(&Self) -> Vec<Provider>) -> Self {
        let lab = Self::new();
        lab.load(providers(&lab));
        lab
    }

    /// A lab with other options for the engine.
    ///
    /// # Panics
    /// As [`Lab::new`].
    #[must_use]
    pub fn with(options: &KernelOptions) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mount = Mount::find().expect("cgroup2");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let cgroup = OwnedCgroup::create(mount.root().join(name)).expect("the lab's cgroup");
        let net = Net::new().expect("the lab's network namespace");
        let mut engine = KernelEngine::open(options).expect("the engine");
        engine.attach(cgroup.dir().path()).expect("the engine attached");
        Self { engine: RefCell::new(engine), net, mount, cgroup }
    }

    /// Puts a policy in force and gives its generation.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub fn load(&self, providers: Vec<Provider>) -> u64 {
        self.load_with(providers, &[])
    }

    /// As [`Lab::load`], with context bytes for some providers.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub fn load_with(&self, providers: Vec<Provider>, contexts: &[(&str, &[u8])]) -> u64 {
        let contexts = contexts.iter().map(|(name, b)| ((*name).to_owned(), b.to_vec())).collect();
        let resolved = Resolved { policy: Policy { providers }, contexts };
        self.engine.borrow_mut().load_policy(&resolved).expect("the policy loads")
    }

    /// The directory of the lab's cgroup.
    #[must_use]
    pub fn cgroup_dir(&self) -> &Path {
        self.cgroup.dir().path()
    }

    /// A cgroup of the lab, made when it is not there; `""` is the lab's own.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[must_use]
    pub fn cgroup(&self, name: &str) -> Cgroup {
        let dir = if name.is_empty() {
            self.cgroup.dir().clone()
        } else {
            self.cgroup.child(name).expect("a cgroup of the lab")
        };
        Cgroup { path: dir.ids(&self.mount).expect("ids of the lab's cgroup") }
    }

    /// A process in the lab's cgroup `name` and its network namespace, as root.
    #[must_use]
    pub fn actor(&self, name: &str) -> Actor {
        self.person(&Person { cgroup: name, ..Person::default() })
    }

    /// A process that is somebody in particular.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn person(&self, person: &Person<'_>) -> Actor {
        let _ = self.cgroup(person.cgroup);
        let dir = self.cgroup_dir().join(person.cgroup);
        Actor::start(person, Some(&dir), self.net.file()).expect("an actor starts")
    }

    /// A process in the lab's network namespace, but in no cgroup of the lab.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn outsider(&self) -> Actor {
        Actor::start(&Person::default(), None, self.net.file()).expect("an actor starts")
    }

    /// Runs `work` in the lab's network namespace, on a thread of the test process, whose cgroup is
    /// not the lab's. Threads that it starts stay in the namespace.
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.net.inside(work)
    }

    /// A server at `at` that sends back what it gets and counts its connections.
    ///
    /// # Panics
    /// When it cannot listen there.
    #[must_use]
    pub fn origin(&self, at: SocketAddr) -> Origin {
        self.inside(|| Origin::start(at)).expect("the origin listens")
    }

    /// Another machine, so to say: a namespace at the other end of the interface `name`, whose addresses
    /// there are [`BEYOND_V4`] and [`BEYOND_V6`], and here each with a 1 in place of the 2.
    ///
    /// # Panics
    /// When the kernel refuses it.
    #[must_use]
    pub fn neighbour(&self, name: &str) -> Neighbour {
        let [here, there] = address::WAYS;
        let (net, interface) = self.net.neighbour(name, here, there).expect("a neighbour");
        Neighbour { net, interface }
    }

    /// The engine's counters.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.engine.borrow().counters().expect("counters")
    }

    /// The open redirected connections.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn links(&self) -> Vec<LiveLink> {
        self.engine.borrow().links().expect("links")
    }

    /// The events that have come and were not asked for before.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut engine = self.engine.borrow_mut();
        let mut all = Vec::new();
        loop {
            let some = engine.events(Duration::from_millis(10)).expect("events");
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Lab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lab").field("cgroup", &self.cgroup).finish_non_exhaustive()
    }
}

/// Waits until `what` holds.
///
/// # Panics
/// When it does not in [`PATIENCE`].
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Device and inode of a file, as the kernel keeps them.
///
/// # Panics
/// When there is no such file.
#[must_use]
pub fn exe_of(path: &Path) -> Exe {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).expect("the executable's metadata");
    let dev = metadata.dev();
    Exe { dev: libc::major(dev) << 20 | libc::minor(dev), ino: metadata.ino() }
}

/// Removes the cgroups and the copies of binaries of labs whose test process is dead.
fn sweep() {
    for path in left_behind(&std::env::temp_dir()) {
        std::fs::remove_dir_all(&path).unwrap_or_else(|e| told(&path, &e));
    }
    let Ok(mount) = Mount::find() else { return };
    for path in left_behind(mount.root()) {
        remove(&path).unwrap_or_else(|e| told(&path, &e));
    }
}

fn told(path: &Path, error: &dyn std::error::Error) {
    eprintln!("{} is left behind: {error}", path.display());
}

/// What is named after a test process that is dead.
fn left_behind(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let dead = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let number = pid.and_then(|pid| pid.parse::<u32>().ok());
        number.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
    });
    dead.map(|entry| entry.path()).collect()
}

fn remove(path: &Path) -> Result<(), EngineError> {
    let dir = hoptrail_engine::host::cgroup2::CgroupDir::open(path)?;
    dir.kill()?;
    dir.remove()
}
