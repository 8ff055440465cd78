//! A running relay: its workers, and the handle to them.

use crate::config::{Config, Inspect};
use crate::congestion::OnLoopback;
use crate::counters::Counters;
use crate::ledger::Observer;
use crate::listen;
use crate::rules::Rules;
use crate::shared::{Places, Shared};
use crate::tap::Taps;
use crate::udp::{self, Served, UdpConfig, UdpCounts, UdpError};
use crate::upstream::Upstream;
use crate::worker::{Ended, Worker};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Descriptors that are not connections': standard streams, listeners, epolls, pipes, logs.
const OTHER_DESCRIPTORS: u64 = 64;

/// A running relay. Dropping it does not stop it: [`drain`](Self::drain) and [`wait`](Self::wait).
pub struct Relay {
    shared: Arc<Shared>,
    counters: Vec<Arc<Counters>>,
    workers: Vec<JoinHandle<io::Result<Ended>>>,
    addresses: Vec<SocketAddr>,
    udp: Option<Udp>,
}

/// The thread of UDP.
struct Udp {
    thread: JoinHandle<Result<Served, UdpError>>,
    counts: Arc<UdpCounts>,
}

/// What a relay works with besides its settings.
pub struct Parts {
    /// How destinations are reached.
    pub upstream: Upstream,
    /// The rules at the beginning.
    pub rules: Arc<Rules>,
    /// Who is told of connections.
    pub observer: Arc<dyn Observer>,
    /// Who sees all their bytes; nothing: bulk data never enter user space.
    pub taps: Option<Arc<dyn Taps>>,
}

/// Why a relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened at.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// UDP cannot be relayed in this way.
    #[error("{0}, or relay TCP alone (--protocol tcp)")]
    Udp(#[from] UdpError),
    /// Threads or descriptors have run out.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

impl Relay {
    /// Listens and starts the workers.
    ///
    /// # Errors
    /// When an address cannot be listened at, or a thread cannot be started.
    pub fn start(config: Config, parts: Parts) -> Result<Self, StartError> {
        let on_loopback = OnLoopback::of(config.congestion);
        let wanted = if config.transports.tcp { &*config.listen } else { &[] };
        let listeners = wanted
            .iter()
            .map(|&at| listen::tcp(at, on_loopback).map_err(|error| StartError::Listen(at, error)))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().map(|(_, at)| *at).collect();
        let listeners = listeners.into_iter().map(|(listener, _)| listener).collect();
        let workers = config.workers().get();
        let places = Places::new(places(&config, workers));
        let shared = Shared::new(config, parts, listeners, on_loopback, places)?;
        let (shared, workers, counters) = (Arc::new(shared), Vec::new(), Vec::new());
        let mut relay = Self { shared, counters, workers, addresses, udp: None };
        let started = relay.start_udp().and_then(|()| relay.start_workers());
        // What runs already is told to stop by this, not by the error.
        started.inspect_err(|_| relay.drain(Duration::ZERO))?;
        Ok(relay)
    }

    /// Where it listens for TCP, in the order of the configuration, with the ports that were chosen
    /// where it says 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What happened to datagrams; nothing when UDP is not relayed.
    #[must_use]
    pub fn udp_counts(&self) -> Option<&Arc<UdpCounts>> {
        self.udp.as_ref().map(|udp| &udp.counts)
    }

    /// What each worker counts; the thread of UDP is the first where there is one.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Puts other rules in force, for connections that are decided from now on.
    pub fn set_rules(&self, rules: Arc<Rules>) {
        self.shared.set_rules(rules);
    }

    /// Stops accepting. Open connections may finish for that long, then they are reset. Given again,
    /// the earlier deadline counts.
    pub fn drain(&self, within: Duration) {
        self.shared.drain.begin(within);
    }

    /// Waits until every connection has ended after [`drain`](Self::drain), and says how.
    ///
    /// # Errors
    /// When a worker has failed.
    pub fn wait(self) -> io::Result<Ended> {
        let mut ended = Ended::default();
        for worker in self.workers {
            ended += worker.join().map_err(|_| panicked())??;
        }
        if let Some(udp) = self.udp {
            let served = udp.thread.join().map_err(|_| panicked())?.map_err(io::Error::other)?;
            ended += Ended { finished: served.finished as u64, reset: served.cut as u64 };
        }
        Ok(ended)
    }

    /// Workers that have not ended: all of them before [`drain`](Self::drain), unless one has failed.
    #[must_use]
    pub fn working(&self) -> usize {
        let udp = self.udp.iter().filter(|udp| !udp.thread.is_finished()).count();
        udp + self.workers.iter().filter(|worker| !worker.is_finished()).count()
    }

    /// On the addresses of TCP, with the ports that it has got.
    fn start_udp(&mut self) -> Result<(), StartError> {
        let config = &self.shared.config;
        if !config.transports.udp {
            return Ok(());
        }
        let wanted = if config.transports.tcp { &self.addresses } else { &config.listen };
        let listeners = wanted
            .iter()
            .map(|&at| listen::udp(at).map_err(|error| StartError::Listen(at, error)))
            .collect::<Result<Vec<_>, _>>()?;
        let (counters, counts) = (Arc::new(Counters::default()), Arc::new(UdpCounts::default()));
        self.counters.push(Arc::clone(&counters));
        if !config.transports.tcp {
            let addresses = listeners.iter().map(|udp| udp.as_std().local_addr());
            self.addresses = addresses.collect::<Result<_, _>>()?;
        }
        let (shared, counted) = (Arc::clone(&self.shared), Arc::clone(&counts));
        let config = UdpConfig::of(&shared)?;
        let serve = move || {
            udp::serve(&config, &listeners, &*shared.observer, &counters, &counted, &shared.drain)
        };
        let thread = Builder::new().name("relay-udp".into()).spawn(serve)?;
        self.udp = Some(Udp { thread, counts });
        Ok(())
    }

    fn start_workers(&mut self) -> Result<(), StartError> {
        (0..self.shared.config.workers().get()).try_for_each(|n| Ok(self.start_worker(n)?))
    }

    fn start_worker(&mut self, n: usize) -> io::Result<()> {
        let counters = Arc::new(Counters::default());
        let worker = Worker::new(n, Arc::clone(&self.shared), Arc::clone(&counters))?;
        let thread = Builder::new().name(format!("relay-{n}")).spawn(|| worker.run())?;
        self.workers.push(thread);
        self.counters.push(counters);
        Ok(())
    }
}

fn panicked() -> io::Error {
    io::Error::other("a worker has panicked")
}

impl UdpConfig {
    fn of(shared: &Arc<Shared>) -> Result<Self, StartError> {
        let config = &shared.config;
        if let Upstream::Http(_) = shared.upstream {
            return Err(UdpError::Upstream(shared.upstream.to_string()).into());
        }
        let rules = Arc::clone(shared);
        Ok(Self {
            upstream: shared.upstream.clone(),
            forward: config.forward,
            most_flows: config.udp_sessions.get(),
            idle: config.udp_idle,
            patience: config.connect_timeout,
            inspect: config.inspect != Inspect::None,
            rules: Box::new(move || rules.rules()),
        })
    }
}

/// Two descriptors for each connection, and some for the rest.
fn places(config: &Config, workers: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let other = OTHER_DESCRIPTORS + 5 * workers as u64;
    let possible = usize::try_from(descriptors.saturating_sub(other) / 2).unwrap_or(usize::MAX);
    config.max_connections.map_or(possible, |most| most.get().min(possible)).max(1)
}
