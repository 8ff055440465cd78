//! The policy image as the kernel holds it.

use crate::maps;
use aya_ebpf::helpers::generated::bpf_loop;
use core::ffi::c_void;
use hoptrail_core::image::{IMAGE_WORDS, Image};

/// The value of the inner map in force when the hook began; RCU keeps it until the hook ends.
#[derive(Clone, Copy)]
pub struct KernelImage(*const Words);

/// The map value, as a type of its own: global functions take pointers to types whose size they know.
#[repr(C)]
pub struct Words([u64; IMAGE_WORDS]);

impl KernelImage {
    /// `None` before the first policy. A hook asks once and hands the image on: asked again, it could
    /// get the next policy's, and numbers of one image mean nothing in another.
    #[inline(always)]
    pub fn current() -> Option<Self> {
        let words: *const Words = maps::policy().cast();
        if words.is_null() { None } else { Some(Self(words)) }
    }

    /// As an argument of a global function.
    #[inline(always)]
    pub fn raw(self) -> *const Words {
        self.0
    }

    /// From such an argument, which is not null.
    #[inline(always)]
    pub fn from_raw(words: *const Words) -> Self {
        Self(words)
    }
}

impl Image for KernelImage {
    #[inline(always)]
    fn word(&self, index: u32) -> u64 {
        const { assert!(IMAGE_WORDS.is_power_of_two()) };
        // The mask is the bounds check, without a branch.
        let index = index as usize & (IMAGE_WORDS - 1);
        unsafe { self.0.cast::<u64>().add(index).read() }
    }

    #[inline(always)]
    fn repeat(&self, times: u32, body: impl FnMut() -> bool) {
        repeat(times, body);
    }
}

/// Calls `body` up to `times` times until it returns false. `bpf_loop` verifies the body once, where
/// the verifier would walk a plain loop iteration by iteration.
#[inline(always)]
pub fn repeat<F: FnMut() -> bool>(times: u32, mut body: F) {
    unsafe extern "C" fn step<F: FnMut() -> bool>(_index: u64, body: *mut c_void) -> i64 {
        // SAFETY: `bpf_loop` passes on the pointer below, which outlives the call.
        let go_on = unsafe { (*body.cast::<F>())() };
        let mut stop = u64::from(!go_on);
        // The compiler knows that a bool is 0 or 1; the verifier, which may have seen it go through
        // memory, wants to see it.
        unsafe { core::arch::asm!("{0} &= 1", inout(reg) stop, options(nomem, nostack)) };
        stop as i64
    }
    let callback = step::<F> as unsafe extern "C" fn(u64, *mut c_void) -> i64;
    unsafe { bpf_loop(times, callback as *mut c_void, (&raw mut body).cast(), 0) };
}

/// The same number, but one that was compared before and stays so: without this the compiler reads a
/// variable that a loop body shares with its caller again after the comparison, and older verifiers
/// (6.1) know nothing of a number that went through such memory.
#[inline(always)]
pub fn settled(mut number: usize) -> usize {
    // An instruction, though one that does nothing: two lines of source at one instruction are refused.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(nomem, nostack)) };
    number
}
