//! WSARecvMsg and WSASendMsg.

use super::ioctl::needed;
use super::overlapped::{Asynchronous, submit};
use super::types::{
    DWORD, INT, LPDWORD, LPWSAMSG, LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE, SOCKET,
    WSABUF, WSAMSG,
};
use super::{length, zero_or_error};
use crate::overlapped::{Step, Work, finish};
use crate::system::{Descriptor, Span};
use crate::udp::{Control, Outgoing, Received, Switches, receive};
use crate::{Error, Result, memory, startup, system, thread, world};
use std::mem::offset_of;
use std::sync::Arc;
use std::time::Duration;

/// Receives a datagram with its control messages. With the switches of setsockopt on, the datagram
/// that begins a redirected flow brings its records and context. dwFlags of the WSAMSG takes flags as
/// MSG_PEEK, and gives MSG_TRUNC (then the call fails with WSAEMSGSIZE) and MSG_CTRUNC.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSARecvMsg(
    s: SOCKET,
    lpMsg: LPWSAMSG,
    lpdwNumberOfBytesRecvd: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT {
    zero_or_error(|| {
        let fd = open_socket(s)?;
        let work = Receive::new(fd, lpMsg as usize)?;
        let call = Transfer {
            fd,
            count: lpdwNumberOfBytesRecvd as usize,
            overlapped: lpOverlapped as usize,
            routine: lpCompletionRoutine.map_or(0, |routine| routine as usize),
            limit: libc::SO_RCVTIMEO,
        };
        call.make(work)
    })
}

/// Sends a datagram. A control message of type IP_WFP_REDIRECT_RECORDS or IPV6_WFP_REDIRECT_RECORDS
/// sets the records for the flow to which it belongs, before it is sent; one of the context is left
/// out, so that what WSARecvMsg gave may be forwarded as it is.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSASendMsg(
    s: SOCKET,
    lpMsg: LPWSAMSG,
    dwFlags: DWORD,
    lpNumberOfBytesSent: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT {
    zero_or_error(|| {
        let fd = open_socket(s)?;
        let work = Send(outgoing(lpMsg as usize, dwFlags)?);
        let call = Transfer {
            fd,
            count: lpNumberOfBytesSent as usize,
            overlapped: lpOverlapped as usize,
            routine: lpCompletionRoutine.map_or(0, |routine| routine as usize),
            limit: libc::SO_SNDTIMEO,
        };
        call.make(work)
    })
}

/// More buffers, or a longer address or control buffer, no caller has.
const MOST_BUFFERS: u32 = 1024;
const MOST_NAME: usize = size_of::<libc::sockaddr_storage>();
const MOST_CONTROL: u32 = 65_536;

struct Transfer {
    fd: Descriptor,
    count: usize,
    overlapped: usize,
    routine: usize,
    /// The option that holds the time limit of a blocking call.
    limit: i32,
}

impl Transfer {
    fn make(&self, mut work: impl Work + 'static) -> Result<()> {
        let (fd, count, overlapped, routine) = (self.fd, self.count, self.overlapped, self.routine);
        if overlapped != 0 && world::get().sockets.is_overlapped(fd) {
            let thread = thread::current();
            let call = Asynchronous { fd, count, overlapped, routine, thread };
            return submit(call, Box::new(work));
        }
        if thread::in_routine() {
            return Err(Error::IN_PROGRESS);
        }
        // Before anything is transferred: a datagram whose length cannot be told would be lost.
        memory::store_u32(count, 0)?;
        let outcome = finish(fd, self.time_limit(), || work.attempt(fd));
        memory::store_u32(count, outcome.map_or_else(needed, |bytes| bytes as u32))?;
        outcome.map(|_| ())
    }

    fn time_limit(&self) -> Option<Duration> {
        let time: [i64; 2] = system::option(self.fd, libc::SOL_SOCKET, self.limit).ok()?;
        let limit = Duration::from_secs(time[0].try_into().ok()?)
            + Duration::from_micros(time[1].try_into().ok()?);
        (!limit.is_zero()).then_some(limit)
    }
}

struct Receive {
    at: usize,
    message: WSAMSG,
    buffers: Vec<Span>,
    switches: Option<Arc<Switches>>,
}

impl Receive {
    fn new(fd: Descriptor, at: usize) -> Result<Self> {
        let message: WSAMSG = memory::read(at)?;
        let buffers = spans(&message)?;
        if message.Control.len > MOST_CONTROL {
            return Err(Error::Invalid("the control buffer is larger than any message needs"));
        }
        let switches = world::get().sockets.of(fd).and_then(|known| known.switches);
        Ok(Self { at, message, buffers, switches })
    }

    fn give(&self, received: &Received) -> Result<()> {
        let mut message = self.message;
        if message.name != 0 {
            let room = length(message.namelen)?;
            memory::write_bytes(message.name, &received.name[..received.name.len().min(room)])?;
            message.namelen = received.name.len() as INT;
        }
        memory::write_bytes(message.Control.buf, &received.control)?;
        message.Control.len = received.control.len() as u32;
        message.dwFlags = received.flags.cast_unsigned();
        memory::write(self.at + offset_of!(WSAMSG, namelen), &message.namelen)?;
        memory::write(self.at + offset_of!(WSAMSG, Control), &message.Control.len)?;
        Ok(memory::write(self.at + offset_of!(WSAMSG, dwFlags), &message.dwFlags)?)
    }
}

impl Work for Receive {
    fn attempt(&mut self, fd: Descriptor) -> Step {
        let room = if self.message.Control.buf == 0 { 0 } else { self.message.Control.len };
        let flags = self.message.dwFlags.cast_signed();
        match receive(fd, &self.buffers, room as usize, flags, self.switches.as_deref()) {
            Err(step) => step,
            Ok(received) => Step::Done(self.give(&received).and_then(|()| received.outcome())),
        }
    }
}

struct Send(Outgoing);

impl Work for Send {
    fn attempt(&mut self, fd: Descriptor) -> Step {
        self.0.attempt(fd)
    }
}

fn outgoing(at: usize, flags: DWORD) -> Result<Outgoing> {
    let message: WSAMSG = memory::read(at)?;
    let buffers = spans(&message)?;
    let room = length(message.namelen)?;
    if message.Control.len > MOST_CONTROL || room > MOST_NAME {
        return Err(Error::Invalid("the address or control buffer is larger than any can be"));
    }
    let mut name = vec![0; if message.name == 0 { 0 } else { room }];
    memory::read_bytes(message.name, &mut name)?;
    let mut control =
        vec![0; if message.Control.buf == 0 { 0 } else { message.Control.len as usize }];
    memory::read_bytes(message.Control.buf, &mut control)?;
    let control = Control::parse(&control)?;
    Ok(Outgoing { name, buffers, control, flags: flags.cast_signed() })
}

fn spans(message: &WSAMSG) -> Result<Vec<Span>> {
    if message.dwBufferCount > MOST_BUFFERS {
        return Err(Error::Code(crate::codes::WSAEMSGSIZE));
    }
    let buffers: Vec<WSABUF> =
        memory::read_many(message.lpBuffers, message.dwBufferCount as usize)?;
    Ok(buffers.iter().map(|b| Span { address: b.buf, length: b.len as usize }).collect())
}

fn open_socket(s: SOCKET) -> Result<Descriptor> {
    startup::check()?;
    let fd = Descriptor::new(s).ok_or(Error::NOT_A_SOCKET)?;
    fd.cookie()?;
    Ok(fd)
}
