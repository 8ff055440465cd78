//! The C functions: arguments and errors as documented, everything else in the rest of the crate.
//!
//! Their prototypes in the header are printed from these files (`header.rs`), hence the documented
//! names of types and parameters. Pointers are addresses here: only the kernel follows them.

#![expect(
    unsafe_code,
    reason = "functions are exported by name, the caller's routines and the system's functions called"
)]
#![expect(non_snake_case, reason = "documented names")]

mod events;
mod ioctl;
mod last_error;
mod messages;
mod names;
mod options;
mod overlapped;
mod ports;
mod sockets;
mod startup;
mod threads;
pub mod types;

use crate::codes::WSASYSCALLFAILURE;
use crate::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use types::{BOOL, DWORD, FALSE, INT, TRUE};

/// What a call returns when it failed.
const SOCKET_ERROR: INT = -1;

/// The one boundary: no panic crosses it, and an error becomes the thread's last one.
#[inline]
fn guard<T>(failed: T, call: impl FnOnce() -> Result<T>) -> T {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            last_error::set(error.code());
            failed
        }
        Err(_) => {
            last_error::set(WSASYSCALLFAILURE);
            failed
        }
    }
}

/// For functions that return 0 or SOCKET_ERROR.
#[inline]
fn zero_or_error(call: impl FnOnce() -> Result<()>) -> INT {
    guard(SOCKET_ERROR, || call().map(|()| 0))
}

/// For functions that return a BOOL.
fn true_or_false(call: impl FnOnce() -> Result<()>) -> BOOL {
    guard(FALSE, || call().map(|()| TRUE))
}

/// Milliseconds, or INFINITE.
fn limit(milliseconds: DWORD) -> Option<Duration> {
    (milliseconds != crate::codes::INFINITE).then(|| Duration::from_millis(milliseconds.into()))
}

/// A length in bytes that cannot be negative.
fn length(n: INT) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::FAULT)
}

/// For a provider's entries: the error goes where they are told. A pointer that leads nowhere can be
/// told of nowhere else than in the thread's last error.
fn provider_call(errno: usize, call: impl FnOnce() -> Result<()>) -> INT {
    if crate::memory::store_u32(errno, 0).is_err() {
        last_error::set(Error::FAULT.code());
        return SOCKET_ERROR;
    }
    let outcome =
        catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Error::Code(WSASYSCALLFAILURE)));
    let Err(error) = outcome else { return 0 };
    // It could be written a moment ago.
    let _ = crate::memory::store_u32(errno, error.code().cast_unsigned());
    SOCKET_ERROR
}
