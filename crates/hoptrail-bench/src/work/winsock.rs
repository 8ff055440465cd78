//! The documented calls, and the socket options under them, on one redirected connection.
#![expect(unsafe_code, reason = "the calls are those of the C interface")]

use super::since;
use crate::wire::Call;
use hoptrail_core::abi::{REDIRECT_CONTEXT, REDIRECT_RECORDS, SOL_HOPTRAIL};
// Its library has the functions below.
use hoptrail_winsock as _;
use socket2::{Domain, Protocol, Socket, Type};
use std::ffi::c_void;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::null_mut;
use std::time::Instant;

const QUERY_RECORDS: u32 = 0x9800_00DC;
const QUERY_CONTEXT: u32 = 0x9800_00DD;
const SET_RECORDS: u32 = 0x9800_00DE;

#[repr(C)]
struct Overlapped {
    internal: [usize; 2],
    offset: [u32; 2],
    event: *mut c_void,
}

unsafe extern "C" {
    fn WSAStartup(version: u16, data: *mut c_void) -> i32;
    fn WSACreateEvent() -> *mut c_void;
    fn WSAIoctl(
        socket: usize,
        code: u32,
        input: *const c_void,
        input_size: u32,
        output: *mut c_void,
        output_size: u32,
        count: *mut u32,
        overlapped: *mut Overlapped,
        routine: *mut c_void,
    ) -> i32;
}

/// Calls `count` times on a connection that waits already; gives the time of each.
pub(super) fn run(listener: &TcpListener, call: Call, count: u32) -> io::Result<Vec<u32>> {
    start()?;
    let (accepted, _) = listener.accept()?;
    let mut records = [0; 4096];
    let length = option(accepted.as_raw_fd(), REDIRECT_RECORDS, &mut records)?;
    let upstream = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // SAFETY: it takes nothing.
    let event = unsafe { WSACreateEvent() };
    let (accepted, upstream) = (accepted.as_raw_fd(), upstream.as_raw_fd());
    let mut buffer = [0; 1024];
    (0..count)
        .map(|_| {
            let start = Instant::now();
            match call {
                Call::OptionRecords => option(accepted, REDIRECT_RECORDS, &mut buffer).map(drop)?,
                Call::OptionContext => option(accepted, REDIRECT_CONTEXT, &mut buffer).map(drop)?,
                Call::OptionSet => set_option(upstream, &records[..length])?,
                Call::Records => query(accepted, QUERY_RECORDS, &mut buffer, null_mut())?,
                Call::Context => query(accepted, QUERY_CONTEXT, &mut buffer, null_mut())?,
                Call::Set => set(upstream, &records[..length])?,
                Call::Overlapped => {
                    let mut operation = Overlapped { internal: [0; 2], offset: [0; 2], event };
                    query(accepted, QUERY_RECORDS, &mut buffer, &raw mut operation)?;
                }
            }
            Ok(since(start))
        })
        .collect()
}

fn start() -> io::Result<()> {
    let mut data = [0u64; 64];
    // SAFETY: the buffer is larger than a WSADATA.
    match unsafe { WSAStartup(0x0202, data.as_mut_ptr().cast()) } {
        0 => Ok(()),
        error => Err(io::Error::other(format!("WSAStartup: error {error}"))),
    }
}

fn option(fd: RawFd, name: i32, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = buffer.len() as libc::socklen_t;
    // SAFETY: the buffer is as long as said, and the length is ours.
    let result = unsafe {
        libc::getsockopt(fd, SOL_HOPTRAIL, name, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(length as usize) } else { Err(io::Error::last_os_error()) }
}

fn set_option(fd: RawFd, records: &[u8]) -> io::Result<()> {
    let length = records.len() as libc::socklen_t;
    // SAFETY: the buffer is as long as said.
    let result = unsafe {
        libc::setsockopt(fd, SOL_HOPTRAIL, REDIRECT_RECORDS, records.as_ptr().cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn query(fd: RawFd, code: u32, buffer: &mut [u8], operation: *mut Overlapped) -> io::Result<()> {
    let (size, mut count) = (buffer.len() as u32, 0);
    // SAFETY: the buffer is as long as said; it, the count and the operation outlive the call, which
    // is not pending on an accepted connection.
    let result = unsafe {
        WSAIoctl(
            fd as usize,
            code,
            null_mut(),
            0,
            buffer.as_mut_ptr().cast(),
            size,
            &raw mut count,
            operation,
            null_mut(),
        )
    };
    done(result)
}

fn set(fd: RawFd, records: &[u8]) -> io::Result<()> {
    let (from, size, mut count) = (records.as_ptr().cast(), records.len() as u32, 0);
    let (none, no_operation) = (null_mut(), null_mut());
    // SAFETY: the input is as long as said; SET is never pending.
    let result = unsafe {
        WSAIoctl(
            fd as usize,
            SET_RECORDS,
            from,
            size,
            none,
            0,
            &raw mut count,
            no_operation,
            null_mut(),
        )
    };
    done(result)
}

fn done(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::other("WSAIoctl failed")) }
}
