//! The daemon's work without its verbs: one configuration in force, its proxies running, its names kept up to date.

use crate::control::Server;
use crate::daemon::DaemonArgs;
use crate::engines::open_pinned;
use crate::failure::Failure;
use crate::log::Level;
use crate::members;
use crate::notify;
use crate::pinlock::PinLock;
use crate::proxies::{self, Proxies};
use crate::rundir::{ProviderState, RunDir, State};
use crate::trail::Names;
use crate::wrap::Signals;
use hoptrail_core::compile::{Cgroup, handle_of};
use hoptrail_engine::Engine as _;
use hoptrail_engine::config::{Config, Provider, Resolution, resolve};
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount};
use hoptrail_engine::host::doctor;
use hoptrail_engine::host::supervise::{Notice, Output, Proxy, ProxySpec};
use hoptrail_engine::host::watch::{Change, Watcher};
use hoptrail_engine::kernel::KernelEngine;
use nix::sys::signal::SigSet;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Below the daemon's cgroup, the cgroup of its proxies. They are apart from the daemon's own cgroup so that they
/// outlive it.
const PROXIES: &str = "hoptrail-proxies";

/// One configuration in force.
pub(crate) struct Steward<'a> {
    args: &'a DaemonArgs,
    dir: &'a RunDir,
    mount: Mount,
    cgroup: CgroupDir,
    signals: SigSet,
    engine: KernelEngine,
    config: Config,
    generation: u64,
    proxies: Proxies,
    names: Names,
    watcher: Watcher,
    _pins: PinLock,
}

impl<'a> Steward<'a> {
    /// Puts the configuration in force and starts, or takes over, its proxies. `signals` is the mask they begin with.
    pub(crate) fn open(
        args: &'a DaemonArgs,
        dir: &'a RunDir,
        signals: SigSet,
    ) -> Result<Self, Failure> {
        doctor::ready()?;
        let config = Config::load(&args.config.config)?;
        let mount = Mount::find()?;
        let cgroup = CgroupDir::open(mount.absolute(&args.cgroup))?;
        let commands = make_cgroups(&config, &cgroup, &mount)?;
        let resolution = resolve(&config, &commands)?;
        let pins = PinLock::make(&args.pins)?;
        let mut engine = open_pinned(args.pins.clone())?;
        let generation = engine.load_policy(&resolution.resolved)?;
        engine.attach(cgroup.path())?;
        members::attach(&mut engine, &config, &mount, cgroup.path())?;
        engine.detach_others()?;
        let watcher = watch(&resolution, &cgroup)?;
        let mut steward = Self {
            args,
            dir,
            mount,
            cgroup,
            signals,
            engine,
            config: Config::default(),
            generation,
            proxies: Proxies::default(),
            names: Names::default(),
            watcher,
            _pins: pins,
        };
        // A state that cannot be read is that of another version: then whatever runs is taken over.
        let former = dir.state().unwrap_or(None);
        if let Some(former) = &former {
            steward.end_elsewhere(&former.proxies);
        }
        steward.switch_proxies(&config, former.as_ref())?;
        steward.adopt(config, &resolution, generation);
        Ok(steward)
    }

    /// Reads the configuration again and switches to it; gives the new generation. When it is wrong, nothing
    /// changes.
    pub(crate) fn reload(&mut self) -> Result<u64, Failure> {
        notify::reloading();
        let done = self.try_reload();
        match &done {
            Ok(_) => self.say(Level::Info, format!("reloaded: {}", self.summary())),
            Err(failure) => {
                let kept = format!(
                    "not reloaded, generation {} stays in force: {failure}",
                    self.generation
                );
                self.say(Level::Error, kept);
                self.remove_others(&self.config);
            }
        }
        notify::ready(&self.summary());
        done
    }

    /// Waits for something to do.
    pub(crate) fn wait(&self, signals: &Signals, control: &Server, pause: Duration) {
        signals.wait(&[control.as_fd(), self.watcher.as_fd(), self.engine.event_fd()], pause);
    }

    /// Fetches events, tends the proxies, follows replaced files.
    pub(crate) fn tick(&mut self) -> Result<(), Failure> {
        let events = self.engine.events(Duration::ZERO)?;
        for event in &events {
            self.args.log_format.event(event, &self.names);
        }
        for (provider, notice) in self.proxies.tick(Instant::now())? {
            self.tell(&provider, &notice);
        }
        let changed = self
            .watcher
            .change(Instant::now())
            .map_err(|e| Failure::os("cannot watch for changes", e))?;
        if changed == Change::Settled
            && let Err(failure) = self.resolve_again()
        {
            self.say(
                Level::Error,
                format!("names have changed, but the old policy stays: {failure}"),
            );
        }
        Ok(())
    }

    /// The policy's generation.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether every proxy of ours listens.
    pub(crate) fn all_listen(&self) -> bool {
        self.proxies.all_listen()
    }

    /// One line on what is in force.
    pub(crate) fn summary(&self) -> String {
        let filters: usize =
            self.config.providers.iter().map(|provider| provider.filters.len()).sum();
        format!(
            "generation {} with {} providers and {filters} filters acts on {}",
            self.generation,
            self.config.providers.len(),
            self.mount.relative(self.cgroup.path()).display(),
        )
    }

    fn try_reload(&mut self) -> Result<u64, Failure> {
        let config = Config::load(&self.args.config.config)?;
        let commands = make_cgroups(&config, &self.cgroup, &self.mount)?;
        let resolution = resolve(&config, &commands)?;
        self.switch_policy(&config, &resolution)?;
        self.switch_proxies(&config, None)?;
        self.adopt(config, &resolution, self.generation);
        Ok(self.generation)
    }

    fn resolve_again(&mut self) -> Result<(), Failure> {
        let commands = make_cgroups(&self.config, &self.cgroup, &self.mount)?;
        let resolution = resolve(&self.config, &commands)?;
        let config = std::mem::take(&mut self.config);
        let switched = self.switch_policy(&config, &resolution);
        self.config = config;
        switched?;
        for warning in &resolution.warnings {
            self.say(Level::Warning, warning);
        }
        self.say(Level::Info, format!("executables or cgroups have changed: {}", self.summary()));
        self.save();
        Ok(())
    }

    /// Everything that can fail comes before the switch, so that a failure means the old policy.
    fn switch_policy(&mut self, config: &Config, resolution: &Resolution) -> Result<(), Failure> {
        let watcher = watch(resolution, &self.cgroup)?;
        // Our own cgroup may have been made anew, as those of services are.
        self.engine.attach(self.cgroup.path())?;
        // Where members live is attached first: seen without need harms nothing, unseen would.
        members::attach(&mut self.engine, config, &self.mount, self.cgroup.path())?;
        self.generation = self.engine.load_policy(&resolution.resolved)?;
        self.watcher = watcher;
        Ok(())
    }

    /// Makes `config` the one in force, now that kernel and proxies have it.
    fn adopt(&mut self, config: Config, resolution: &Resolution, generation: u64) {
        for warning in config.warnings.iter().chain(&resolution.warnings) {
            self.say(Level::Warning, warning);
        }
        self.names.add(&config);
        self.config = config;
        self.generation = generation;
        self.save();
    }

    fn save(&self) {
        if let Err(failure) = self.dir.save(&self.state()) {
            self.say(
                Level::Warning,
                format!("{failure}; `providers` will not show what is in force"),
            );
        }
    }

    /// Keeps the proxies whose command is the same, ends those that are not wanted any more, and adds the new ones.
    /// After a start, `former` is what the daemon before had: what runs with the same command is taken over.
    fn switch_proxies(&mut self, config: &Config, former: Option<&State>) -> Result<(), Failure> {
        let wanted: Vec<ProxySpec> = config.providers.iter().filter_map(proxies::spec).collect();
        let now = Instant::now();
        self.proxies.list_mut().retain_mut(|proxy| {
            let keep = wanted.iter().any(|spec| same(spec, proxy.spec()));
            if !keep {
                proxy.stop(now);
            }
            keep
        });
        for spec in wanted {
            if self.proxies.list().iter().any(|proxy| proxy.spec().provider == spec.provider) {
                continue;
            }
            let proxy = self.begin(spec, former, now)?;
            self.proxies.list_mut().push(proxy);
        }
        self.remove_others(config);
        Ok(())
    }

    fn begin(
        &self,
        spec: ProxySpec,
        former: Option<&State>,
        now: Instant,
    ) -> Result<Proxy, Failure> {
        let dir = CgroupDir::create(proxy_path(&self.cgroup, &spec.provider))?;
        let before =
            former.and_then(|state| state.providers.iter().find(|p| p.name == spec.provider));
        let unchanged =
            before.is_none_or(|provider| provider.command.as_ref() == Some(&spec.command));
        let name = spec.provider.clone();
        let mut proxy = Proxy::new(spec, dir, Output::Inherited, self.signals, now);
        if unchanged && let Some(notice) = proxy.adopt(now) {
            self.tell(&name, &notice);
        }
        Ok(proxy)
    }

    /// Cgroups of providers that are no longer configured, from before a reload or a restart.
    fn remove_others(&self, config: &Config) {
        let Ok(entries) = std::fs::read_dir(self.cgroup.path().join(PROXIES)) else { return };
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            let wanted = |provider: &Provider| {
                provider.command.is_some() && proxy_path(&self.cgroup, &provider.name) == path
            };
            if !config.providers.iter().any(wanted)
                && let Err(error) =
                    CgroupDir::open(&path).and_then(|dir| dir.kill().and_then(|()| dir.remove()))
            {
                self.say(Level::Warning, error);
            }
        }
    }

    /// Proxies of a daemon that acted on another cgroup: their provider is asked there no more, and they would hold the
    /// ports of ours.
    fn end_elsewhere(&self, proxies: &Path) {
        if proxies == self.cgroup.path().join(PROXIES) || !is_proxies_cgroup(proxies) {
            return;
        }
        let Ok(dir) = CgroupDir::open(proxies) else { return };
        if let Err(error) = dir.kill().and_then(|()| dir.remove()) {
            self.say(Level::Warning, error);
        }
    }

    fn state(&self) -> State {
        State {
            pid: std::process::id(),
            config: std::path::absolute(&self.args.config.config)
                .unwrap_or_else(|_| self.args.config.config.clone()),
            cgroup: self.cgroup.path().to_owned(),
            proxies: self.cgroup.path().join(PROXIES),
            pins: self.args.pins.clone(),
            generation: self.generation,
            providers: self
                .config
                .providers
                .iter()
                .map(|provider| provider_state(provider, &self.cgroup))
                .collect(),
        }
    }

    fn tell(&self, provider: &str, notice: &Notice) {
        let level = match notice {
            Notice::Started { .. } | Notice::Adopted { .. } | Notice::Listening { .. } => {
                Level::Info
            }
            Notice::Deaf { .. } | Notice::Died { .. } | Notice::NotStarted { .. } => Level::Error,
        };
        self.say(level, format!("provider {provider}: {notice}"));
    }

    fn say(&self, level: Level, message: impl std::fmt::Display) {
        self.args.log_format.say(level, message);
    }
}

fn proxy_path(cgroup: &CgroupDir, provider: &str) -> PathBuf {
    cgroup.path().join(PROXIES).join(format!("provider-{provider}"))
}

fn same(a: &ProxySpec, b: &ProxySpec) -> bool {
    (&a.provider, &a.command, &a.listen) == (&b.provider, &b.command, &b.listen)
}

fn watch(resolution: &Resolution, cgroup: &CgroupDir) -> Result<Watcher, Failure> {
    let names = resolution.watch.iter().map(PathBuf::as_path);
    Watcher::new(names.chain([cgroup.path()]))
        .map_err(|e| Failure::os("cannot watch executables and cgroups for changes", e))
}

/// The cgroups of the proxies that hoptrail runs, made before names are resolved so that their ids are known.
fn make_cgroups(
    config: &Config,
    cgroup: &CgroupDir,
    mount: &Mount,
) -> Result<BTreeMap<String, Cgroup>, Failure> {
    let mut commands = BTreeMap::new();
    for provider in config.providers.iter().filter(|provider| provider.command.is_some()) {
        let dir = CgroupDir::create(proxy_path(cgroup, &provider.name))?;
        commands.insert(provider.name.clone(), members::ids(mount, &dir)?);
    }
    Ok(commands)
}

fn provider_state(provider: &Provider, cgroup: &CgroupDir) -> ProviderState {
    ProviderState {
        name: provider.name.clone(),
        handle: format!("{:016x}", handle_of(provider.guid.into_bytes())),
        guid: provider.guid.to_string(),
        rank: provider.rank.value,
        listen: provider.listen_v4.into_iter().chain(provider.listen_v6).collect(),
        on_unavailable: provider.on_unavailable.name().to_owned(),
        filters: provider.filters.len(),
        command: provider.command.clone(),
        cgroup: provider.command.is_some().then(|| proxy_path(cgroup, &provider.name)),
    }
}

/// Whether `path` may hold proxies of a daemon: what `cleanup` may end.
pub(crate) fn is_proxies_cgroup(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == PROXIES)
}
