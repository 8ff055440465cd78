//! WSAIoctl and WSPIoctl.

use super::messages::{WSARecvMsg, WSASendMsg};
use super::overlapped::{Asynchronous, submit};
use super::types::LPDWORD;
use super::types::{
    DWORD, GUID, INT, LPINT, LPVOID, LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    LPWSATHREADID, SOCKET, WSAID_WSARECVMSG, WSAID_WSASENDMSG, WSATHREADID,
};
use super::{sockets, zero_or_error};
use crate::codes::{
    SIO_FLUSH, SIO_GET_EXTENSION_FUNCTION_POINTER, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT,
    SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS,
};
use crate::ioctl::without_waiting_for_a_datagram;
use crate::overlapped::{Step, Work, finish};
use crate::requests::{self, What};
use crate::system::{Descriptor, Span};
use crate::thread::{self, Thread};
use crate::{Error, Result, memory, startup, transport, world};
use std::sync::Arc;

/// Controls a socket. The codes are the three of connection redirection, SIO_FLUSH,
/// SIO_GET_EXTENSION_FUNCTION_POINTER for WSARecvMsg and WSASendMsg, and FIONBIO.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSAIoctl(
    s: SOCKET,
    dwIoControlCode: DWORD,
    lpvInBuffer: LPVOID,
    cbInBuffer: DWORD,
    lpvOutBuffer: LPVOID,
    cbOutBuffer: DWORD,
    lpcbBytesReturned: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> INT {
    zero_or_error(|| {
        let call = Call {
            code: dwIoControlCode,
            input: Span { address: lpvInBuffer as usize, length: cbInBuffer as usize },
            output: Span { address: lpvOutBuffer as usize, length: cbOutBuffer as usize },
            count: lpcbBytesReturned as usize,
            overlapped: lpOverlapped as usize,
            routine: lpCompletionRoutine.map_or(0, |routine| routine as usize),
        };
        call.make(s, || Ok(thread::current()))
    })
}

/// The provider's entry: as WSAIoctl, with the error in *lpErrno. A completion routine runs in the
/// thread of *lpThreadId (WPUOpenCurrentThread); the structure is copied before the call returns.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSPIoctl(
    s: SOCKET,
    dwIoControlCode: DWORD,
    lpvInBuffer: LPVOID,
    cbInBuffer: DWORD,
    lpvOutBuffer: LPVOID,
    cbOutBuffer: DWORD,
    lpcbBytesReturned: LPDWORD,
    lpOverlapped: LPWSAOVERLAPPED,
    lpCompletionRoutine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    lpThreadId: LPWSATHREADID,
    lpErrno: LPINT,
) -> INT {
    let call = Call {
        code: dwIoControlCode,
        input: Span { address: lpvInBuffer as usize, length: cbInBuffer as usize },
        output: Span { address: lpvOutBuffer as usize, length: cbOutBuffer as usize },
        count: lpcbBytesReturned as usize,
        overlapped: lpOverlapped as usize,
        routine: lpCompletionRoutine.map_or(0, |routine| routine as usize),
    };
    super::provider_call(lpErrno as usize, || call.make(s, || owner(lpThreadId as usize)))
}

struct Call {
    code: DWORD,
    input: Span,
    output: Span,
    count: usize,
    overlapped: usize,
    routine: usize,
}

/// Sizes below a ULONG are no buffer, except none at all, which asks for the size (reference 7.1).
const LEAST_BUFFER: usize = 4;

impl Call {
    #[inline]
    fn make(&self, s: SOCKET, thread: impl FnOnce() -> Result<Arc<Thread>>) -> Result<()> {
        startup::check()?;
        let fd = Descriptor::new(s).ok_or(Error::NOT_A_SOCKET)?;
        match self.code {
            SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS => self.query(fd, What::Records, thread),
            SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT => self.query(fd, What::Context, thread),
            SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS => self.set(fd, thread),
            _ => self.other(fd),
        }
    }

    #[inline]
    fn query(
        &self,
        fd: Descriptor,
        what: What,
        thread: impl FnOnce() -> Result<Arc<Thread>>,
    ) -> Result<()> {
        let no_buffer = (1..LEAST_BUFFER).contains(&self.output.length);
        let nowhere = self.output.length != 0 && self.output.address == 0;
        if no_buffer || nowhere {
            return self.bad_buffer(
                fd,
                if nowhere && !no_buffer {
                    Error::FAULT
                } else {
                    Error::Invalid("the output buffer is smaller than four bytes")
                },
            );
        }
        if self.is_overlapped(fd) {
            return self.submit(fd, Box::new(Query { what, into: self.output }), thread()?);
        }
        if thread::in_routine() {
            return Err(Error::IN_PROGRESS);
        }
        let outcome =
            finish(fd, None, || without_waiting_for_a_datagram(what.query(fd, self.output)));
        self.count_of(outcome)
    }

    fn set(&self, fd: Descriptor, thread: impl FnOnce() -> Result<Arc<Thread>>) -> Result<()> {
        if self.output.length != 0 {
            return self.bad_buffer(fd, Error::Invalid("a SET has no output"));
        }
        if self.input.length != 0 && self.input.address == 0 {
            return self.bad_buffer(fd, Error::FAULT);
        }
        if self.is_overlapped(fd) {
            return self.submit(fd, Box::new(Set { from: self.input }), thread()?);
        }
        if thread::in_routine() {
            return Err(Error::IN_PROGRESS);
        }
        // Before anything is set: a call that fails has had no effect.
        if memory::store_u32(self.count, 0).is_err() {
            transport::check(fd)?;
            return Err(Error::FAULT);
        }
        requests::set(fd, self.input)
    }

    #[cold]
    fn other(&self, fd: Descriptor) -> Result<()> {
        match self.code {
            SIO_FLUSH => self.answer(fd, &[], |cookie| {
                world::get().cancel_socket(fd, cookie);
                Ok(())
            }),
            code if sockets::is_fionbio(code) => {
                let on = self.mode(fd)?;
                self.answer(fd, &[], |_| sockets::set_nonblocking(fd, on))
            }
            SIO_GET_EXTENSION_FUNCTION_POINTER => self.extension(fd),
            // None of the three direction bits.
            code if code & 0xE000_0000 == 0 => {
                fd.cookie()?;
                Err(Error::Invalid("this is not a control code"))
            }
            _ => {
                fd.cookie()?;
                Err(Error::NOT_SUPPORTED)
            }
        }
    }

    /// The number that FIONBIO takes: an unsigned long, 32 bits on Windows and 64 here.
    fn mode(&self, fd: Descriptor) -> Result<bool> {
        fd.cookie()?;
        match self.input.length {
            0..4 => Err(Error::FAULT),
            4..8 => Ok(memory::read::<u32>(self.input.address)? != 0),
            _ => Ok(memory::read::<u64>(self.input.address)? != 0),
        }
    }

    fn extension(&self, fd: Descriptor) -> Result<()> {
        fd.cookie()?;
        if self.input.length < size_of::<GUID>() || self.output.length < size_of::<usize>() {
            return Err(Error::FAULT);
        }
        let function = match memory::read::<GUID>(self.input.address)? {
            WSAID_WSARECVMSG => WSARecvMsg as *const () as usize,
            WSAID_WSASENDMSG => WSASendMsg as *const () as usize,
            _ => return Err(Error::Invalid("no extension function has this GUID")),
        };
        self.answer(fd, &function.to_ne_bytes(), |_| Ok(()))
    }

    /// Immediate success of a code that does not pend.
    fn answer(
        &self,
        fd: Descriptor,
        output: &[u8],
        act: impl FnOnce(u64) -> Result<()>,
    ) -> Result<()> {
        let cookie = fd.cookie()?;
        if self.is_overlapped(fd) {
            let work = Answer { into: self.output.address, output: output.to_vec() };
            act(cookie)?;
            return self.submit(fd, Box::new(work), thread::current());
        }
        act(cookie)?;
        memory::write_bytes(self.output.address, output)?;
        Ok(memory::store_u32(self.count, output.len() as u32)?)
    }

    #[cold]
    fn bad_buffer(&self, fd: Descriptor, error: Error) -> Result<()> {
        transport::check(fd)?;
        if self.count != 0 || self.overlapped == 0 {
            memory::store_u32(self.count, 0)?;
        }
        Err(error)
    }

    /// What is wrong with the socket comes before what is wrong with the pointer (reference 7.5).
    #[inline]
    fn count_of(&self, outcome: Result<usize>) -> Result<()> {
        match outcome {
            Ok(bytes) => Ok(memory::store_u32(self.count, bytes as u32)?),
            Err(error) => self.count_of_failure(error),
        }
    }

    #[cold]
    fn count_of_failure(&self, error: Error) -> Result<()> {
        let stored = memory::store_u32(self.count, needed(error));
        let of_socket =
            [Error::NOT_A_SOCKET, Error::NOT_SUPPORTED, Error::NO_SUCH_OPTION, Error::NoEngine];
        if !of_socket.contains(&error) {
            stored?;
        }
        Err(error)
    }

    #[inline]
    fn is_overlapped(&self, fd: Descriptor) -> bool {
        self.overlapped != 0 && world::get().sockets.is_overlapped(fd)
    }

    fn submit(&self, fd: Descriptor, work: Box<dyn Work>, thread: Arc<Thread>) -> Result<()> {
        let (count, overlapped, routine) = (self.count, self.overlapped, self.routine);
        submit(Asynchronous { fd, count, overlapped, routine, thread }, work)
    }
}

/// What the byte count says of a failure: the size that is needed, or nothing.
pub(super) const fn needed(error: Error) -> u32 {
    if let Error::InsufficientBuffer(needed) = error { needed } else { 0 }
}

fn owner(thread_id: usize) -> Result<Arc<Thread>> {
    if thread_id == 0 {
        return Ok(thread::current());
    }
    let id: WSATHREADID = memory::read(thread_id)?;
    world::get().handles.thread(id.ThreadHandle)
}

struct Query {
    what: What,
    into: Span,
}

impl Work for Query {
    fn attempt(&mut self, fd: Descriptor) -> Step {
        self.what.query(fd, self.into)
    }
}

struct Set {
    from: Span,
}

impl Work for Set {
    fn attempt(&mut self, fd: Descriptor) -> Step {
        Step::Done(requests::set(fd, self.from).map(|()| 0))
    }
}

struct Answer {
    into: usize,
    output: Vec<u8>,
}

impl Work for Answer {
    fn attempt(&mut self, _: Descriptor) -> Step {
        let written = memory::write_bytes(self.into, &self.output).map_err(Error::from);
        Step::Done(written.map(|()| self.output.len()))
    }
}
