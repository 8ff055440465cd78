//! The caller's memory, which may not be there: it is read and written by the kernel, never
//! dereferenced before the kernel has said that it is there.
#![expect(unsafe_code, reason = "addresses from C are probed and copied through the kernel")]

use std::cell::Cell;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// An address does not lead to memory of this process, or not to memory of that kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault;

impl From<Fault> for crate::Error {
    fn from(_: Fault) -> Self {
        Self::FAULT
    }
}

type Result<T> = std::result::Result<T, Fault>;

thread_local! {
    /// Lowest and highest address of this thread's stack; the same number twice when unknown.
    static STACK: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

/// Reads a plain structure.
pub(crate) fn read<T: FromBytes + IntoBytes>(address: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    read_bytes(address, value.as_mut_bytes())?;
    Ok(value)
}

/// Reads `count` of them.
pub(crate) fn read_many<T: FromBytes + IntoBytes + Clone>(
    address: usize,
    count: usize,
) -> Result<Vec<T>> {
    let mut values = vec![T::new_zeroed(); count];
    read_bytes(address, values.as_mut_slice().as_mut_bytes())?;
    Ok(values)
}

/// Writes a plain structure.
pub(crate) fn write<T: IntoBytes + Immutable>(address: usize, value: &T) -> Result<()> {
    write_bytes(address, value.as_bytes())
}

/// Writes a number: the one step besides the option itself on the way of every call, so it costs one
/// comparison for a variable of the caller's functions, and the cheapest system call for another.
pub(crate) fn store_u32(address: usize, value: u32) -> Result<()> {
    if !on_own_stack(address, 4) && !takes_a_number(address) {
        return Err(Fault);
    }
    // SAFETY: the four bytes are in use as stack above this frame, or the kernel has just written them.
    unsafe { (address as *mut u32).write_unaligned(value) };
    Ok(())
}

/// Fills `into` from the caller's memory.
pub(crate) fn read_bytes(address: usize, into: &mut [u8]) -> Result<()> {
    if into.is_empty() {
        return Ok(());
    }
    if on_own_stack(address, into.len()) {
        // SAFETY: these bytes are stack in use above this frame, `into` is elsewhere or the same bytes.
        unsafe { std::ptr::copy(address as *const u8, into.as_mut_ptr(), into.len()) };
        return Ok(());
    }
    if address == 0 {
        return Err(Fault);
    }
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: into.len() };
    // SAFETY: `local` is `into`; the kernel checks `remote`, and reads nothing where it cannot.
    let n = unsafe { libc::process_vm_readv(pid(), &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(n) == Ok(into.len()) { Ok(()) } else { Err(Fault) }
}

/// Writes `bytes` into the caller's memory, which is this library's until the call or operation ends.
pub(crate) fn write_bytes(address: usize, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    hand_over(address, bytes)?;
    // Once more, for memory checkers: they do not see what the system call has written, and would take
    // the caller's buffer for uninitialised.
    // SAFETY: the kernel has just written there, and `bytes` is this library's.
    unsafe { std::ptr::copy(bytes.as_ptr(), address as *mut u8, bytes.len()) };
    Ok(())
}

/// Writes what ends an operation: whoever sees it may free the memory at once, so it is touched once,
/// by the kernel.
pub(crate) fn hand_over(address: usize, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if on_own_stack(address, bytes.len()) {
        // SAFETY: these bytes are stack in use above this frame, a variable that the caller gave to be
        // written.
        unsafe { std::ptr::copy(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        return Ok(());
    }
    if address == 0 {
        return Err(Fault);
    }
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: bytes.len() };
    // SAFETY: `local` is `bytes` and only read; the kernel checks `remote`, and writes nothing where it
    // cannot. What is written there is the caller's buffer, given to this library for that.
    let n = unsafe { libc::process_vm_writev(pid(), &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(n) == Ok(bytes.len()) { Ok(()) } else { Err(Fault) }
}

fn pid() -> libc::pid_t {
    // SAFETY: getpid(2) has no conditions.
    unsafe { libc::getpid() }
}

/// Whether the kernel can write a number there: getcpu(2) writes that of the processor.
fn takes_a_number(address: usize) -> bool {
    // SAFETY: the kernel checks the address, and writes nothing where it cannot. The four bytes are
    // the caller's variable for a number that this call will give.
    address != 0 && unsafe { libc::syscall(libc::SYS_getcpu, address, 0usize, 0usize) } == 0
}

/// Whether the bytes are part of a frame of this thread that is in use, and so surely there.
fn on_own_stack(address: usize, length: usize) -> bool {
    let frame = 0u8;
    let here = (&raw const frame).addr();
    let bounds = STACK.try_with(|stack| {
        stack.get().unwrap_or_else(|| {
            let found = stack_bounds();
            stack.set(Some(found));
            found
        })
    });
    // A coroutine's stack is elsewhere: then nothing is known about it.
    matches!(bounds, Ok((low, high)) if low <= here
        && here <= address
        && address.checked_add(length).is_some_and(|end| end <= high))
}

fn stack_bounds() -> (usize, usize) {
    // SAFETY: the attributes are initialised by pthread_getattr_np(3) before they are read, and
    // destroyed once afterwards.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return (0, 0);
        }
        let (mut low, mut size) = (std::ptr::null_mut(), 0);
        let found =
            libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size) == 0;
        libc::pthread_attr_destroy(&raw mut attributes);
        if found { (low.addr(), low.addr().saturating_add(size)) } else { (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const NOWHERE: usize = 64;
    static CONSTANT: u32 = 7;
    static VARIABLE: AtomicU32 = AtomicU32::new(1);

    fn of<T>(value: &T) -> usize {
        std::ptr::from_ref(value) as usize
    }

    #[test]
    fn what_is_not_there_is_a_fault() {
        assert_eq!(read::<u64>(NOWHERE), Err(Fault));
        assert_eq!(read::<u64>(0), Err(Fault));
        assert_eq!(read::<u64>(usize::MAX - 3), Err(Fault));
        assert_eq!(write(NOWHERE, &1u64), Err(Fault));
        assert_eq!(store_u32(0, 1), Err(Fault));
        assert_eq!(store_u32(NOWHERE, 1), Err(Fault));
        assert_eq!(store_u32(usize::MAX - 1, 1), Err(Fault));
    }

    #[test]
    fn what_cannot_be_written_is_a_fault() {
        assert_eq!(store_u32(of(&CONSTANT), 1), Err(Fault));
        assert_eq!(write(of(&CONSTANT), &1u32), Err(Fault));
        assert_eq!(read::<u32>(of(&CONSTANT)), Ok(7));
    }

    #[test]
    fn stack_heap_and_statics_are_written() {
        let (on_stack, on_heap) = (AtomicU32::new(0), Box::new(AtomicU32::new(0)));
        for place in [&on_stack, &*on_heap, &VARIABLE] {
            assert_eq!(store_u32(of(place), 5), Ok(()));
            assert_eq!(place.load(Ordering::Relaxed), 5);
            assert_eq!(write(of(place), &6u32), Ok(()));
            assert_eq!(read::<u32>(of(place)), Ok(6));
        }
        assert!(on_own_stack(of(&on_stack), 4));
        assert!(!on_own_stack(of(&*on_heap), 4));
    }

    #[test]
    fn another_threads_stack_is_not_ones_own() {
        let here = AtomicU32::new(0);
        let at = of(&here);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                assert!(!on_own_stack(at, 4));
                assert_eq!(store_u32(at, 9), Ok(()));
            });
        });
        assert_eq!(here.load(Ordering::Relaxed), 9);
    }
}
