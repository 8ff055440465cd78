//! TCP's urgent mark, which has no safe call of its own.
#![expect(unsafe_code, reason = "sockatmark(3) is an ioctl")]

use rustix::ioctl::{Getter, Opcode, ioctl};
use std::ffi::c_int;
use std::os::fd::AsFd;

const SIOCATMARK: Opcode = 0x8905;

/// Whether the next byte to be read is the urgent one.
pub(crate) fn is_at_mark(socket: impl AsFd) -> bool {
    // SAFETY: SIOCATMARK writes one int, tcp(7).
    let at_mark = unsafe { ioctl(socket, Getter::<SIOCATMARK, c_int>::new()) };
    at_mark.is_ok_and(|at_mark| at_mark != 0)
}
