//! Each thread's last error.

use super::types::{DWORD, INT};
use std::cell::Cell;

thread_local! {
    static LAST: Cell<i32> = const { Cell::new(0) };
}

pub(super) fn set(code: i32) {
    LAST.set(code);
}

/// The calling thread's last error. A call that succeeds leaves it as it was.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSAGetLastError() -> INT {
    LAST.get()
}

/// Sets the calling thread's last error.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSASetLastError(iError: INT) {
    LAST.set(iError);
}

/// As WSAGetLastError: Winsock and Win32 have the same last error.
#[unsafe(no_mangle)]
pub(super) extern "C" fn GetLastError() -> DWORD {
    LAST.get().cast_unsigned()
}

/// As WSASetLastError.
#[unsafe(no_mangle)]
pub(super) extern "C" fn SetLastError(dwErrCode: DWORD) {
    LAST.set(dwErrCode.cast_signed());
}
