//! The machine that the figures are of.

use serde::Serialize;
use std::fs;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    /// TCP's, in the network namespace of the measurements.
    pub(crate) congestion_control: String,
    /// One minute's, when the run began: more than a few tenths mean a busy machine.
    pub(crate) load: String,
}

/// Read in the network namespace.
pub(crate) fn describe() -> Machine {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = text("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        cpu: cpu.map_or("unknown", |(_, name)| name).trim().to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        congestion_control: text("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned(),
        load: text("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
    }
}
