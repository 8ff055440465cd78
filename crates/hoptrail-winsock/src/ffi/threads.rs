//! Threads and routines queued to them, for providers.

use super::provider_call;
use super::types::{DWORD_PTR, INT, LPINT, LPWSATHREADID, LPWSAUSERAPC, WSATHREADID};
use crate::handles::Object;
use crate::{Error, Result, memory, thread, world};

/// Queues a routine to a thread, which runs it in its next alertable wait. The structure is no longer
/// used when this returns.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WPUQueueApc(
    lpThreadId: LPWSATHREADID,
    lpfnUserApc: LPWSAUSERAPC,
    dwContext: DWORD_PTR,
    lpErrno: LPINT,
) -> INT {
    provider_call(lpErrno as usize, || {
        let routine = lpfnUserApc.ok_or(Error::FAULT)?;
        memory::read::<u8>(routine as usize)?;
        let thread = world::get().handles.thread(id(lpThreadId as usize)?.ThreadHandle)?;
        // SAFETY: the caller gave the function to be called with this argument in that thread.
        let apc = Box::new(move || unsafe { routine(dwContext) });
        if thread.queue(apc) { Ok(()) } else { Err(Error::BAD_HANDLE) }
    })
}

/// Fills in the calling thread's identity, for WSPIoctl and WPUQueueApc.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WPUOpenCurrentThread(lpThreadId: LPWSATHREADID, lpErrno: LPINT) -> INT {
    provider_call(lpErrno as usize, || {
        memory::write(lpThreadId as usize, &WSATHREADID::default())?;
        let handle = world::get().handles.open(Object::Thread(thread::current()));
        let id = WSATHREADID { ThreadHandle: handle, Reserved: 0 };
        Ok(memory::write(lpThreadId as usize, &id)?)
    })
}

/// Gives an identity back.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WPUCloseThread(lpThreadId: LPWSATHREADID, lpErrno: LPINT) -> INT {
    provider_call(lpErrno as usize, || {
        let handle = id(lpThreadId as usize)?.ThreadHandle;
        world::get().handles.close(handle, |object| matches!(object, Object::Thread(_)))
    })
}

fn id(address: usize) -> Result<WSATHREADID> {
    Ok(memory::read(address)?)
}
