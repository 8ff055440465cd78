//! A policy that acts on one command's process tree and nothing else: cgroups, engine and proxies, all of which go
//! when this is dropped. `run` and `demo` are made of it.

use crate::engines::{EngineChoice, open_engine};
use crate::failure::Failure;
use crate::members;
use crate::output;
use crate::proxies::{self, Proxies};
use crate::reaper::Reaper;
use crate::trail::Names;
use crate::wrap::Signals;
use hoptrail_core::compile::Cgroup;
use hoptrail_engine::Engine;
use hoptrail_engine::config::{Config, resolve};
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount, OwnedCgroup};
use hoptrail_engine::host::doctor;
use hoptrail_engine::host::supervise::{Notice, Output, PATIENCE, Proxy};
use hoptrail_engine::trails::TrailBook;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Every run's cgroup begins with this; the hoptrail's process id follows.
pub(crate) const PREFIX: &str = "hoptrail-run-";
/// Where the command runs, below the run's cgroup.
const APP: &str = "app";
/// Trails that are kept for printing.
const TRAILS: usize = 4096;
/// How often the proxies are looked after when nothing else happens.
const TICK: Duration = Duration::from_millis(100);

/// The running scope. Fields are dropped in this order: redirection ends last but for the cgroups, so that no
/// connection of the command is made past a provider.
pub(crate) struct Scope {
    proxies: Proxies,
    /// What was seen.
    pub(crate) book: TrailBook,
    /// Who is who.
    pub(crate) names: Names,
    app: CgroupDir,
    run: OwnedCgroup,
    engine: Box<dyn Engine>,
    /// Last: it looks whether anything was left.
    _reaper: Reaper,
}

impl std::fmt::Debug for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").field("run", &self.run).finish_non_exhaustive()
    }
}

/// How to open a scope.
#[derive(Debug)]
pub(crate) struct ScopeOptions<'a> {
    /// The engine.
    pub(crate) engine: EngineChoice,
    /// Cgroup below which the run's is made; this process's own when nothing is said.
    pub(crate) parent: Option<&'a Path>,
    /// The signals of this process.
    pub(crate) signals: &'a Signals,
}

impl Scope {
    /// Makes the cgroups, loads the policy and starts the proxies; returns when all of them listen.
    pub(crate) fn open(config: &Config, options: &ScopeOptions<'_>) -> Result<Self, Failure> {
        doctor::ready()?;
        let mount = Mount::find()?;
        let path = run_path(&mount, options.parent)?;
        let reaper = Reaper::start(&path)?;
        let run = OwnedCgroup::create(path)?;
        let app = run.child(APP)?;
        let (list, commands) = supervised(config, &run, &mount, options.signals)?;
        let resolution = resolve(config, &commands)?;
        for warning in config.warnings.iter().chain(&resolution.warnings) {
            output::warning(warning);
        }
        let mut engine = open_engine(options.engine)?;
        engine.load_policy(&resolution.resolved)?;
        engine.attach(run.dir().path())?;
        members::attach(engine.as_mut(), config, &mount, run.dir().path())?;
        let mut names = Names::default();
        names.add(config);
        let book = TrailBook::new(TRAILS);
        let proxies = Proxies::new(list);
        let mut scope = Self { proxies, book, names, app, run, engine, _reaper: reaper };
        scope.await_proxies(options.signals)?;
        Ok(scope)
    }

    /// Where the command belongs.
    pub(crate) const fn app(&self) -> &CgroupDir {
        &self.app
    }

    /// Waits a moment, fetches events and tends the proxies.
    pub(crate) fn tick(&mut self, signals: &Signals) -> Result<(), Failure> {
        signals.wait(&[self.engine.event_fd()], TICK);
        self.fetch()?;
        for (provider, notice) in self.proxies.tick(Instant::now())? {
            proxies::tell(&provider, &notice);
        }
        Ok(())
    }

    /// Ends what the command left running and fetches the last events; gives the number of processes ended and
    /// of events that were lost.
    pub(crate) fn finish(&mut self) -> Result<(usize, u64), Failure> {
        let left = self.app.subtree_processes().len();
        self.app.kill()?;
        while self.fetch()? > 0 {}
        Ok((left, self.engine.counters()?.events_lost))
    }

    /// Ends the proxies and removes everything, telling what cannot be removed.
    pub(crate) fn close(mut self) -> Result<(), Failure> {
        self.proxies.stop();
        let Self { run, engine, .. } = self;
        let ended = run.end();
        drop(engine);
        Ok(ended?)
    }

    fn fetch(&mut self) -> Result<usize, Failure> {
        let events = self.engine.events(Duration::ZERO)?;
        for event in &events {
            self.book.add(event);
        }
        Ok(events.len())
    }

    fn await_proxies(&mut self, signals: &Signals) -> Result<(), Failure> {
        let begun = Instant::now();
        while !self.proxies.all_listen() {
            for (provider, notice) in self.proxies.tick(Instant::now())? {
                if let Notice::Deaf { .. } | Notice::NotStarted { .. } | Notice::Died { .. } =
                    notice
                {
                    self.proxies.stop();
                    return Err(hopeless(&provider, &notice));
                }
            }
            if let Some(received) = interrupted(signals) {
                self.proxies.stop();
                return Err(Failure::new(format!(
                    "ended by {received} before the command was started"
                )));
            }
            if begun.elapsed() > PATIENCE * 2 {
                return Err(Failure::new("the proxies do not come up"));
            }
            if !self.proxies.all_listen() {
                signals.wait(&[], Duration::from_millis(5));
            }
        }
        Ok(())
    }
}

/// Before the command runs there is nothing to keep alive for a proxy that cannot work.
fn hopeless(provider: &str, notice: &Notice) -> Failure {
    Failure::new(match notice {
        Notice::Died { status, .. } => format!(
            "provider {provider}: its command ended{} before it listened; try it by itself",
            status.map(|status| format!(" with {status}")).unwrap_or_default()
        ),
        Notice::NotStarted { error, .. } => format!("provider {provider}: {error}"),
        other => format!("provider {provider}: {other}"),
    })
}

fn interrupted(signals: &Signals) -> Option<nix::sys::signal::Signal> {
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    std::iter::from_fn(|| signals.next())
        .map(|received| received.signal)
        .find(|signal| matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM))
}

fn run_path(mount: &Mount, parent: Option<&Path>) -> Result<PathBuf, Failure> {
    let parent = match parent {
        Some(parent) => CgroupDir::open(mount.absolute(parent))?,
        None => mount
            .of_process(std::process::id())
            .map_err(|e| Failure::os("cannot read the cgroup of this process", e))?,
    };
    Ok(parent.path().join(format!("{PREFIX}{}", std::process::id())))
}

/// The proxies to run, each with a cgroup that is there already, so that its members are known.
type Supervised = (Vec<Proxy>, BTreeMap<String, Cgroup>);

fn supervised(
    config: &Config,
    run: &OwnedCgroup,
    mount: &Mount,
    signals: &Signals,
) -> Result<Supervised, Failure> {
    let (mut list, mut commands) = (Vec::new(), BTreeMap::new());
    for provider in &config.providers {
        let Some(spec) = proxies::spec(provider) else {
            members::warn(provider);
            continue;
        };
        let dir = run.child(&format!("provider-{}", provider.name))?;
        commands.insert(provider.name.clone(), members::ids(mount, &dir)?);
        list.push(Proxy::new(spec, dir, Output::Piped, signals.before(), Instant::now()));
    }
    Ok((list, commands))
}
