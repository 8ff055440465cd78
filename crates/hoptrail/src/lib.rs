//! Redirect records for proxies: what a cooperating proxy needs to take part in a trail.
//!
//! A provider's proxy accepts a connection that Hoptrail redirected, reads its [`Records`] and its
//! [`Context`], and dials the destination from a socket on which it has set the same records. So the
//! kernel knows who has handled the connection, and every other provider gets its turn exactly once.
//!
//! ```no_run
#![doc = include_str!("../examples/minimal_proxy.rs")]
//! ```
//!
//! With the feature `tokio` the module `hoptrail::tokio` has the same for asynchronous proxies. A loop
//! of its own can be built on [`Listener::try_accept`] and [`Redirect::start_dial`], which never wait.
//!
//! # Failures
//!
//! A destination that cannot be reached must look like that to the application: it sees a reset at once,
//! not an empty answer. [`Connection::dial`] does so by itself; with [`Redirect::dial`] call
//! [`Connection::refuse`]. [`relay()`] passes a reset of one side on to the other, and so does tokio's,
//! also when its task is cancelled. [`Error::kind`] is for decisions, and its text says what to do.
//!
//! # Systems
//!
//! On Linux everything rests on socket options that any language can use: docs/abi.md. On Windows the
//! same API rests on the ioctls of the Filtering Platform; docs/windows.md says what differs there.

mod context;
mod dial;
mod dialling;
mod direction;
mod error;
mod listener;
mod options;
mod records;
mod redirect;
mod relay;
mod reset;
mod sockaddr;
mod sys;
#[cfg(feature = "tokio")]
pub mod tokio;
mod trail;
mod udp;

pub use context::Context;
pub use dialling::Dialling;
pub use error::{Error, ErrorKind, Operation, Result};
pub use hoptrail_core::records::{BlobError, Exe, Provenance};
pub use hoptrail_core::{Protocol, RedirectState};
pub use listener::{Accepted, Connection, Incoming, Listener};
pub use options::{
    Version, context, context_bytes, original_destination, records, set_records, version,
};
pub use records::Records;
pub use redirect::{PoolKey, Redirect};
pub use relay::{Relayed, relay};
pub use reset::reset;
pub use trail::{Handle, Hop, Process, Trail, TrailId};
pub use udp::{UdpProxySocket, UdpRedirect};
