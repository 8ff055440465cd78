//! The same for tokio: [`Listener`], [`Connection`], [`relay`], [`UdpProxySocket`].
//!
//! ```no_run
//! use hoptrail::tokio::{Listener, relay};
//!
//! # async fn serve() -> hoptrail::Result<()> {
//! let listener = Listener::bind("127.0.0.1:15871").await?;
//! loop {
//!     let connection = listener.accept().await?;
//!     tokio::spawn(async move {
//!         match connection.dial().await {
//!             Ok((application, destination)) => drop(relay(application, destination).await),
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! Questions about records are answered by the kernel at once, so only accepting, dialling and copying
//! are asynchronous. Everything runs inside a runtime whose I/O is enabled.

mod end;
mod listener;
mod redirect;
mod relay;
mod udp;

pub use listener::{Accepted, Connection, Listener};
pub use redirect::Redirect;
pub use relay::relay;
pub use udp::{UdpProxySocket, UdpRedirect};
