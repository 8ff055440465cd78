//! The three control codes over the socket options of docs/abi.md: one attempt of each.

use crate::overlapped::{Interest, Step};
use crate::system::{self, Descriptor, Span};
use crate::transport::{self, Transport};
use crate::{Error, Result, device};
use hoptrail_core::abi::{
    REDIRECT_CONTEXT, REDIRECT_CONTEXT_SIZE, REDIRECT_PEER, REDIRECT_RECORDS,
    REDIRECT_RECORDS_SIZE, SOL_HOPTRAIL,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What is queried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Records,
    Context,
}

/// A longer buffer the kernel passes by (docs/abi.md).
const MOST: usize = 4096;

impl What {
    const fn value(self) -> i32 {
        match self {
            Self::Records => REDIRECT_RECORDS,
            Self::Context => REDIRECT_CONTEXT,
        }
    }

    const fn size(self) -> i32 {
        match self {
            Self::Records => REDIRECT_RECORDS_SIZE,
            Self::Context => REDIRECT_CONTEXT_SIZE,
        }
    }

    /// The query: one system call when there is an answer.
    #[inline]
    pub(crate) fn query(self, fd: Descriptor, into: Span) -> Step {
        if into.length != 0 {
            let room = Span { length: into.length.min(MOST), ..into };
            match system::option_into(fd, SOL_HOPTRAIL, self.value(), room) {
                Ok(length) => return Step::Done(Ok(length)),
                Err(errno) => return self.without_answer(fd, into, errno),
            }
        }
        match self.ask(fd, into) {
            Err(Refusal::Errno(errno)) => self.without_answer(fd, into, errno),
            other => Step::Done(other.map_err(Refusal::into_error)),
        }
    }

    #[cold]
    fn without_answer(self, fd: Descriptor, into: Span, errno: Errno) -> Step {
        let transport = match errno {
            Errno::RANGE => return Step::Done(self.too_small(fd, into)),
            Errno::NODATA | Errno::NOTCONN | Errno::OPNOTSUPP | Errno::NOPROTOOPT => {
                Transport::of(fd)
            }
            other => return Step::Done(Err(other.into())),
        };
        match (errno, transport) {
            (_, Err(error)) => Step::Done(Err(error)),
            (Errno::OPNOTSUPP | Errno::NOPROTOOPT, Ok(transport)) => {
                Step::Done(Err(transport.without_options()))
            }
            (_, Ok(Transport::Udp)) => self.query_of_peer(fd, into),
            (Errno::NODATA, _) if transport::is_connecting(fd) => Step::NotYet(Interest::Write),
            (Errno::NODATA, _) => Step::Done(Err(Error::NoRecords)),
            _ => Step::Done(Err(Error::NOT_CONNECTED)),
        }
    }

    /// A connected UDP socket means the flow of its peer, which begins with its first datagram.
    fn query_of_peer(self, fd: Descriptor, into: Span) -> Step {
        let Ok(peer) = system::peer_name(fd) else {
            return Step::Done(Err(Error::NOT_CONNECTED));
        };
        // Before the question, so that a datagram that comes in between is not overlooked.
        let begun = has_input(fd);
        let selected = match Selected::new(fd, &peer) {
            Ok(selected) => selected,
            Err(error) => return Step::Done(Err(error)),
        };
        let answer = self.ask(fd, into);
        drop(selected);
        match answer {
            Err(Refusal::Errno(Errno::NODATA | Errno::NOTCONN)) if !begun => {
                Step::NotYet(Interest::Read)
            }
            Err(Refusal::Errno(Errno::NODATA | Errno::NOTCONN)) => {
                Step::Done(Err(Error::NoRecords))
            }
            other => Step::Done(other.map_err(Refusal::into_error)),
        }
    }

    fn ask(self, fd: Descriptor, into: Span) -> std::result::Result<usize, Refusal> {
        if into.length == 0 {
            return Err(Refusal::TooSmall(self.size_needed(fd)?));
        }
        let room = Span { length: into.length.min(MOST), ..into };
        match system::option_into(fd, SOL_HOPTRAIL, self.value(), room) {
            Err(Errno::RANGE) => self.too_small(fd, into).map_err(Refusal::Error),
            other => Ok(other?),
        }
    }

    /// The size that is needed; or the answer, of a later engine that has more than a page to say.
    fn too_small(self, fd: Descriptor, into: Span) -> Result<usize> {
        let needed = self.size_needed(fd)?;
        if into.length > MOST && needed as usize <= into.length {
            let room = Span { length: needed as usize, ..into };
            return Ok(system::option_into(fd, SOL_HOPTRAIL, self.value(), room)?);
        }
        Err(Error::InsufficientBuffer(needed))
    }

    fn size_needed(self, fd: Descriptor) -> std::result::Result<u32, Errno> {
        system::option(fd, SOL_HOPTRAIL, self.size())
    }
}

enum Refusal {
    Errno(Errno),
    Error(Error),
    TooSmall(u32),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Refusal {
    fn into_error(self) -> Error {
        match self {
            Self::Errno(errno) => errno.into(),
            Self::Error(error) => error,
            Self::TooSmall(needed) => Error::InsufficientBuffer(needed),
        }
    }
}

/// Sets records on a new TCP socket.
pub(crate) fn set(fd: Descriptor, from: Span) -> Result<()> {
    if !system::tells_unsent(fd) {
        must_be_tcp(fd)?;
    }
    if from.length == 0 {
        return Err(Error::Invalid("no records were given"));
    }
    set_on_socket(fd, from)?;
    device::follow(fd, from)
}

#[cold]
fn must_be_tcp(fd: Descriptor) -> Result<()> {
    match Transport::of(fd)? {
        Transport::Tcp => Ok(()),
        Transport::Udp => {
            Err(Error::Invalid("on UDP records go with WSASendMsg, as a control message"))
        }
        other => Err(other.without_options()),
    }
}

/// As [`set`], on any socket.
pub(crate) fn set_on_socket(fd: Descriptor, from: Span) -> Result<()> {
    match system::set_option_from(fd, SOL_HOPTRAIL, REDIRECT_RECORDS, from) {
        Ok(()) => Ok(()),
        Err(Errno::ISCONN) => {
            Err(Error::Invalid("records are set before connecting; this socket is not new"))
        }
        Err(Errno::INVAL) => {
            Err(Error::Invalid("these are not records of the running engine; set what was queried"))
        }
        Err(errno) if transport::is_unknown_option(errno) => {
            Err(Transport::of(fd)?.without_options())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Until dropped, this thread's options on the socket mean the flow of one UDP peer.
pub(crate) struct Selected(Descriptor);

impl Selected {
    pub(crate) fn new(fd: Descriptor, peer: &[u8]) -> Result<Self> {
        match system::set_option(fd, SOL_HOPTRAIL, REDIRECT_PEER, peer) {
            Ok(()) => Ok(Self(fd)),
            Err(errno) if transport::is_unknown_option(errno) => Err(Error::NoEngine),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The value for this peer; nothing when its datagrams were not redirected.
    pub(crate) fn value(&self, what: What) -> Option<Vec<u8>> {
        let (fd, level) = (self.0, SOL_HOPTRAIL);
        match system::option_bytes(fd, level, what.value(), MOST) {
            Ok(bytes) => Some(bytes),
            Err(Errno::RANGE) => {
                let needed = what.size_needed(fd).ok()?;
                system::option_bytes(fd, level, what.value(), needed as usize).ok()
            }
            Err(_) => None,
        }
    }
}

impl Drop for Selected {
    fn drop(&mut self) {
        // The engine may be gone by now, and its selections with it.
        let _ = system::set_option(self.0, SOL_HOPTRAIL, REDIRECT_PEER, &[]);
    }
}

fn has_input(fd: Descriptor) -> bool {
    let fd = fd.fd();
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // Errors count: they have ended the wait, and would end it again at once.
    poll(&mut polled, Some(&now)).is_ok_and(|n| n > 0)
}
