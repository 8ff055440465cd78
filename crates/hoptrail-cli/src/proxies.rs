//! The proxies that hoptrail runs: all of a configuration's, with what they print and what befalls them.

use crate::failure::Failure;
use crate::output::{self, NAME, paint};
use hoptrail_core::image::Action;
use hoptrail_core::{Endpoint, Protocol};
use hoptrail_engine::config::Provider;
use hoptrail_engine::host::listen::{HERE, Listeners};
use hoptrail_engine::host::supervise::{Notice, Proxy, ProxySpec};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A proxy that prints without end and without line ends must not fill our memory.
const LONGEST_LINE: u64 = 16 * 1024;

/// What a proxy may take to finish when it is asked to end: its connections are over, and it may have something to tell.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    list: Vec<Proxy>,
    pumps: Vec<JoinHandle<()>>,
}

/// What is to be run for a provider; nothing when somebody else runs its proxy.
pub(crate) fn spec(provider: &Provider) -> Option<ProxySpec> {
    let command = provider.command.clone()?;
    Some(ProxySpec { provider: provider.name.clone(), command, listen: listen(provider) })
}

/// Where a provider's proxy must listen before it can be used. UDP is waited for only when no filter
/// redirects TCP, because both are redirected by default and most proxies hear TCP only.
fn listen(provider: &Provider) -> Vec<(Protocol, Endpoint)> {
    if !provider.needs_proxy() {
        return Vec::new();
    }
    let mut redirects = provider.filters.iter().filter(|f| f.action == Action::Redirect).peekable();
    let tcp = redirects.peek().is_none() || redirects.any(|filter| filter.tcp);
    let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
    let places = provider.listen_v4.iter().chain(provider.listen_v6.iter());
    places.map(|at| (protocol, Endpoint::from(*at))).collect()
}

impl Proxies {
    /// Those of `list`.
    pub(crate) fn new(list: Vec<Proxy>) -> Self {
        Self { list, pumps: Vec::new() }
    }

    /// Each of them.
    pub(crate) fn list(&self) -> &[Proxy] {
        &self.list
    }

    /// Each of them, to be changed.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Proxy> {
        &mut self.list
    }

    /// Whether all run and listen.
    pub(crate) fn all_listen(&self) -> bool {
        self.list.iter().all(Proxy::listens)
    }

    /// Does what is due and gives what happened, by provider.
    pub(crate) fn tick(&mut self, now: Instant) -> Result<Vec<(String, Notice)>, Failure> {
        let listeners = self.listeners()?;
        let mut notices = Vec::new();
        for proxy in &mut self.list {
            while let Some(mut notice) = proxy.tick(now, &listeners) {
                let name = proxy.spec().provider.clone();
                let started = matches!(notice, Notice::Started { .. });
                if let Notice::Started { output, .. } = &mut notice
                    && let Some((stdout, stderr)) = output.take()
                {
                    self.pumps.push(pump(name.clone(), stdout));
                    self.pumps.push(pump(name.clone(), stderr));
                }
                notices.push((name, notice));
                // Where it listens was looked up while the one before it may still have listened.
                if started {
                    break;
                }
            }
        }
        Ok(notices)
    }

    /// Ends them all, and waits until everything they printed is printed.
    pub(crate) fn stop(&mut self) {
        for proxy in &self.list {
            proxy.cgroup().terminate();
        }
        let asked = Instant::now();
        while self.list.iter().any(|p| p.cgroup().populated()) && asked.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(2));
        }
        for proxy in &mut self.list {
            proxy.stop(Instant::now());
        }
        for pump in self.pumps.drain(..) {
            let _ = pump.join();
        }
    }

    fn listeners(&self) -> Result<Listeners, Failure> {
        if self.all_listen() {
            return Ok(Listeners::default());
        }
        Listeners::read(Path::new(HERE)).map_err(|e| Failure::os(format!("cannot read {HERE}"), e))
    }
}

/// Makes a line of what a proxy prints into a line of ours.
fn pump(provider: String, from: impl Read + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            let _ = writeln!(
                anstream::stderr().lock(),
                "{} {}",
                paint(NAME, format!("{provider}:")),
                text.trim_end_matches(['\n', '\r'])
            );
            line.clear();
        }
    })
}

/// Tells the user what happened to a proxy, if it is worth telling.
pub(crate) fn tell(provider: &str, notice: &Notice) {
    match notice {
        Notice::Started { .. } | Notice::Adopted { .. } | Notice::Listening { .. } => {}
        Notice::Deaf { .. } | Notice::Died { .. } | Notice::NotStarted { .. } => {
            output::warning(format!("provider {provider}: {notice}"));
        }
    }
}
