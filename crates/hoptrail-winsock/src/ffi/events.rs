//! Events and waits.

use super::types::{
    BOOL, DWORD, HANDLE, LPCHANDLE, LPCSTR, LPCWSTR, LPSECURITY_ATTRIBUTES, WSAEVENT,
};
use super::{guard, limit, true_or_false};
use crate::codes::{MAXIMUM_WAIT_OBJECTS, WAIT_FAILED, WAIT_IO_COMPLETION, WAIT_TIMEOUT};
use crate::handles::Object;
use crate::overlapped::{Event, Waited, wait};
use crate::{Error, Result, memory, startup, thread, world};
use std::ptr::null_mut;
use std::sync::Arc;

/// An event that is not signalled and stays signalled until it is reset.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSACreateEvent() -> WSAEVENT {
    guard(null_mut(), || {
        startup::check()?;
        Ok(create(true, false))
    })
}

/// Signals an event.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSASetEvent(hEvent: WSAEVENT) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        world::get().handles.event(hEvent as usize).map(|event| event.set())
    })
}

/// Makes an event not signalled.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSAResetEvent(hEvent: WSAEVENT) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        world::get().handles.event(hEvent as usize).map(|event| event.reset())
    })
}

/// Closes an event. An operation that is to signal it still does.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSACloseEvent(hEvent: WSAEVENT) -> BOOL {
    true_or_false(|| {
        startup::check()?;
        world::get().handles.close(hEvent as usize, |object| matches!(object, Object::Event(_)))
    })
}

/// Waits for one event, or for all. With fAlertable, completion routines of the calling thread run
/// in it and end it with WSA_WAIT_IO_COMPLETION.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSAWaitForMultipleEvents(
    cEvents: DWORD,
    lphEvents: LPCHANDLE,
    fWaitAll: BOOL,
    dwTimeout: DWORD,
    fAlertable: BOOL,
) -> DWORD {
    guard(WAIT_FAILED, || {
        startup::check()?;
        wait_for(cEvents, lphEvents as usize, fWaitAll != 0, dwTimeout, fAlertable != 0)
    })
}

/// An event; its attributes and name are not used, so it cannot be shared by name.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CreateEventA(
    _lpEventAttributes: LPSECURITY_ATTRIBUTES,
    bManualReset: BOOL,
    bInitialState: BOOL,
    lpName: LPCSTR,
) -> HANDLE {
    unnamed(lpName.is_null(), bManualReset, bInitialState)
}

/// As CreateEventA.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CreateEventW(
    _lpEventAttributes: LPSECURITY_ATTRIBUTES,
    bManualReset: BOOL,
    bInitialState: BOOL,
    lpName: LPCWSTR,
) -> HANDLE {
    unnamed(lpName.is_null(), bManualReset, bInitialState)
}

/// As WSASetEvent, also before WSAStartup.
#[unsafe(no_mangle)]
pub(super) extern "C" fn SetEvent(hEvent: HANDLE) -> BOOL {
    true_or_false(|| world::get().handles.event(hEvent as usize).map(|event| event.set()))
}

/// As WSAResetEvent, also before WSAStartup.
#[unsafe(no_mangle)]
pub(super) extern "C" fn ResetEvent(hEvent: HANDLE) -> BOOL {
    true_or_false(|| world::get().handles.event(hEvent as usize).map(|event| event.reset()))
}

/// As WSACloseEvent, also before WSAStartup.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CloseEvent(hEvent: HANDLE) -> BOOL {
    true_or_false(|| {
        world::get().handles.close(hEvent as usize, |object| matches!(object, Object::Event(_)))
    })
}

/// Closes an event, a completion port or a thread handle; not a socket: that is closesocket.
#[unsafe(no_mangle)]
pub(super) extern "C" fn CloseHandle(hObject: HANDLE) -> BOOL {
    true_or_false(|| world::get().handles.close(hObject as usize, |_| true))
}

/// Waits for one event.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WaitForSingleObject(hHandle: HANDLE, dwMilliseconds: DWORD) -> DWORD {
    WaitForSingleObjectEx(hHandle, dwMilliseconds, 0)
}

/// Waits for one event, alertable.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WaitForSingleObjectEx(
    hHandle: HANDLE,
    dwMilliseconds: DWORD,
    bAlertable: BOOL,
) -> DWORD {
    guard(WAIT_FAILED, || {
        let event = world::get().handles.event(hHandle as usize)?;
        Ok(code(wait(&[event], false, limit(dwMilliseconds), bAlertable != 0)))
    })
}

/// Waits for one event, or for all.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WaitForMultipleObjects(
    nCount: DWORD,
    lpHandles: LPCHANDLE,
    bWaitAll: BOOL,
    dwMilliseconds: DWORD,
) -> DWORD {
    WaitForMultipleObjectsEx(nCount, lpHandles, bWaitAll, dwMilliseconds, 0)
}

/// Waits for one event, or for all, alertable.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WaitForMultipleObjectsEx(
    nCount: DWORD,
    lpHandles: LPCHANDLE,
    bWaitAll: BOOL,
    dwMilliseconds: DWORD,
    bAlertable: BOOL,
) -> DWORD {
    guard(WAIT_FAILED, || {
        wait_for(nCount, lpHandles as usize, bWaitAll != 0, dwMilliseconds, bAlertable != 0)
    })
}

/// Waits for time to pass; alertable, completion routines of the calling thread end it.
#[unsafe(no_mangle)]
pub(super) extern "C" fn SleepEx(dwMilliseconds: DWORD, bAlertable: BOOL) -> DWORD {
    guard(0, || {
        let alerted = thread::sleep_ex(limit(dwMilliseconds), bAlertable != 0);
        Ok(if alerted { WAIT_IO_COMPLETION } else { 0 })
    })
}

fn unnamed(is_unnamed: bool, manual: BOOL, signalled: BOOL) -> HANDLE {
    guard(null_mut(), || {
        if !is_unnamed {
            return Err(Error::NOT_SUPPORTED);
        }
        Ok(create(manual != 0, signalled != 0))
    })
}

fn create(manual: bool, signalled: bool) -> HANDLE {
    let event = Object::Event(Arc::new(Event::new(manual, signalled)));
    world::get().handles.open(event) as HANDLE
}

fn wait_for(
    count: DWORD,
    handles: usize,
    all: bool,
    milliseconds: DWORD,
    alertable: bool,
) -> Result<DWORD> {
    if count == 0 || count > MAXIMUM_WAIT_OBJECTS {
        return Err(Error::BAD_PARAMETER);
    }
    let numbers: Vec<usize> = memory::read_many(handles, count as usize)?;
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if all && sorted.len() != numbers.len() {
        return Err(Error::BAD_PARAMETER);
    }
    let events: Result<Vec<_>> = numbers.iter().map(|n| world::get().handles.event(*n)).collect();
    Ok(code(wait(&events?, all, limit(milliseconds), alertable)))
}

const fn code(waited: Waited) -> DWORD {
    match waited {
        Waited::Signalled(index) => index as DWORD,
        Waited::Alerted => WAIT_IO_COMPLETION,
        Waited::TimedOut => WAIT_TIMEOUT,
    }
}
