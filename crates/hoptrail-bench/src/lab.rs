//! The laboratory: namespace, cgroups, engine and the three worker processes.
//!
//! The generator is one process that is moved between the cgroups `plain/app` and `lab/app`: so the
//! two sides of a ratio differ in nothing but the cgroup of the sockets.

use crate::Result;
use crate::policy;
use crate::wire::Service;
use crate::worker::Worker;
use hoptrail_core::compile::Cgroup;
use hoptrail_engine::Engine;
use hoptrail_engine::EngineError;
use hoptrail_engine::engine::Resolved;
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount, OwnedCgroup};
use hoptrail_engine::kernel::{KernelEngine, KernelOptions};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;
use std::net::{Ipv4Addr, SocketAddr};
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
    lab: CgroupDir,
    plain_app: CgroupDir,
    lab_app: CgroupDir,
    #[expect(dead_code, reason = "held for its drop, which removes the cgroups")]
    cgroup: OwnedCgroup,
}

impl Lab {
    pub(crate) fn open() -> Result<Self> {
        if !geteuid().is_root() {
            return Err(EngineError::new(
                "measuring needs root: it loads BPF programs and makes a network namespace and cgroups",
            ));
        }
        let mount = Mount::find()?;
        let name = format!("hoptrail-bench-{}", std::process::id());
        let cgroup = OwnedCgroup::create(mount.root().join(name))?;
        end_on_signals(cgroup.dir().clone())?;
        crate::netns::enter()?;
        let outside = cgroup.child("plain/server")?;
        let inside = cgroup.child("lab/server")?;
        let members = cgroup.child("lab/proxy")?;
        let (plain_app, lab_app) = (cgroup.child("plain/app")?, cgroup.child("lab/app")?);

        let other_cpu = thread::available_parallelism().map_or(1, usize::from).min(2) - 1;
        let mut generator = Worker::start("generator", 0, &outside)?;
        generator.serve(Service::Accept, any(ORIGIN))?;
        let mut server = Worker::start("server", other_cpu, &outside)?;
        serve(&mut server, 0)?;
        server.move_to(&inside)?;
        serve(&mut server, INSIDE)?;
        let mut proxy = Worker::start("proxy", other_cpu, &members)?;
        proxy.serve(Service::Accept, local(PROXY))?;
        proxy.serve(Service::Datagrams, local(PROXY))?;
        proxy.serve(Service::Wait, local(RELAY))?;

        let ids = members.ids(&mount).map_err(|e| EngineError::os("cannot read cgroup ids", e))?;
        let engine = KernelEngine::open(&KernelOptions::default())?;
        let lab = cgroup.child("lab")?;
        let members = Cgroup { path: ids };
        Ok(Self { generator, server, proxy, engine, members, lab, plain_app, lab_app, cgroup })
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
        let home = match place {
            Place::Plain => &self.plain_app,
            Place::Lab => &self.lab_app,
        };
        self.generator.move_to(home)?;
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
fn end_on_signals(cgroup: CgroupDir) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().map_err(|e| EngineError::os("cannot block signals", e.into()))?;
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            INTERRUPTED.store(true, Ordering::Relaxed);
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}
