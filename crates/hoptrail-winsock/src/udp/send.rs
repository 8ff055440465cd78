//! Sending: records that come as a control message are set for the datagram's flow before it leaves.

use super::control::Control;
use crate::overlapped::{Interest, Step};
use crate::requests::{self, Selected};
use crate::system::{self, Descriptor, Span};
use crate::transport::Transport;
use crate::{Error, Result};
use rustix::io::Errno;

/// A datagram to be sent.
pub(crate) struct Outgoing {
    pub(crate) name: Vec<u8>,
    pub(crate) buffers: Vec<Span>,
    pub(crate) control: Control,
    pub(crate) flags: i32,
}

impl Outgoing {
    /// Sends it, if there is room. Records are set once, however often it is tried.
    pub(crate) fn attempt(&mut self, fd: Descriptor) -> Step {
        if let Some(records) = self.control.records.take()
            && let Err(error) = carry_on(fd, &self.name, &records)
        {
            return Step::Done(Err(error));
        }
        let (name, control) = (&mut self.name, &mut self.control.rest);
        let flags = self.flags | libc::MSG_DONTWAIT;
        match system::send(fd, &self.buffers, name, control, flags) {
            Err(Errno::AGAIN) => Step::NotYet(Interest::Write),
            other => Step::Done(other.map_err(Error::from)),
        }
    }
}

/// Sets records for what the socket sends to `name`, or to its peer.
///
/// # Errors
/// As a SET; WSAENOPROTOOPT when it is no UDP socket, WSAENOTCONN without a destination.
pub(crate) fn carry_on(fd: Descriptor, name: &[u8], records: &[u8]) -> Result<()> {
    if Transport::of(fd)? != Transport::Udp {
        return Err(Error::NO_SUCH_OPTION);
    }
    let records = Span::of(records);
    if !name.is_empty() {
        let _selected = Selected::new(fd, name)?;
        return requests::set_on_socket(fd, records);
    }
    let peer = system::peer_name(fd).map_err(|_| Error::NOT_CONNECTED)?;
    requests::set_on_socket(fd, records)?;
    // The kernel decides about a connected socket's flow when it connects: so it does once more.
    Ok(system::connect(fd, &peer)?)
}
