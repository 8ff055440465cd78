//! UDP: records and context as control messages, with the datagram that begins a flow.

mod control;
mod receive;
mod send;
mod switches;

pub(crate) use control::{Control, Kind};
pub(crate) use receive::{Received, receive};
pub(crate) use send::Outgoing;
pub(crate) use switches::Switches;
