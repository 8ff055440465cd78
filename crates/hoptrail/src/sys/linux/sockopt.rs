//! getsockopt(2) and setsockopt(2) with any level and option: the crate's one unsafe module.
#![expect(
    unsafe_code,
    reason = "no safe wrapper takes a level and an option that it does not know"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Reads an option into `buffer` and gives the part that was filled.
pub(crate) fn get<'b>(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    let mut length = libc::socklen_t::try_from(buffer.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the descriptor is open as long as it is borrowed; `buffer` is writable for `length`
    // bytes, and the kernel writes no more than that and then the count.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let filled = (length as usize).min(buffer.len());
    Ok(&buffer[..filled])
}

/// Sets an option to `value`.
pub(crate) fn set(socket: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the descriptor is open as long as it is borrowed; `value` is readable for `length`
    // bytes, and the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length)
    };
    if result != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_known_option_goes_both_ways() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BROADCAST, &1i32.to_ne_bytes()).unwrap();
        let mut buffer = [0xaa; 16];
        let got = get(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BROADCAST, &mut buffer).unwrap();
        assert_eq!(got, 1i32.to_ne_bytes());
        assert_eq!(buffer[4..], [0xaa; 12]);
    }

    #[test]
    fn an_unknown_level_gives_the_kernels_errno() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let errno = get(socket.as_fd(), 0x1234, 1, &mut [0; 4]).unwrap_err().raw_os_error();
        assert!(matches!(errno, Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT)), "{errno:?}");
    }
}
