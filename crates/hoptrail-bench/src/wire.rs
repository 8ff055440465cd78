//! What the harness asks of its workers: one JSON value per line, and one back.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Open a socket and serve on it until the worker ends.
    Serve { service: Service, at: SocketAddr },
    /// How many connections were accepted at a [`Service::Accept`].
    Accepted { at: SocketAddr },
    /// Make connections one after another, each closed before the next.
    Connect { to: SocketAddr, count: u32 },
    /// Make connections and keep them.
    Fill { to: SocketAddr, count: u32 },
    /// Close what `Fill` made.
    Empty,
    /// Accept that many connections of a [`Service::Wait`], and dial for each.
    Relay { at: SocketAddr, dial: Dial, count: u32 },
    /// Accept one connection of a [`Service::Wait`], and make that many calls on it.
    Calls { at: SocketAddr, call: Call, count: u32 },
    /// Write without pause over one connection.
    Stream { to: SocketAddr, spells: u32, millis: u64 },
    /// Send 64 bytes and wait for them to come back.
    PingPong { to: SocketAddr, count: u32 },
    /// Send datagrams of 64 bytes with sendto(2) from one socket.
    Datagrams { to: SocketAddr, count: u32 },
    /// Read what has come to a [`Service::Datagrams`].
    Received { at: SocketAddr },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) enum Service {
    /// Accept and close.
    Accept,
    /// Accept only when told to.
    Wait,
    /// Send back what comes.
    Echo,
    /// Read and forget.
    Sink,
    /// UDP: keep what comes until it is asked for.
    Datagrams,
}

/// How a relay goes on from an accepted connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Dial {
    /// Ask for records and context, set the records, dial the context's destination.
    Records,
    /// Dial this without asking.
    Plain(SocketAddr),
}

/// A socket option, or the documented call that stands on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    OptionRecords,
    OptionContext,
    OptionSet,
    Records,
    Context,
    Set,
    /// `Records` with an OVERLAPPED and its event.
    Overlapped,
}

/// Nanoseconds of the parts of relaying one connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Steps {
    pub(crate) accept: u32,
    /// Records and context.
    pub(crate) ask: u32,
    /// Socket, SET, connect.
    pub(crate) dial: u32,
    pub(crate) close: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Count(u64),
    /// Nanoseconds of each operation.
    Times(Vec<u32>),
    Relayed(Vec<Steps>),
    /// Bytes per second of each spell.
    Rates(Vec<f64>),
    Failed(String),
}
