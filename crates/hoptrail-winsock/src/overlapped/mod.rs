//! Operations that complete later: what is to be done, how it is told, and who waits.

mod blocking;
mod event;
mod operation;
mod port;
mod reactor;
mod wait;

pub(crate) use blocking::{Blocked, cancel_own, finish, interrupt_all, interrupt_socket};
pub(crate) use event::Event;
pub(crate) use operation::{Completion, Interest, Operation, Step, Ticket, Work};
pub(crate) use port::{NoPacket, Packet, Port};
pub(crate) use reactor::Reactor;
pub(crate) use wait::{Waited, sleep, wait};
