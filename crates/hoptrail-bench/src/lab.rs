//! The laboratory: namespace, cgroups, engine and the three worker processes.
//!
//! The generator is one process that is moved between the cgroups `plain/app` and `lab/app`: so the
//! two sides of a ratio differ in nothing but the cgroup of the sockets.

use crate::Result;
use crate::policy;
use crate::scratch::Scratch;
use crate::wire::Service;
use crate::worker::Worker;
use hoptrail_core::compile::Cgroup;
use hoptrail_engine::Engine;
use hoptrail_engine::EngineError;
use hoptrail_engine::engine::Resolved;
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount, OwnedCgroup};
use hoptrail_engine::kernel::{KernelEngine, KernelOptions};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Ports of the destinations, outside the laboratory; one more for the same inside.
pub(crate) const SERVED: u16 = 7001;
pub(crate) const ECHO: u16 = 7003;
pub(crate) const SINK: u16 = 7005;
/// One more: offset of the services inside.
pub(crate) const INSIDE: u16 = 1;
/// The provider's listener, TCP and UDP.
pub(crate) const PROXY: u16 = 7021;
/// The relay's listener.
pub(crate) const RELAY: u16 = 7022;
/// To where the relay dials.
pub(crate) const ORIGIN: u16 = 7031;
/// The destinations of relays that are measured whole.
pub(crate) const BULK: u16 = 7041;
pub(crate) const ANSWER: u16 = 7042;
pub(crate) const HTTP: u16 = 7043;
/// Served by the generator, which then has both ends.
pub(crate) const PROMISES: u16 = 7044;
/// The listeners of four providers.
pub(crate) const HOPS: u16 = 7051;
/// From here on, those of other relays.
const RELAYS: u16 = 7100;

/// Descriptors of each process: for 50,000 connections a relay needs from two to six each.
const FILES: u64 = 400_000;

/// Whether a signal has come, after which the end is that of [`end_on_signals`].
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Where a process makes its sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Beside the laboratory: the engine never acts there.
    Plain,
    /// In the laboratory.
    Lab,
}

pub(crate) struct Lab {
    // Fields are dropped in this order: workers before their cgroups.
    pub(crate) generator: Worker,
    pub(crate) server: Worker,
    pub(crate) proxy: Worker,
    pub(crate) engine: KernelEngine,
    pub(crate) members: Cgroup,
    /// Of the four providers of [`policy::relayed`].
    pub(crate) hops: [CgroupDir; 4],
    hop_members: [Cgroup; 4],
    /// The CPU of the destinations.
    pub(crate) other_cpu: usize,
    /// The CPUs of relays that are measured whole.
    pub(crate) relay_cpus: Vec<usize>,
    /// Descriptors that a process may have.
    pub(crate) files: u64,
    next_port: u16,
    lab: CgroupDir,
    plain_app: CgroupDir,
    lab_app: CgroupDir,
    cgroup: OwnedCgroup,
    pub(crate) scratch: Scratch,
}

impl Lab {
    pub(crate) fn open(relay_cpus: Option<Vec<usize>>) -> Result<Self> {
        if !geteuid().is_root() {
            return Err(EngineError::new(
                "measuring needs root: it loads BPF programs and makes a network namespace and cgroups",
            ));
        }
        let mount = Mount::find()?;
        let name = format!("hoptrail-bench-{}", std::process::id());
        let cgroup = OwnedCgroup::create(mount.root().join(name))?;
        let scratch = Scratch::make()?;
        end_on_signals(cgroup.dir().clone(), scratch.path().to_owned())?;
        crate::netns::enter()?;
        let files = allow_files()?;
        let outside = cgroup.child("plain/server")?;
        let inside = cgroup.child("lab/server")?;
        let members = cgroup.child("lab/proxy")?;
        let (plain_app, lab_app) = (cgroup.child("plain/app")?, cgroup.child("lab/app")?);

        let cpus = thread::available_parallelism().map_or(1, usize::from);
        let other_cpu = cpus.min(2) - 1;
        let mut generator = Worker::start("generator", 0, &outside)?;
        generator.serve(Service::Accept, any(ORIGIN))?;
        generator.serve(Service::Wait, any(PROMISES))?;
        let mut server = Worker::start("server", other_cpu, &outside)?;
        serve(&mut server, 0)?;
        server.move_to(&inside)?;
        serve(&mut server, INSIDE)?;
        let mut proxy = Worker::start("proxy", other_cpu, &members)?;
        proxy.serve(Service::Accept, local(PROXY))?;
        proxy.serve(Service::Datagrams, local(PROXY))?;
        proxy.serve(Service::Wait, local(RELAY))?;

        server.serve(Service::Bulk, any(BULK))?;
        server.serve(Service::Answer, any(ANSWER))?;

        let path = |dir: &CgroupDir| {
            let path = dir.ids(&mount).map_err(|e| EngineError::os("cannot read cgroup ids", e))?;
            Ok::<_, EngineError>(Cgroup { path })
        };
        let [a, b, c, d] = [0, 1, 2, 3].map(|hop| cgroup.child(&format!("lab/hop{hop}")));
        let hops = [a?, b?, c?, d?];
        let [a, b, c, d] = hops.each_ref().map(path);
        let hop_members = [a?, b?, c?, d?];
        let engine = KernelEngine::open(&KernelOptions::default())?;
        let lab = cgroup.child("lab")?;
        Ok(Self {
            generator,
            server,
            proxy,
            engine,
            members: path(&members)?,
            hops,
            hop_members,
            other_cpu,
            relay_cpus: relay_cpus.unwrap_or_else(|| (0..cpus).collect()),
            files,
            next_port: RELAYS,
            lab,
            plain_app,
            lab_app,
            cgroup,
            scratch,
        })
    }

    /// The policy under which relays are providers.
    pub(crate) fn relayed(&mut self) -> Result<()> {
        let policy = policy::relayed(&self.hop_members);
        self.load(&policy)
    }

    /// One for a listener, never given before.
    pub(crate) fn port(&mut self) -> u16 {
        self.next_port += 1;
        self.next_port
    }

    /// A cgroup beside the laboratory.
    pub(crate) fn home(&self, name: &str) -> Result<CgroupDir> {
        self.cgroup.child(&format!("plain/{name}"))
    }

    /// The generator's.
    pub(crate) fn app(&self, place: Place) -> &CgroupDir {
        match place {
            Place::Plain => &self.plain_app,
            Place::Lab => &self.lab_app,
        }
    }

    /// The policy of most measurements: four filters, two providers.
    pub(crate) fn few(&mut self) -> Result<()> {
        let policy = policy::few(&self.members);
        self.load(&policy)
    }

    pub(crate) fn load(&mut self, policy: &Resolved) -> Result<()> {
        self.engine.load_policy(policy).map(drop)
    }

    /// Attaches all programs to the laboratory.
    pub(crate) fn attach(&mut self) -> Result<()> {
        self.engine.attach(self.lab.path())
    }

    pub(crate) fn detach(&mut self) {
        self.engine.detach_all();
    }

    /// The generator, its next sockets made at `place`.
    pub(crate) fn generator(&mut self, place: Place) -> Result<&mut Worker> {
        self.generator.move_to(self.app(place))?;
        Ok(&mut self.generator)
    }

    /// Reads the events away, as the daemon would, so that the next ones find room.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while !self.engine.events(Duration::ZERO)?.is_empty() {}
        Ok(())
    }

    /// Measures while another thread reads the events as they come, as the daemon does.
    pub(crate) fn reading<T>(
        &mut self,
        measure: impl FnOnce(&mut Worker) -> Result<T>,
    ) -> Result<T> {
        self.generator(Place::Lab)?;
        let done = AtomicBool::new(false);
        let (engine, generator) = (&mut self.engine, &mut self.generator);
        thread::scope(|scope| {
            let reader = scope.spawn(|| -> Result<()> {
                while !done.load(Ordering::Relaxed) {
                    engine.events(Duration::from_millis(20))?;
                }
                Ok(())
            });
            let measured = measure(generator);
            done.store(true, Ordering::Relaxed);
            reader.join().map_err(|_| EngineError::new("the reader of events failed"))??;
            measured
        })
    }

    /// Checks that the proxy got `count` connections more than `before`: that what was to be
    /// redirected was, and nothing else.
    pub(crate) fn expect_accepted(&mut self, before: u64, count: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let got = self.proxy.accepted(local(PROXY))? - before;
            if got == count {
                return Ok(());
            }
            if got > count || Instant::now() > deadline {
                return Err(EngineError::new(format!(
                    "the proxy accepted {got} connections instead of {count}: the measurement would not be of \
                     what it says"
                )));
            }
        }
    }
}

/// As many descriptors as we may have: some containers allow not even root to raise the limit.
fn allow_files() -> Result<u64> {
    let failed = |e: nix::Error| EngineError::os("cannot set the limit of descriptors", e.into());
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if most < FILES && setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES).is_ok() {
        return Ok(FILES);
    }
    let files = most.min(FILES);
    setrlimit(Resource::RLIMIT_NOFILE, files, most).map_err(failed)?;
    Ok(files)
}

/// On all local addresses.
pub(crate) fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn serve(server: &mut Worker, offset: u16) -> Result<()> {
    server.serve(Service::Accept, any(SERVED + offset))?;
    server.serve(Service::Echo, any(ECHO + offset))?;
    server.serve(Service::Sink, any(SINK + offset))?;
    server.serve(Service::Datagrams, any(SERVED + offset))
}

/// Cleans up and ends when interrupted. The links of the programs go with the process, the network
/// namespace too.
fn end_on_signals(cgroup: CgroupDir, scratch: PathBuf) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().map_err(|e| EngineError::os("cannot block signals", e.into()))?;
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            INTERRUPTED.store(true, Ordering::Relaxed);
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
            let _ = std::fs::remove_dir_all(scratch);
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}
