//! Redirect records for Linux proxies: what a cooperating proxy needs to take part in a trail.
//!
//! A provider's proxy accepts a connection that Hoptrail redirected, reads its [`Records`] and its
//! [`Context`], and dials the destination from a socket on which it has set the same records. So the
//! kernel knows who has handled the connection, and every other provider gets its turn exactly once.
//!
//! ```no_run
//! use hoptrail::{Listener, relay};
//!
//! let listener = Listener::bind("127.0.0.1:15871")?;
//! for connection in listener.incoming() {
//!     let connection = connection?;
//!     std::thread::spawn(move || match connection.redirect.dial() {
//!         Ok(upstream) => relay(connection.stream, upstream).error.map_or(Ok(()), Err),
//!         Err(_) => connection.refuse(),
//!     });
//! }
//! # Ok::<(), hoptrail::Error>(())
//! ```
//!
//! Everything rests on socket options that any language can use: docs/abi.md.

mod clock;
mod context;
mod dial;
mod dialling;
mod error;
mod listener;
mod options;
mod records;
mod redirect;
mod relay;
mod reset;
mod sockaddr;
mod sockopt;
mod trail;
mod udp;

pub use context::Context;
pub use dialling::Dialling;
pub use error::{Error, ErrorKind, Operation, Result};
pub use hoptrail_core::records::{BlobError, Exe, Provenance};
pub use hoptrail_core::{Protocol, RedirectState};
pub use listener::{Accepted, Connection, Incoming, Listener};
pub use options::{Version, context, original_destination, records, set_records, version};
pub use records::Records;
pub use redirect::{PoolKey, Redirect};
pub use relay::{Relayed, relay};
pub use reset::reset;
pub use trail::{Handle, Hop, Process, Trail, TrailId};
pub use udp::{UdpProxySocket, UdpRedirect};
