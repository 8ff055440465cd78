//! Metrics for Prometheus: what is counted, how it is written, and the server that hands it out.

mod answer;
mod client;
mod exposition;
mod process;
mod server;
mod table;

pub use server::Server;

use super::Observation;
use crate::counters::Counters;
use crate::udp::UdpCounts;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// All that metrics are made of.
#[derive(Clone, Debug)]
pub struct Metrics {
    observation: Arc<Observation>,
    counters: Vec<Arc<Counters>>,
    udp: Option<Arc<UdpCounts>>,
    started: SystemTime,
}

impl Metrics {
    /// Of a relay that starts now.
    #[must_use]
    pub fn new(observation: Arc<Observation>, counters: &[Arc<Counters>]) -> Self {
        let counters = counters.to_vec();
        Self { observation, counters, udp: None, started: SystemTime::now() }
    }

    /// With what the UDP thread counts beyond that.
    #[must_use]
    pub fn with_udp(self, counts: Arc<UdpCounts>) -> Self {
        Self { udp: Some(counts), ..self }
    }

    /// The text format of Prometheus, version 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        exposition::text(table::METRICS, self)
    }

    fn sum(&self, which: fn(&Counters) -> &AtomicU64) -> u64 {
        self.counters.iter().map(|worker| which(worker).load(Relaxed)).fold(0, u64::wrapping_add)
    }
}
