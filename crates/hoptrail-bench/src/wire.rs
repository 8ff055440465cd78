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
    /// One stream to or from a [`Service::Bulk`], with the spells that are given.
    Bulk { to: SocketAddr, way: Way, spells: Spells },
    /// What the last upload to a [`Service::Bulk`] brought.
    Metered { at: SocketAddr },
    /// Connections with one request each to a [`Service::Answer`], by that many clients at once.
    Requests { to: SocketAddr, clients: u32, millis: u64 },
    /// Make more connections to a [`Service::Answer`], each used once, and keep them.
    Hold { to: Vec<SocketAddr>, count: u32 },
    /// Use every held connection once more.
    Probe,
    /// Try what TCP promises between a client of `to` and what arrives at a [`Service::Wait`].
    Promise { promise: Promise, to: SocketAddr, at: SocketAddr, socks: bool },
}

/// In which direction a stream flows, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Way {
    Up,
    Down,
}

/// How a stream is metered, by its receiver.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spells {
    /// Before it counts.
    pub(crate) warm_up_millis: u64,
    pub(crate) count: u32,
    pub(crate) millis: u64,
}

/// What a receiver saw of a stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Metered {
    /// Bytes per second, spell by spell.
    pub(crate) rates: Vec<f64>,
    /// Of the whole stream, warm-up included.
    pub(crate) bytes: u64,
}

/// What TCP promises to its users, and a relay should not take from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Promise {
    /// The client ends its direction and still gets an answer.
    HalfCloseOfClient,
    /// The same from the other side.
    HalfCloseOfServer,
    ResetOfClient,
    ResetOfServer,
    /// A receiver that does not read stops the sender, and loses nothing.
    BackPressureUp,
    BackPressureDown,
    /// Both directions at once, every byte compared.
    Content,
    /// All of what was sent before a close arrives.
    LastBytes,
    ServerFirst,
    /// Both ends can look before they read.
    Peek,
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
    /// Meter a stream, or send one: whichever the client asks for.
    Bulk,
    /// 64 bytes for 64 bytes, many connections in one thread; closes when asked to.
    Answer,
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
    Metered(Metered),
    /// Connections served, and the nanoseconds that took.
    Served {
        count: u64,
        nanoseconds: u64,
    },
    /// Whether a promise was kept, and what was seen.
    Kept {
        kept: bool,
        seen: String,
    },
    Failed(String),
}
