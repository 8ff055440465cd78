//! WSAIoctl, WSARecvMsg and setsockopt with what no safe wrapper knows.
#![expect(unsafe_code, reason = "no safe wrapper takes these codes")]

use super::BorrowedSock;
use std::io;
use std::os::windows::io::{AsRawSocket, RawSocket};
use std::ptr::{null, null_mut};
use windows_sys::Win32::Foundation::ERROR_INSUFFICIENT_BUFFER;
use windows_sys::Win32::Networking::WinSock::{
    LPFN_WSARECVMSG, SIO_GET_EXTENSION_FUNCTION_POINTER, SOCKADDR, WSABUF, WSAEFAULT, WSAEMSGSIZE,
    WSAID_WSARECVMSG, WSAIoctl, WSAMSG, setsockopt,
};

/// Microsoft recommends about 1 KB; a first try that fits saves the second.
const FIRST_BYTES: usize = 2048;
/// More than any answer that was ever seen.
const MOST_BYTES: usize = 1 << 20;

/// Hands what an ioctl answers to `use_it`, however long it is.
pub(super) fn query<T>(
    socket: BorrowedSock<'_>,
    code: u32,
    use_it: impl Fn(&[u8]) -> T,
) -> io::Result<T> {
    let mut small = [0; FIRST_BYTES];
    let mut needed = match answer(socket, code, &mut small)? {
        Answer::Bytes(n) => return Ok(use_it(&small[..n])),
        Answer::Needs(n) => n,
    };
    // It may have grown between two questions, but not for ever.
    while needed <= MOST_BYTES {
        let mut larger = vec![0; needed.max(2 * FIRST_BYTES)];
        match answer(socket, code, &mut larger)? {
            Answer::Bytes(n) => return Ok(use_it(&larger[..n])),
            Answer::Needs(n) => needed = n.max(2 * larger.len()),
        }
    }
    Err(io::Error::from_raw_os_error(ERROR_INSUFFICIENT_BUFFER.cast_signed()))
}

/// Gives bytes to an ioctl that answers nothing.
pub(super) fn give(socket: BorrowedSock<'_>, code: u32, value: &[u8]) -> io::Result<()> {
    control(socket.as_raw_socket(), code, value, &mut []).1
}

enum Answer {
    Bytes(usize),
    Needs(usize),
}

/// WSAEFAULT with a count is what some versions say instead of ERROR_INSUFFICIENT_BUFFER.
fn answer(socket: BorrowedSock<'_>, code: u32, buffer: &mut [u8]) -> io::Result<Answer> {
    let (count, result) = control(socket.as_raw_socket(), code, &[], buffer);
    match result {
        Ok(()) => Ok(Answer::Bytes(count.min(buffer.len()))),
        Err(error) => match error.raw_os_error() {
            Some(code) if code == ERROR_INSUFFICIENT_BUFFER.cast_signed() => {
                Ok(Answer::Needs(count))
            }
            Some(WSAEFAULT) if count > buffer.len() => Ok(Answer::Needs(count)),
            _ => Err(error),
        },
    }
}

/// The count of bytes, which some failures have too, and whether it succeeded.
fn control(
    socket: RawSocket,
    code: u32,
    input: &[u8],
    output: &mut [u8],
) -> (usize, io::Result<()>) {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut count = 0;
    // SAFETY: `input` is readable and `output` writable for their lengths, no length is beyond what is
    // there, and without an OVERLAPPED the call is over when it returns.
    let result = unsafe {
        WSAIoctl(
            socket as _,
            code,
            if input.is_empty() { null() } else { input.as_ptr().cast() },
            length(input.len()),
            if output.is_empty() { null_mut() } else { output.as_mut_ptr().cast() },
            length(output.len()),
            &raw mut count,
            null_mut(),
            None,
        )
    };
    // Now: anything else may change the thread's last error.
    let result = if result == 0 { Ok(()) } else { Err(last_error()) };
    (count as usize, result)
}

/// Winsock's, which on Windows is also the thread's last error.
fn last_error() -> io::Error {
    io::Error::last_os_error()
}

/// Switches an option on.
pub(super) fn switch_on(socket: BorrowedSock<'_>, level: i32, option: i32) -> io::Result<()> {
    let on = 1_u32.to_ne_bytes();
    // SAFETY: four readable bytes are given as such, and the call keeps nothing.
    let result = unsafe {
        setsockopt(socket.as_raw_socket() as _, level, option, on.as_ptr(), on.len() as i32)
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// A datagram with its control messages.
pub(super) struct Received {
    pub(super) bytes: usize,
    pub(super) control_bytes: usize,
    /// The bytes of a `SOCKADDR_STORAGE`.
    pub(super) from: [u64; 16],
    /// `MSG_CTRUNC` and the like.
    pub(super) flags: u32,
}

/// Receives a datagram and its control messages.
pub(super) fn receive(
    socket: BorrowedSock<'_>,
    buffer: &mut [u8],
    control: &mut [u8],
) -> io::Result<Received> {
    let receive = receiver(socket)?.ok_or(io::ErrorKind::Unsupported)?;
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut from = [0_u64; 16];
    let mut data = WSABUF { len: length(buffer.len()), buf: buffer.as_mut_ptr() };
    let mut message = WSAMSG {
        name: (&raw mut from).cast::<SOCKADDR>(),
        namelen: size_of_val(&from) as i32,
        lpBuffers: &raw mut data,
        dwBufferCount: 1,
        Control: WSABUF { len: length(control.len()), buf: control.as_mut_ptr() },
        dwFlags: 0,
    };
    let mut count = 0;
    // SAFETY: everything that `message` points to is writable for the length beside it and outlives the
    // call, which without an OVERLAPPED is over when it returns.
    let result = unsafe {
        receive(socket.as_raw_socket() as _, &raw mut message, &raw mut count, null_mut(), None)
    };
    if result != 0 {
        let error = last_error();
        if error.raw_os_error() != Some(WSAEMSGSIZE) {
            return Err(error);
        }
        // The datagram was received, and what did not fit is cut off: no error elsewhere.
        count = length(buffer.len());
    }
    let control_bytes = (message.Control.len as usize).min(control.len());
    Ok(Received { bytes: count as usize, control_bytes, from, flags: message.dwFlags })
}

/// WSARecvMsg is to be asked for, of each provider of sockets.
fn receiver(socket: BorrowedSock<'_>) -> io::Result<LPFN_WSARECVMSG> {
    let name = WSAID_WSARECVMSG;
    let mut pointer: LPFN_WSARECVMSG = None;
    let mut count = 0;
    // SAFETY: the name is a readable GUID, and the answer is a function pointer of this type, or null.
    let result = unsafe {
        WSAIoctl(
            socket.as_raw_socket() as _,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const name).cast(),
            size_of_val(&name) as u32,
            (&raw mut pointer).cast(),
            size_of_val(&pointer) as u32,
            &raw mut count,
            null_mut(),
            None,
        )
    };
    if result == 0 { Ok(pointer) } else { Err(last_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Records};
    use std::net::UdpSocket;
    use std::os::windows::io::{AsSocket, BorrowedSocket};

    #[test]
    fn what_is_no_socket_is_told() {
        // SAFETY: no socket has this number, and the handle is only asked about.
        let none = unsafe { BorrowedSocket::borrow_raw(0x7fff_fff0) };
        let kinds = [
            crate::records(&none).unwrap_err().kind(),
            crate::context(&none).unwrap_err().kind(),
            crate::set_records(&none, &Records::from_bytes(b"x")).unwrap_err().kind(),
            crate::original_destination(&none).unwrap_err().kind(),
        ];
        assert_eq!(kinds, [ErrorKind::NotSocket; 4]);
    }

    #[test]
    fn a_datagram_is_received_with_room_for_control_messages() {
        let (one, other) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        other.send_to(b"hello", one.local_addr().unwrap()).unwrap();
        let (mut buffer, mut control) = ([0; 16], [0; 512]);
        let received = receive(one.as_socket(), &mut buffer, &mut control).unwrap();
        assert_eq!(&buffer[..received.bytes], b"hello");
        assert_eq!((received.control_bytes, received.flags), (0, 0));
        other.send_to(b"more than there is room for", one.local_addr().unwrap()).unwrap();
        let received = receive(one.as_socket(), &mut buffer, &mut control).unwrap();
        assert_eq!((&buffer[..], received.bytes), (&b"more than there "[..], 16));
    }
}
