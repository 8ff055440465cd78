//! The port behind which an engine stands: the kernel's now, an unprivileged one later.

use crate::event::Event;
use hoptrail_core::compile::Policy;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

/// A policy with everything that an engine needs to enforce it.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// Providers with their names resolved; `context` numbers are still zero.
    pub policy: Policy,
    /// Context bytes by provider name, for the providers that have some.
    pub contexts: Vec<(String, Vec<u8>)>,
}

/// An error in words: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    /// The sentence.
    pub message: String,
    /// What the operating system said, if it said something.
    #[source]
    pub source: Option<std::io::Error>,
}

impl EngineError {
    /// From a sentence.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), source: None }
    }

    /// From a sentence and the system's error, which is appended to it.
    pub fn os(message: impl std::fmt::Display, source: std::io::Error) -> Self {
        Self { message: format!("{message}: {source}"), source: Some(source) }
    }
}

/// What an engine counts since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Connects and UDP flows that some filter's address conditions matched.
    pub considered: u64,
    /// Redirects applied.
    pub redirected: u64,
    /// Refused by a block filter.
    pub blocked: u64,
    /// Refused because a listener was gone.
    pub listener_gone: u64,
    /// Refused because the table of redirected connections was full.
    pub table_full: u64,
    /// Redirects refused because the trail had all its hops.
    pub trail_full: u64,
    /// Accepted connections that got their records.
    pub linked: u64,
    /// Redirected connections that could not be linked to what the proxy accepts.
    pub link_failed: u64,
    /// Records set by proxies.
    pub records_set: u64,
    /// Records refused (length, tag, not a member).
    pub records_refused: u64,
    /// Trails adopted for sockets that declared none.
    pub adopted: u64,
    /// Events lost because nobody read them in time.
    pub events_lost: u64,
}

/// An engine that redirects and keeps records.
pub trait Engine {
    /// `kernel`, for people and machines.
    fn name(&self) -> &'static str;

    /// Replaces the policy by one atomic switch and gives the new generation. Open connections and
    /// flows keep what was decided for them.
    ///
    /// # Errors
    /// When the policy does not compile or the kernel refuses it; the old policy then stays.
    fn load_policy(&mut self, resolved: &Resolved) -> Result<u64, EngineError>;

    /// Begins to act on the processes of the cgroup at `path` (an absolute file-system path below the
    /// cgroup2 mount) and everything below it.
    ///
    /// # Errors
    /// When the kernel refuses a program or a link.
    fn attach(&mut self, path: &Path) -> Result<(), EngineError>;

    /// Readable when events wait, for a caller that waits for other things too.
    fn event_fd(&self) -> BorrowedFd<'_>;

    /// Waits up to `timeout` for events and gives what came, oldest first.
    ///
    /// # Errors
    /// When the event channel is broken.
    fn events(&mut self, timeout: Duration) -> Result<Vec<Event>, EngineError>;

    /// The counters.
    ///
    /// # Errors
    /// When they cannot be read.
    fn counters(&self) -> Result<Counters, EngineError>;
}
