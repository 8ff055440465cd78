//! A running relay: its workers, and the handle to them.

use crate::config::Config;
use crate::counters::Counters;
use crate::ledger::Observer;
use crate::listen;
use crate::rules::Rules;
use crate::shared::{Places, Shared};
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
}

/// Why a relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened at.
    #[error("cannot listen at {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// Threads or descriptors have run out.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] io::Error),
}

impl Relay {
    /// Listens and starts the workers. `upstream` is how destinations are reached.
    ///
    /// # Errors
    /// When an address cannot be listened at, or a thread cannot be started.
    pub fn start(
        config: Config,
        upstream: Upstream,
        rules: Arc<Rules>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, StartError> {
        let wanted = if config.transports.tcp { &*config.listen } else { &[] };
        let listeners = wanted
            .iter()
            .map(|&at| listen::tcp(at).map_err(|error| StartError::Listen(at, error)))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().map(|(_, at)| *at).collect();
        let listeners = listeners.into_iter().map(|(listener, _)| listener).collect();
        let workers = config.workers().get();
        let places = Places::new(places(&config, workers));
        let shared = Shared::new(config, upstream, listeners, rules, observer, places)?;
        let mut relay =
            Self { shared: Arc::new(shared), counters: Vec::new(), workers: Vec::new(), addresses };
        for n in 0..workers {
            // The workers that run already are told to stop by `drain`, not by this error.
            if let Err(error) = relay.start_worker(n) {
                relay.drain(Duration::ZERO);
                return Err(error.into());
            }
        }
        Ok(relay)
    }

    /// Where it listens for TCP, in the order of the configuration, with the ports that were chosen
    /// where it says 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What each worker counts.
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
            ended += worker.join().map_err(|_| io::Error::other("a worker has panicked"))??;
        }
        Ok(ended)
    }

    /// Workers that have not ended: all of them before [`drain`](Self::drain), unless one has failed.
    #[must_use]
    pub fn working(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.is_finished()).count()
    }

    fn start_worker(&mut self, n: usize) -> io::Result<()> {
        let counters = Arc::new(Counters::default());
        let worker = Worker::new(Arc::clone(&self.shared), Arc::clone(&counters))?;
        let thread = Builder::new().name(format!("relay-{n}")).spawn(|| worker.run())?;
        self.workers.push(thread);
        self.counters.push(counters);
        Ok(())
    }
}

/// Two descriptors for each connection, and some for the rest.
fn places(config: &Config, workers: usize) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let other = OTHER_DESCRIPTORS + 4 * workers as u64;
    let possible = usize::try_from(descriptors.saturating_sub(other) / 2).unwrap_or(usize::MAX);
    config.max_connections.map_or(possible, |most| most.get().min(possible)).max(1)
}
