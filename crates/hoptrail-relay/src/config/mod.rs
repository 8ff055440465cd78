//! What a relay is told: typed settings, from the command line and from a TOML file.
//!
//! Every setting is defined once, in [`FIELDS`]: its name is the key in the file and the option of `hoptrail relay`.

mod default;
mod fields;
mod file;
mod place;
#[cfg(test)]
pub(crate) mod reference;
mod values;
mod whole;

pub use fields::{FIELDS, Field, Group, Set};
pub use file::{File, FileError};
pub use place::{Problem, Source};

use crate::watch::OnMatch;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// Settings of one relay, without its rules, which may be replaced while it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where it listens, TCP and UDP alike, as far as [`transports`](Self::transports) says; at least one.
    pub listen: Vec<SocketAddr>,
    /// TCP, UDP or both.
    pub transports: Transports,
    /// Where connections go that were made to the listener itself; nothing: such connections are reset.
    pub forward: Option<SocketAddr>,
    /// Worker threads; nothing: as many as [`workers`](Self::workers) says.
    pub threads: Option<NonZeroUsize>,
    /// The most connections and flows at a time; nothing: as many as descriptors allow.
    pub max_connections: Option<NonZeroUsize>,
    /// How much of each connection is looked at.
    pub inspect: Inspect,
    /// The bytes for which everything that passes is searched, with [`Inspect::All`].
    pub watch: Vec<Vec<u8>>,
    /// What happens when they are seen.
    pub on_match: OnMatch,
    /// Whether a worker may look for events for a moment before it sleeps.
    pub spin: Spinning,
    /// Which congestion control TCP sockets are given.
    pub congestion: Congestion,
    /// How long a client's first bytes are waited for when a rule needs the name in them.
    pub patience: Duration,
    /// Another proxy through which destinations are reached, as a URL.
    pub upstream: Option<String>,
    /// The header that is sent to the destination before anything else.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long a connection attempt to the upstream may take.
    pub connect_timeout: Duration,
    /// After how long without a byte in either direction a TCP connection is reset; nothing: never.
    pub idle: Option<Duration>,
    /// The same once one side has finished sending.
    pub half_closed_idle: Option<Duration>,
    /// After how long without a datagram a UDP flow is forgotten.
    pub udp_idle: Duration,
    /// The most UDP flows at a time.
    pub udp_sessions: NonZeroUsize,
    /// How long open connections may go on after the relay was told to stop.
    pub drain: Duration,
    /// What is written to standard output when a connection ends.
    pub log: LogFormat,
    /// Where metrics are served; nothing: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Whether a terminal on standard error shows a live line.
    pub live: Live,
}

/// Which transports a relay takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transports {
    /// TCP connections.
    pub tcp: bool,
    /// UDP flows.
    pub udp: bool,
}

/// How much of each connection is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inspect {
    /// The first bytes, to recognise protocol and name; after that data pass by the cheapest way.
    First,
    /// Every byte, for the patterns of [`watch`](Config::watch).
    All,
    /// Nothing, except where a rule has to know protocol or name.
    None,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// The binary header, with the trail in TLVs.
    V2,
}

/// What is written when a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object on a line.
    Json,
    /// Nothing.
    None,
}

/// Whether a worker may look for events for a moment before it sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spinning {
    /// Where the last waits were short.
    Auto,
    /// Never.
    Never,
}

/// Which congestion control TCP sockets are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Congestion {
    /// On loopback one that does not pace, elsewhere the system's.
    Auto,
    /// Everywhere the system's.
    System,
}

/// Whether there is a live line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Live {
    /// When standard error is a terminal.
    Auto,
    /// Never.
    Never,
}
