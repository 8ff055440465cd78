//! What holds when nothing is said. The table's texts are checked against it.

use super::{Config, Congestion, Inspect, Live, LogFormat, Spinning, Transports};
use crate::watch::OnMatch;
use std::num::NonZeroUsize;
use std::time::Duration;

/// More threads than this have not been seen to help, and each costs a listener and its buffers.
const MOST_WORKERS: usize = 4;

impl Default for Config {
    /// All but `listen`, which has no default.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            transports: Transports { tcp: true, udp: true },
            forward: None,
            threads: None,
            max_connections: None,
            inspect: Inspect::First,
            watch: Vec::new(),
            on_match: OnMatch::Note,
            spin: Spinning::Auto,
            congestion: Congestion::Auto,
            patience: Duration::from_secs(2),
            upstream: None,
            proxy_protocol: None,
            connect_timeout: Duration::from_secs(30),
            idle: None,
            half_closed_idle: Some(Duration::from_secs(3600)),
            udp_idle: Duration::from_secs(60),
            udp_sessions: const { NonZeroUsize::new(8192).expect("not zero") },
            drain: Duration::from_secs(10),
            log: LogFormat::Text,
            metrics: None,
            live: Live::Auto,
        }
    }
}

impl Config {
    /// How many worker threads that makes on this machine.
    #[must_use]
    pub fn workers(&self) -> NonZeroUsize {
        self.threads.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            cores.min(const { NonZeroUsize::new(MOST_WORKERS).expect("not zero") })
        })
    }
}
