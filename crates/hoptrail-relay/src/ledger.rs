//! The ledger of one relayed connection: who, where to, what was found, how many bytes, how it ended.
//! It is told once when the connection opens and once when it ends, also when it is dropped in between.

use crate::inspect::Finding;
use crate::rules::RuleId;
use hoptrail::TrailId;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The application at the start of a trail, shared by all its connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Application {
    /// Process id, as the initial pid namespace counts.
    pub pid: u32,
    /// When it started, in nanoseconds since boot.
    pub start_ns: u64,
    /// User.
    pub uid: u32,
    /// Its executable, when the kernel could tell.
    pub exe: Option<PathBuf>,
    /// Name of its main thread.
    pub name: String,
}

/// TCP or UDP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// A connection.
    Tcp,
    /// A flow of datagrams.
    Udp,
}

/// What is known of one connection or flow. A session keeps the same in less memory: `session/entry.rs`.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// TCP or UDP.
    pub transport: Transport,
    /// When it was accepted, in nanoseconds of `CLOCK_MONOTONIC`.
    pub opened_ns: u64,
    /// The accepted socket's peer: the application, or the proxy of the hop before.
    pub peer: SocketAddr,
    /// Where the connection is dialled to: what the redirected connect asked for.
    pub destination: SocketAddr,
    /// Who asked first; nothing without an engine.
    pub application: Option<Arc<Application>>,
    /// The trail; nothing without an engine.
    pub trail: Option<TrailId>,
    /// Hops made so far, this relay's own included; 0 without an engine.
    pub hops: u8,
    /// What was recognised in the first bytes.
    pub finding: Option<Box<Finding>>,
    /// The rule that decided; nothing where the default did.
    pub rule: Option<RuleId>,
    /// That rule has it relayed no faster than a rate.
    pub throttled: bool,
    /// The watched pattern that was seen first, from 1 in the order of the configuration.
    pub watched: Option<u16>,
    /// Bytes that the client sent and the upstream was given.
    pub from_client: u64,
    /// Bytes that the upstream sent and the client was given.
    pub from_upstream: u64,
}

impl Ledger {
    /// When nothing is known but that it is there.
    pub(crate) const fn new(
        transport: Transport,
        opened_ns: u64,
        peer: SocketAddr,
        destination: SocketAddr,
    ) -> Self {
        Self {
            transport,
            opened_ns,
            peer,
            destination,
            application: None,
            trail: None,
            hops: 0,
            finding: None,
            rule: None,
            throttled: false,
            watched: None,
            from_client: 0,
            from_upstream: 0,
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum End {
    /// Both sides had nothing more to say.
    Closed,
    /// The client reset it; so was the upstream.
    ClientReset,
    /// The upstream reset it; so was the client.
    UpstreamReset,
    /// Nothing moved for the idle time; both were reset.
    Idle,
    /// A rule denied it.
    Denied,
    /// The upstream could not be reached; the client saw a reset.
    Unreachable(Cause),
    /// It was made to the listener's own port: there is nowhere to dial.
    Direct,
    /// The relay was told to stop, and the deadline had passed; both were reset.
    Drained,
    /// Something failed in the relay itself.
    Failed(Cause),
}

/// Which step failed, and with which errno (0 when it was no system call).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cause {
    /// The step.
    pub step: Step,
    /// The system's error number, or 0.
    pub errno: i32,
}

impl Cause {
    pub(crate) fn of(step: Step, errno: rustix::io::Errno) -> Self {
        Self { step, errno: errno.raw_os_error() }
    }

    /// What the library could not do, which may be no system call's failure.
    pub(crate) fn of_library(step: Step, error: &hoptrail::Error) -> Self {
        Self { step, errno: error.errno().unwrap_or(0) }
    }
}

/// Steps of a connection's life that can fail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Asking for records and context.
    Query,
    /// Opening the upstream socket and setting the records.
    Open,
    /// Connecting.
    Connect,
    /// Talking to the upstream proxy (SOCKS5, HTTP CONNECT).
    Handshake,
    /// Copying.
    Copy,
}

/// Who is told of connections. Calls come from worker threads and must not block.
pub trait Observer: Send + Sync {
    /// It was accepted, and its origin is known.
    fn opened(&self, ledger: &Ledger);
    /// It ended. Called once for each that was opened, and for accepted ones that never were.
    fn ended(&self, ledger: &Ledger, end: End);
    /// Accepting was paused, since descriptors or memory ran out (`true`), or goes on (`false`).
    fn accepting_paused(&self, paused: bool);
}
