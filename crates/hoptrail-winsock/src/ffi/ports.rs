//! Completion ports.

use super::types::{
    BOOL, DWORD, HANDLE, INVALID_HANDLE_VALUE, LPDWORD, LPLPOVERLAPPED, LPOVERLAPPED, PULONG_PTR,
    ULONG_PTR,
};
use super::{guard, limit, true_or_false};
use crate::codes::{ERROR_ABANDONED_WAIT_0, WAIT_TIMEOUT};
use crate::handles::Object;
use crate::overlapped::{NoPacket, Packet, Port};
use crate::system::Descriptor;
use crate::{Error, Result, memory, world};
use std::ptr::null_mut;
use std::sync::Arc;

/// Makes a completion port (FileHandle INVALID_HANDLE_VALUE), or lets the overlapped operations of a
/// socket be posted to one, under CompletionKey; a socket stays with its first port.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CreateIoCompletionPort(
    FileHandle: HANDLE,
    ExistingCompletionPort: HANDLE,
    CompletionKey: ULONG_PTR,
    _NumberOfConcurrentThreads: DWORD,
) -> HANDLE {
    guard(null_mut(), || {
        open(FileHandle as usize, ExistingCompletionPort as usize, CompletionKey)
            .map(|handle| handle as HANDLE)
    })
}

/// Takes the next packet. FALSE with *lpOverlapped not NULL: the packet of an operation that failed,
/// with its error; FALSE with NULL: there is no packet, WAIT_TIMEOUT or ERROR_ABANDONED_WAIT_0.
#[unsafe(no_mangle)]
pub(super) extern "C" fn GetQueuedCompletionStatus(
    CompletionPort: HANDLE,
    lpNumberOfBytesTransferred: LPDWORD,
    lpCompletionKey: PULONG_PTR,
    lpOverlapped: LPLPOVERLAPPED,
    dwMilliseconds: DWORD,
) -> BOOL {
    let (bytes, key) = (lpNumberOfBytesTransferred as usize, lpCompletionKey as usize);
    true_or_false(|| {
        let port = world::get().handles.port(CompletionPort as usize)?;
        // Before a packet is taken: one that cannot be told would be lost.
        memory::write(lpOverlapped as usize, &0usize)?;
        memory::write(key, &0usize)?;
        memory::store_u32(bytes, 0)?;
        let packet = port.get(limit(dwMilliseconds)).map_err(|none| match none {
            NoPacket::TimedOut => Error::Code(WAIT_TIMEOUT.cast_signed()),
            NoPacket::Closed => Error::Code(ERROR_ABANDONED_WAIT_0),
        })?;
        memory::store_u32(bytes, packet.bytes)?;
        memory::write(key, &packet.key)?;
        memory::write(lpOverlapped as usize, &packet.overlapped)?;
        if packet.error == 0 { Ok(()) } else { Err(Error::Code(packet.error)) }
    })
}

/// Posts a packet by hand.
#[unsafe(no_mangle)]
pub(super) extern "C" fn PostQueuedCompletionStatus(
    CompletionPort: HANDLE,
    dwNumberOfBytesTransferred: DWORD,
    dwCompletionKey: ULONG_PTR,
    lpOverlapped: LPOVERLAPPED,
) -> BOOL {
    true_or_false(|| {
        let port = world::get().handles.port(CompletionPort as usize)?;
        port.post(Packet {
            bytes: dwNumberOfBytesTransferred,
            key: dwCompletionKey,
            overlapped: lpOverlapped as usize,
            error: 0,
        });
        Ok(())
    })
}

fn open(file: usize, existing: usize, key: usize) -> Result<usize> {
    let handles = &world::get().handles;
    if file == INVALID_HANDLE_VALUE {
        if existing != 0 {
            return Err(Error::BAD_PARAMETER);
        }
        return Ok(handles.open(Object::Port(Arc::default())));
    }
    let fd = Descriptor::new(file).ok_or(Error::BAD_HANDLE)?;
    fd.cookie().map_err(|_| Error::BAD_HANDLE)?;
    if existing != 0 {
        associate(fd, handles.port(existing)?, key)?;
        return Ok(existing);
    }
    let port = Arc::new(Port::default());
    associate(fd, Arc::clone(&port), key)?;
    Ok(handles.open(Object::Port(port)))
}

fn associate(fd: Descriptor, port: Arc<Port>, key: usize) -> Result<()> {
    world::get().sockets.change(fd, |known| {
        if known.port.is_some() || !known.overlapped {
            return Err(Error::BAD_PARAMETER);
        }
        known.port = Some((port, key));
        Ok(())
    })?
}
