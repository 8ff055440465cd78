//! Flows whose first datagram does not say everything: QUIC's ClientHello may come in several. Where a
//! rule depends on it, they wait; nothing passes before it was decided.

use crate::inspect::{AppProtocol, Finding, FlowLook, Look};

/// Datagrams that are waited for before it is decided without the name.
const MOST_WAITING: usize = 4;

/// A flow that is being looked at, and what it has said.
#[derive(Default, Debug)]
pub(super) struct Looking {
    look: FlowLook,
    waiting: Vec<Box<[u8]>>,
}

impl Looking {
    /// Looks at the next datagram and keeps it; gives what the flow is, when that is clear or it has
    /// taken too long.
    pub(super) fn at(&mut self, datagram: &[u8], port: u16) -> Option<Finding> {
        let look = self.look.datagram(datagram, port);
        self.waiting.push(datagram.into());
        match look {
            Look::Found(finding) => Some(finding),
            Look::More if self.waiting.len() < MOST_WAITING => None,
            Look::More => Some(Finding::of(AppProtocol::Quic)),
        }
    }

    /// What waits, oldest first.
    pub(super) fn into_waiting(self) -> Vec<Box<[u8]>> {
        self.waiting
    }
}
