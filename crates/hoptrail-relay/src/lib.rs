//! The inspecting relay: accepts redirected connections, inspects, dials on, and copies the cheapest correct way.

mod clock;
pub mod config;
mod congestion;
pub mod counters;
pub mod drain;
mod inbox;
pub mod inspect;
pub mod ledger;
mod listen;
mod mark;
pub mod observe;
mod origin;
mod pipes;
mod relay;
pub mod rules;
mod session;
mod shared;
mod sockets;
mod spin;
pub mod tap;
pub mod udp;
pub mod upstream;
pub mod watch;
mod way;
mod worker;

pub use relay::{Parts, Relay, StartError};
pub use worker::Ended;
