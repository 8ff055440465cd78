//! Starting and ending.

use super::types::{INT, LPWSADATA, WORD, WSADATA};
use super::zero_or_error;
use crate::codes::WSAEINVAL;
use crate::overlapped::cancel_own;
use crate::{Error, Result, memory, startup};

/// Begins to use the library: every other function but WSAGetLastError and its like fails with
/// WSANOTINITIALISED before. Returns the error itself: WSAVERNOTSUPPORTED, WSAEFAULT.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSAStartup(wVersionRequested: WORD, lpWSAData: LPWSADATA) -> INT {
    match start(wVersionRequested, lpWSAData as usize) {
        Ok(()) => 0,
        Err(error) => error.code(),
    }
}

/// Ends what one WSAStartup began. The last one ends every pending operation without telling
/// anybody: no event is signalled, no routine is called, nothing is posted. Sockets stay open.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSACleanup() -> INT {
    zero_or_error(startup::clean_up)
}

/// Interrupts the blocking call of the calling thread, which then fails with WSAEINTR. For signal
/// handlers; fails with WSAEINVAL when the thread is not in a blocking call.
#[unsafe(no_mangle)]
pub(super) extern "C" fn WSACancelBlockingCall() -> INT {
    // Nothing here takes a lock or memory.
    if cancel_own() {
        return 0;
    }
    super::last_error::set(WSAEINVAL);
    super::SOCKET_ERROR
}

fn start(wanted: WORD, data: usize) -> Result<()> {
    let version = startup::negotiate(wanted);
    let mut given = WSADATA {
        wVersion: version.unwrap_or(startup::VERSION),
        wHighVersion: startup::VERSION,
        iMaxSockets: 0,
        iMaxUdpDg: 0,
        lpVendorInfo: 0,
        szDescription: [0; 257],
        szSystemStatus: [0; 129],
        padding: [0; 6],
    };
    let description = concat!("Hoptrail ", env!("CARGO_PKG_VERSION")).as_bytes();
    given.szDescription[..description.len()].copy_from_slice(description);
    given.szSystemStatus[..7].copy_from_slice(b"Running");
    memory::write(data, &given).map_err(Error::from)?;
    version?;
    startup::start();
    Ok(())
}
