//! System calls on descriptors and addresses that C gave: every one is checked by the kernel.
#![expect(unsafe_code, reason = "system calls on the caller's descriptors and addresses")]

use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

type Result<T> = std::result::Result<T, Errno>;

/// A socket's number as the caller gave it. Nothing says that it is open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Descriptor(i32);

/// Bytes of the caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) address: usize,
    pub(crate) length: usize,
}

/// What `recvmsg` gave, or `sendmsg` is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header {
    pub(crate) name_length: u32,
    pub(crate) control_length: usize,
    pub(crate) flags: i32,
}

impl Descriptor {
    /// A SOCKET; nothing for what can be none.
    pub(crate) fn new(socket: usize) -> Option<Self> {
        i32::try_from(socket).ok().map(Self)
    }

    pub(crate) fn of(socket: &impl AsFd) -> Self {
        Self(socket.as_fd().as_raw_fd())
    }

    pub(crate) const fn raw(self) -> i32 {
        self.0
    }

    /// For rustix' functions.
    pub(crate) const fn fd(self) -> BorrowedFd<'static> {
        // SAFETY: it is not negative. Whether it is open is for the kernel to say, as with every
        // number from C; nothing here relies on it.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }

    /// Another descriptor of the same socket, which nobody else can close.
    pub(crate) fn duplicate(self) -> Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(self.fd(), 3)
    }

    /// The kernel's name for the socket, which is never given again.
    pub(crate) fn cookie(self) -> Result<u64> {
        option(self, libc::SOL_SOCKET, libc::SO_COOKIE)
    }

    pub(crate) fn is_nonblocking(self) -> bool {
        rustix::fs::fcntl_getfl(self.fd()).is_ok_and(|f| f.contains(rustix::fs::OFlags::NONBLOCK))
    }

    pub(crate) fn close(self) -> Result<()> {
        // SAFETY: the caller asked for it. On Linux the number is free even after an error.
        let result = unsafe { libc::close(self.0) };
        if result == 0 { Ok(()) } else { Err(last()) }
    }
}

impl Span {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { address: bytes.as_ptr() as usize, length: bytes.len() }
    }

    pub(crate) fn of_mut(bytes: &mut [u8]) -> Self {
        Self { address: bytes.as_mut_ptr() as usize, length: bytes.len() }
    }
}

/// Reads an option straight into the caller's memory, and gives its length.
pub(crate) fn option_into(fd: Descriptor, level: i32, name: i32, into: Span) -> Result<usize> {
    let mut length = into.length as libc::socklen_t;
    // SAFETY: the kernel writes only where it can, and no more than `length` bytes.
    let result =
        unsafe { libc::getsockopt(fd.0, level, name, into.address as *mut _, &raw mut length) };
    if result == 0 { Ok(length as usize) } else { Err(last()) }
}

/// Sets an option straight from the caller's memory.
pub(crate) fn set_option_from(fd: Descriptor, level: i32, name: i32, from: Span) -> Result<()> {
    let length = libc::socklen_t::try_from(from.length).map_err(|_| Errno::INVAL)?;
    // SAFETY: the kernel reads only where it can.
    let result = unsafe { libc::setsockopt(fd.0, level, name, from.address as *const _, length) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// Whether a number that only TCP gives can be had: the cheapest question that tells TCP from UDP, since
/// it passes by the hooks which every option passes.
pub(crate) fn tells_unsent(fd: Descriptor) -> bool {
    /// `SIOCOUTQNSD` of `linux/sockios.h`: how many bytes have not been sent yet.
    const UNSENT: libc::c_ulong = 0x894B;
    let mut bytes: libc::c_int = 0;
    // SAFETY: sockets that know the request write one int, and others nothing.
    unsafe { libc::ioctl(fd.0, UNSENT, &raw mut bytes) == 0 }
}

/// Reads an option of a known size.
pub(crate) fn option<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
    fd: Descriptor,
    level: i32,
    name: i32,
) -> Result<T> {
    let mut value = T::new_zeroed();
    let into = Span::of_mut(value.as_mut_bytes());
    option_into(fd, level, name, into)?;
    Ok(value)
}

/// Reads an option into a vector of at most `room` bytes.
pub(crate) fn option_bytes(fd: Descriptor, level: i32, name: i32, room: usize) -> Result<Vec<u8>> {
    let mut value = vec![0; room];
    let into = Span::of_mut(&mut value);
    let length = option_into(fd, level, name, into)?;
    value.truncate(length);
    Ok(value)
}

/// Sets an option.
pub(crate) fn set_option(fd: Descriptor, level: i32, name: i32, value: &[u8]) -> Result<()> {
    set_option_from(fd, level, name, Span::of(value))
}

/// `recvmsg(2)`: the data go straight into the caller's buffers, name and control into ours.
pub(crate) fn receive(
    fd: Descriptor,
    buffers: &[Span],
    name: &mut [u8],
    control: &mut [u8],
    flags: i32,
) -> Result<(usize, Header)> {
    let mut vectors = vectors(buffers);
    let mut message = message(&mut vectors, name, control);
    // SAFETY: name and control are ours and as long as said; the kernel writes the caller's buffers
    // only where it can.
    let n = unsafe { libc::recvmsg(fd.0, &raw mut message, flags) };
    let n = usize::try_from(n).map_err(|_| last())?;
    let header = Header {
        name_length: message.msg_namelen,
        control_length: message.msg_controllen,
        flags: message.msg_flags,
    };
    Ok((n, header))
}

/// `sendmsg(2)`: the data come straight from the caller's buffers.
pub(crate) fn send(
    fd: Descriptor,
    buffers: &[Span],
    name: &mut [u8],
    control: &mut [u8],
    flags: i32,
) -> Result<usize> {
    let mut vectors = vectors(buffers);
    let message = message(&mut vectors, name, control);
    // SAFETY: name and control are ours and as long as said; the kernel reads the caller's buffers
    // only where it can.
    let n = unsafe { libc::sendmsg(fd.0, &raw const message, flags | libc::MSG_NOSIGNAL) };
    usize::try_from(n).map_err(|_| last())
}

/// The address that a socket is connected to, as bytes.
pub(crate) fn peer_name(fd: Descriptor) -> Result<Vec<u8>> {
    let mut name = vec![0u8; size_of::<libc::sockaddr_storage>()];
    let mut length = name.len() as libc::socklen_t;
    // SAFETY: the buffer is as long as said.
    let result = unsafe { libc::getpeername(fd.0, name.as_mut_ptr().cast(), &raw mut length) };
    if result != 0 {
        return Err(last());
    }
    name.truncate(length as usize);
    Ok(name)
}

/// `connect(2)` to an address in bytes.
pub(crate) fn connect(fd: Descriptor, name: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads no more than the length that is given.
    let result =
        unsafe { libc::connect(fd.0, name.as_ptr().cast(), name.len() as libc::socklen_t) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// `socket(2)`.
pub(crate) fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: socket(2) has no conditions; what it gives belongs to whoever called.
    unsafe {
        let fd = libc::socket(family, kind, protocol);
        if fd < 0 { Err(last()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Calls `in_child` in every child of fork(2).
pub(crate) fn after_fork(in_child: extern "C" fn()) {
    // SAFETY: the function keeps to what a child of fork may do: it takes no lock that another
    // thread may hold.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

/// For a thread that serves others: signals are theirs.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset(3) before it is used.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

fn message(vectors: &mut [libc::iovec], name: &mut [u8], control: &mut [u8]) -> libc::msghdr {
    // SAFETY: null pointers and zeroes are a valid msghdr.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    if !name.is_empty() {
        message.msg_name = name.as_mut_ptr().cast();
        message.msg_namelen = name.len() as libc::socklen_t;
    }
    if !control.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = control.len();
    }
    message
}

fn vectors(buffers: &[Span]) -> Vec<libc::iovec> {
    let vector = |b: &Span| libc::iovec { iov_base: b.address as *mut _, iov_len: b.length };
    buffers.iter().map(vector).collect()
}

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
