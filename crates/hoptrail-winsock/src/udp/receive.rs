//! Receiving: the datagram goes straight into the caller's buffers, control messages are put together.

use super::control::HEADER;
use super::switches::Switches;
use crate::overlapped::{Interest, Step};
use crate::system::{self, Descriptor, Header, Span};
use crate::{Error, Result};
use rustix::io::Errno;

/// A datagram, apart from its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Received {
    pub(crate) bytes: usize,
    pub(crate) name: Vec<u8>,
    /// Whole control messages that fit the room which was offered.
    pub(crate) control: Vec<u8>,
    /// The kernel's, with MSG_CTRUNC when something did not fit.
    pub(crate) flags: i32,
}

/// Room for any address.
const NAME_ROOM: usize = size_of::<libc::sockaddr_storage>();

/// Receives one datagram, if there is one.
///
/// # Errors
/// `recvmsg(2)`'s; nothing when none is there.
pub(crate) fn receive(
    fd: Descriptor,
    buffers: &[Span],
    room: usize,
    flags: i32,
    switches: Option<&Switches>,
) -> std::result::Result<Received, Step> {
    let mut name = [0; NAME_ROOM];
    let mut control = vec![0; room];
    match system::receive(fd, buffers, &mut name, &mut control, flags | libc::MSG_DONTWAIT) {
        Err(Errno::AGAIN) => Err(Step::NotYet(Interest::Read)),
        Err(errno) => Err(Step::Done(Err(errno.into()))),
        Ok((bytes, header)) => {
            let name = name[..(header.name_length as usize).min(NAME_ROOM)].to_vec();
            let mut received = put_together(bytes, name, control, header);
            // What was only sent on the error queue is no datagram of a flow.
            if let Some(switches) = switches.filter(|_| flags & libc::MSG_ERRQUEUE == 0) {
                let peeked = flags & libc::MSG_PEEK != 0;
                let messages = switches.announce(fd, &received.name, peeked);
                append(&mut received, room, messages);
            }
            Ok(received)
        }
    }
}

fn put_together(bytes: usize, name: Vec<u8>, mut control: Vec<u8>, header: Header) -> Received {
    control.truncate(header.control_length);
    Received { bytes, name, control, flags: header.flags & !libc::MSG_CMSG_CLOEXEC }
}

/// A message that does not fit is left out whole.
fn append(received: &mut Received, room: usize, messages: Vec<Vec<u8>>) {
    for message in messages {
        let at = received.control.len().next_multiple_of(8);
        if at + message.len() <= room {
            received.control.resize(at, 0);
            received.control.extend(message);
        } else if at + unpadded(&message) <= room {
            received.control.resize(at, 0);
            received.control.extend(&message[..unpadded(&message)]);
        } else {
            received.flags |= libc::MSG_CTRUNC;
        }
    }
}

fn unpadded(message: &[u8]) -> usize {
    let length = message.get(..8).and_then(|b| b.try_into().ok()).map_or(0, usize::from_ne_bytes);
    debug_assert!((HEADER..=message.len()).contains(&length));
    length
}

impl Received {
    /// The number of bytes, or that the datagram was longer than the buffers.
    ///
    /// # Errors
    /// WSAEMSGSIZE.
    pub(crate) fn outcome(&self) -> Result<usize> {
        if self.flags & libc::MSG_TRUNC != 0 {
            return Err(Error::Code(crate::codes::WSAEMSGSIZE));
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::{Kind, message_space};
    use super::*;

    fn messages() -> Vec<Vec<u8>> {
        let kind = |context| Kind { v6: false, context };
        vec![kind(false).message(&[1; 240]), kind(true).message(&[2; 112])]
    }

    #[test]
    fn statement_73_a_message_comes_whole_or_not_at_all() {
        let (records, context) = (message_space(240), message_space(112));
        for room in 0..=records + context + 8 {
            let mut received = Received::default();
            append(&mut received, room, messages());
            let cut = received.flags & libc::MSG_CTRUNC != 0;
            let expected = match room {
                r if r >= records + context => (records + context, false),
                r if r >= records => (records, true),
                r if r >= context => (context, true),
                _ => (0, true),
            };
            assert_eq!((received.control.len(), cut), expected, "{room}");
        }
    }

    #[test]
    fn the_last_message_needs_no_padding() {
        let message = Kind { v6: false, context: false }.message(&[1; 241]);
        let mut received = Received::default();
        append(&mut received, HEADER + 241, vec![message]);
        assert_eq!((received.control.len(), received.flags), (HEADER + 241, 0));
    }
}
