//! Socket options with every detail: how much room was offered, what the whole buffer held after.
#![expect(
    unsafe_code,
    reason = "no safe wrapper takes a level and an option that it does not know"
)]

use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the buffer holds before each call.
pub const UNTOUCHED: u8 = 0xa5;

/// What a getsockopt did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The error, if it failed.
    pub errno: Option<i32>,
    /// The length as the call left it.
    pub length: u32,
    /// The whole buffer; [`UNTOUCHED`] wherever the kernel wrote nothing.
    pub buffer: Vec<u8>,
}

impl Probe {
    /// The value.
    ///
    /// # Errors
    /// The call's error.
    pub fn value(self) -> io::Result<Vec<u8>> {
        match self.errno {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => {
                let length = (self.length as usize).min(self.buffer.len());
                Ok(self.buffer[..length].to_vec())
            }
        }
    }

    /// Whether nothing was written from byte `from` on.
    #[must_use]
    pub fn untouched_from(&self, from: usize) -> bool {
        self.buffer[from..].iter().all(|&b| b == UNTOUCHED)
    }
}

/// Asks for an option with `room` bytes.
///
/// Inside an actor; a test uses [`super::Actor::probe`].
#[must_use]
pub fn get(socket: BorrowedFd<'_>, level: i32, option: i32, room: usize) -> Probe {
    let mut buffer = vec![UNTOUCHED; room];
    let mut length = room as libc::socklen_t;
    // SAFETY: the descriptor is open while borrowed; the buffer is writable for `length` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let errno = (result != 0).then(|| io::Error::last_os_error().raw_os_error().unwrap_or(0));
    Probe { errno, length, buffer }
}

/// Sets an option.
///
/// # Errors
/// `setsockopt(2)`'s.
pub fn set(socket: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is open while borrowed; the kernel only reads `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `getsockopt(2)` with a length word or a buffer where no memory is, and what it gave for it.
///
/// # Errors
/// `getsockopt(2)`'s.
pub fn get_into_nowhere(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    length_too: bool,
) -> io::Result<()> {
    let mut length = 4096 as libc::socklen_t;
    let length = if length_too { std::ptr::null_mut() } else { &raw mut length };
    // The first page is never mapped.
    let nowhere = std::ptr::without_provenance_mut(64);
    // SAFETY: the kernel checks both pointers and writes through neither when it cannot.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, nowhere, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `setsockopt(2)` of `length` bytes from where no memory is.
///
/// # Errors
/// `setsockopt(2)`'s.
pub fn set_from_nowhere(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    length: u32,
) -> io::Result<()> {
    let nowhere = std::ptr::without_provenance(64);
    // SAFETY: the kernel checks the pointer and reads through it only when it can.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, nowhere, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `connect(2)` to no address (`AF_UNSPEC`), which dissolves a connection.
///
/// # Errors
/// `connect(2)`'s.
pub fn dissolve(socket: BorrowedFd<'_>) -> io::Result<()> {
    let nobody =
        libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    let size = size_of::<libc::sockaddr>() as libc::socklen_t;
    // SAFETY: the address is valid for the size that is given.
    let result = unsafe { libc::connect(socket.as_raw_fd(), &raw const nobody, size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `connect(2)` with an address of any family and length, made of `bytes`.
///
/// # Errors
/// `connect(2)`'s.
pub fn connect_with(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let (address, size) = (bytes.as_ptr().cast(), bytes.len() as libc::socklen_t);
    // SAFETY: the kernel reads no more than the size that is given.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address, size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
