//! The documented Winsock calls for redirect records, on Linux.
//!
//! Windows gives a redirect service three control codes: it *queries* the records and the context of a
//! connection that was redirected to it, and *sets* the records on the socket with which it dials. Here
//! are the same calls over Hoptrail's socket options (docs/abi.md), for C as documented (the header
//! `hoptrail_winsock.h`; docs/winsock.md), and for Rust in [`ioctl`].
//!
//! ```no_run
//! use hoptrail_winsock::ioctl::{self, QueryContext, QueryRecords, SetRecords};
//! use socket2::{Domain, Socket, Type};
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:15871")?;
//! let (accepted, _) = listener.accept()?;
//! let records = ioctl::call(&accepted, QueryRecords)?;
//! let destination = ioctl::call(&accepted, QueryContext)?.destination();
//! let upstream = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
//! ioctl::call(&upstream, SetRecords(records))?;
//! upstream.connect(&destination.into())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod codes;
mod device;
mod errors;
mod ffi;
mod handles;
mod header;
pub mod ioctl;
mod memory;
mod overlapped;
mod requests;
mod sockets;
mod startup;
mod system;
mod thread;
mod transport;
mod udp;
mod world;

pub use errors::{Error, Result};
/// The structures of C, for this crate's own tests.
#[doc(hidden)]
pub use ffi::types;
pub use header::header;
