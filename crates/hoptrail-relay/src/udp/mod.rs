//! UDP: a session for every flow, bounded in number, in time and in what one of them may take from
//! the others.
//!
//! A flow is what the provider's listener calls a peer. Each has an upstream socket of its own, which
//! carries its records, so that no flow acts under another's name. Datagrams are passed on whole or
//! not at all; every one that is not is counted under its reason ([`Lost`]).

mod associate;
mod backlog;
mod bucket;
mod counts;
mod events;
mod flow;
mod link;
mod looking;
mod open;
mod origin;
mod pass;
mod reply;
mod serve;
mod table;

pub use counts::{Lost, UdpCounts};
pub use serve::{Served, UdpError, serve};

use crate::rules::Rules;
use crate::upstream::Upstream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How UDP is relayed.
pub struct UdpConfig {
    /// The way on: direct or SOCKS5; HTTP proxies cannot carry datagrams.
    pub upstream: Upstream,
    /// Where datagrams go that were sent to the listener itself instead of being redirected to it.
    pub forward: Option<SocketAddr>,
    /// Flows at once. When there are more, the application that has most of them loses the one that
    /// was idle longest: so an application that opens many crowds out its own.
    pub most_flows: usize,
    /// After so long without a datagram in either direction a flow ends.
    pub idle: Duration,
    /// How long a SOCKS5 server may take to answer.
    pub patience: Duration,
    /// Whether datagrams are looked at; if not, rules know no protocol and no name.
    pub inspect: bool,
    /// The rules in force; asked when a flow begins.
    pub rules: Box<dyn Fn() -> Arc<Rules> + Send + Sync>,
}

impl std::fmt::Debug for UdpConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UdpConfig")
            .field("upstream", &self.upstream)
            .field("forward", &self.forward)
            .field("most_flows", &self.most_flows)
            .field("idle", &self.idle)
            .field("inspect", &self.inspect)
            .finish_non_exhaustive()
    }
}
