//! Overlapped calls of C: what is told, to whom, and how it is asked for.

use super::ioctl::needed;
use super::true_or_false;
use super::types::{
    BOOL, DWORD, HANDLE, LPDWORD, LPOVERLAPPED, LPWSAOVERLAPPED,
    LPWSAOVERLAPPED_COMPLETION_ROUTINE, SOCKET, WSAOVERLAPPED,
};
use crate::codes::{STATUS_PENDING, WSA_IO_INCOMPLETE, WSA_IO_PENDING, WSA_OPERATION_ABORTED};
use crate::overlapped::{Completion, Event, Operation, Packet, Port, Step, Ticket, Work};
use crate::system::Descriptor;
use crate::thread::Thread;
use crate::{Error, Result, memory, startup, world};
use std::mem::offset_of;
use std::sync::Arc;

/// Gives the result of an overlapped operation. FALSE with WSA_IO_INCOMPLETE while it is pending and
/// fWait is FALSE; FALSE with the operation's error when it failed.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSAGetOverlappedResult(
    s: SOCKET,
    lpOverlapped: LPWSAOVERLAPPED,
    lpcbTransfer: LPDWORD,
    fWait: BOOL,
    lpdwFlags: LPDWORD,
) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        if lpdwFlags.is_null() {
            return Err(Error::FAULT);
        }
        let bytes = result(s, lpOverlapped as usize, lpcbTransfer as usize, fWait != 0)?;
        memory::store_u32(lpdwFlags as usize, 0)?;
        Ok(memory::store_u32(lpcbTransfer as usize, bytes)?)
    })
}

/// As WSAGetOverlappedResult, without flags.
#[unsafe(no_mangle)]
pub(super) extern "C" fn GetOverlappedResult(
    hFile: HANDLE,
    lpOverlapped: LPOVERLAPPED,
    lpNumberOfBytesTransferred: LPDWORD,
    bWait: BOOL,
) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        let count = lpNumberOfBytesTransferred as usize;
        let bytes = result(hFile as usize, lpOverlapped as usize, count, bWait != 0)?;
        Ok(memory::store_u32(count, bytes)?)
    })
}

/// Cancels the pending operation of lpOverlapped, or all of the socket when it is NULL. FALSE with
/// ERROR_NOT_FOUND when there is none.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CancelIoEx(hFile: HANDLE, lpOverlapped: LPOVERLAPPED) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        cancel(hFile as usize, lpOverlapped as usize, |_| true)
    })
}

/// Cancels what the calling thread has pending on the socket.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CancelIo(hFile: HANDLE) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        let own = crate::thread::current().id;
        match cancel(hFile as usize, 0, |op| op.ticket.issuer == own) {
            Err(Error::Code(crate::codes::ERROR_NOT_FOUND)) => Ok(()),
            other => other,
        }
    })
}

/// An overlapped call.
pub(super) struct Asynchronous {
    pub(super) fd: Descriptor,
    /// Where the byte count of an immediate completion goes; 0 for nowhere.
    pub(super) count: usize,
    pub(super) overlapped: usize,
    /// Address of the completion routine; 0 for none.
    pub(super) routine: usize,
    pub(super) thread: Arc<Thread>,
}

/// Makes the first attempt, and leaves further ones to the reactor.
pub(super) fn submit(call: Asynchronous, mut work: Box<dyn Work>) -> Result<()> {
    let cookie = call.fd.cookie()?;
    let (fd, tag, count, issuer) = (call.fd, call.overlapped, call.count, call.thread.id);
    let former = world::get().running_reactor().and_then(|reactor| reactor.by_tag(tag));
    if former.is_some_and(|former| !former.is_over()) {
        return Err(Error::Invalid("this OVERLAPPED is in use by a pending operation"));
    }
    if count != 0 {
        memory::store_u32(count, 0)?;
    }
    let told = Told::new(call)?;
    told.begin()?;
    match work.attempt(fd) {
        Step::Done(Ok(bytes)) => {
            if count != 0 {
                memory::store_u32(count, bytes as u32)?;
            }
            Box::new(told).complete(Ok(bytes));
            Ok(())
        }
        // What fails at once is told by the call, and by nothing else.
        Step::Done(Err(error)) => {
            told.note(Err(error));
            if count != 0 {
                memory::store_u32(count, needed(error))?;
            }
            Err(error)
        }
        Step::NotYet(interest) => {
            let ticket = Ticket { fd, cookie, issuer, tag };
            let operation = Arc::new(Operation::new(ticket, work, Box::new(told)));
            let reactor = world::get().reactor();
            if let Err(error) = reactor.and_then(|r| r.submit(&operation, interest)) {
                operation.forget(|| {});
                return Err(error);
            }
            Err(Error::Code(WSA_IO_PENDING))
        }
    }
}

/// How the caller is told: in the OVERLAPPED, and by one or two of event, routine, port.
struct Told {
    overlapped: usize,
    event: Option<Arc<Event>>,
    routine: Option<(usize, Arc<Thread>)>,
    port: Option<(Arc<Port>, usize)>,
}

impl Told {
    fn new(call: Asynchronous) -> Result<Self> {
        let overlapped: WSAOVERLAPPED = memory::read(call.overlapped)?;
        let port = world::get().sockets.of(call.fd).and_then(|known| known.port);
        if call.routine != 0 {
            // The event is the routine's owner's to use.
            memory::read::<u8>(call.routine)?;
            if port.is_some() {
                return Err(Error::Invalid("a socket with a completion port takes no routine"));
            }
            let routine = Some((call.routine, call.thread));
            return Ok(Self { overlapped: call.overlapped, event: None, routine, port: None });
        }
        let (handle, quiet) = (overlapped.hEvent & !1, overlapped.hEvent & 1 != 0);
        let event = (handle != 0).then(|| world::get().handles.event(handle)).transpose()?;
        let port = port.filter(|_| !quiet);
        Ok(Self { overlapped: call.overlapped, event, routine: None, port })
    }

    fn begin(&self) -> Result<()> {
        memory::write(self.at(offset_of!(WSAOVERLAPPED, InternalHigh)), &0usize)?;
        memory::write(self.at(offset_of!(WSAOVERLAPPED, Internal)), &(STATUS_PENDING as usize))?;
        if let Some(event) = &self.event {
            event.reset();
        }
        Ok(())
    }

    /// Writes the result into the OVERLAPPED; the status last, since programs look at it.
    fn note(&self, outcome: Result<usize>) {
        let bytes = outcome.unwrap_or_else(|error| needed(error) as usize).to_ne_bytes();
        // A caller that has freed it has lost it.
        let _ = memory::hand_over(self.at(offset_of!(WSAOVERLAPPED, InternalHigh)), &bytes);
        let status = status(outcome).to_ne_bytes();
        let _ = memory::hand_over(self.at(offset_of!(WSAOVERLAPPED, Internal)), &status);
    }

    const fn at(&self, offset: usize) -> usize {
        self.overlapped.wrapping_add(offset)
    }
}

impl Completion for Told {
    fn complete(self: Box<Self>, outcome: Result<usize>) {
        self.note(outcome);
        let bytes = outcome.unwrap_or_else(|error| needed(error) as usize) as u32;
        let error = outcome.err().map_or(0, Error::code);
        let overlapped = self.overlapped;
        if let Some((port, key)) = self.port {
            port.post(Packet { bytes, key, overlapped, error });
        }
        if let Some((routine, thread)) = self.routine {
            // A thread that has ended runs nothing any more.
            let _ = thread.queue(Box::new(move || call(routine, error, bytes, overlapped)));
        }
        if let Some(event) = self.event {
            event.set();
        }
    }

    fn forget(self: Box<Self>) {
        self.note(Err(Error::ABORTED));
    }
}

fn call(routine: usize, error: i32, bytes: u32, overlapped: usize) {
    // SAFETY: the number is the address of a function of this type, given by the caller as an Option
    // of one; none is 0, which has the same layout.
    let routine =
        unsafe { std::mem::transmute::<usize, LPWSAOVERLAPPED_COMPLETION_ROUTINE>(routine) };
    if let Some(routine) = routine {
        // SAFETY: the caller gave the function to be called with these arguments in this thread.
        unsafe { routine(error.cast_unsigned(), bytes, overlapped as LPWSAOVERLAPPED, 0) };
    }
}

/// An NTSTATUS of the facility for Win32 codes.
const FACILITY_WIN32: usize = 0xC007_0000;

fn status(outcome: Result<usize>) -> usize {
    outcome.err().map_or(0, |error| FACILITY_WIN32 | error.code().cast_unsigned() as usize)
}

/// The number of bytes, or the error that the status tells.
fn outcome(overlapped: &WSAOVERLAPPED) -> Result<u32> {
    match overlapped.Internal {
        0 => Ok(overlapped.InternalHigh as u32),
        status if status == STATUS_PENDING as usize => Err(Error::Code(WSA_IO_INCOMPLETE)),
        status if status & 0xFFFF_0000 == FACILITY_WIN32 => {
            Err(Error::Code((status & 0xFFFF) as i32))
        }
        _ => Err(Error::BAD_PARAMETER),
    }
}

fn result(socket: usize, overlapped: usize, count: usize, wait: bool) -> Result<u32> {
    let fd = Descriptor::new(socket).ok_or(Error::NOT_A_SOCKET)?;
    let open = fd.cookie();
    let pending = world::get().running_reactor().and_then(|reactor| reactor.by_tag(overlapped));
    let state: WSAOVERLAPPED = memory::read(overlapped)?;
    if count == 0 {
        return Err(Error::FAULT);
    }
    let Some(operation) = pending else {
        return match (outcome(&state), open) {
            // It was closed, and this is what that did to the operation.
            (Err(Error::Code(WSA_OPERATION_ABORTED)), _) => Err(Error::ABORTED),
            (_, Err(errno)) => Err(errno.into()),
            (Err(Error::Code(WSA_IO_INCOMPLETE)), _) if wait => Err(Error::BAD_PARAMETER),
            (outcome, _) => outcome,
        };
    };
    if !wait && !operation.is_over() {
        open?;
        return Err(Error::Code(WSA_IO_INCOMPLETE));
    }
    if operation.ticket.fd != fd {
        return Err(Error::BAD_PARAMETER);
    }
    check_can_wait(&state)?;
    operation.wait();
    outcome(&memory::read(overlapped)?)
}

fn check_can_wait(state: &WSAOVERLAPPED) -> Result<()> {
    let handle = state.hEvent & !1;
    if handle != 0 {
        world::get().handles.event(handle)?;
    }
    Ok(())
}

fn cancel(socket: usize, overlapped: usize, of: impl Fn(&Operation) -> bool) -> Result<()> {
    let fd = Descriptor::new(socket).ok_or(Error::BAD_HANDLE)?;
    let cookie = fd.cookie().map_err(|_| Error::BAD_HANDLE)?;
    let none = Error::Code(crate::codes::ERROR_NOT_FOUND);
    let reactor = world::get().running_reactor().ok_or(none)?;
    let mut operations = reactor.of_socket(fd, cookie);
    operations.retain(|op| (overlapped == 0 || op.ticket.tag == overlapped) && of(op));
    if reactor.cancel(&operations) == 0 { Err(none) } else { Ok(()) }
}

/// For the header: statuses are 32 bits.
const _: () = assert!(size_of::<DWORD>() == 4);
