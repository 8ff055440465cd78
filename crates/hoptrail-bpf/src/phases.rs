//! The phases of a decision as global BPF functions.
//!
//! The verifier follows every path through ordinary functions anew from each caller, so phases
//! multiply; a global function is verified once, by itself, and phases add up. In exchange it takes
//! only numbers, the context and plain memory (the policy image among it), and gives back a number.

use crate::ctx::{LookupTuple, SockAddr};
use crate::policy::{KernelImage, Words};
use crate::task;
use aya_ebpf::bindings::bpf_sock_addr;
use hoptrail_core::Trail;
use hoptrail_core::decide::{Flow, Past, Walk, visited};
use hoptrail_core::image::{ProviderAt, provider_of_handle};

/// Checks the arguments, of which the first is the policy's words, or returns 0: the verifier takes
/// every pointer for null until it is compared.
macro_rules! given {
    ($image:ident $(, $argument:ident)*) => {{
        if $image.is_null() { return 0; }
        $(if $argument.is_null() { return 0; })*
        KernelImage::from_raw($image)
    }};
}

/// What the address alone says; 0 when no filter can match.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_classify(words: *const Words, walk: *mut Walk, flow: *const Flow) -> u64 {
    let image = given!(words, flow, walk);
    u64::from(unsafe { (*walk).classify(&image, &*flow) })
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_identify_exe(words: *const Words, walk: *mut Walk) -> u64 {
    let image = given!(words, walk);
    unsafe { (*walk).identify_exe(&image, &task::Current) };
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_identify_user(words: *const Words, walk: *mut Walk) -> u64 {
    let image = given!(words, walk);
    unsafe { (*walk).identify_user(&image, &task::Current) };
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_identify_cgroup(words: *const Words, walk: *mut Walk) -> u64 {
    let image = given!(words, walk);
    unsafe { (*walk).identify_cgroup(&image, &task::Current) };
    1
}

/// The policy's view of the current process.
#[inline(always)]
pub fn identify(image: KernelImage, walk: &mut Walk) {
    ht_identify_exe(image.raw(), walk);
    ht_identify_user(image.raw(), walk);
    ht_identify_cgroup(image.raw(), walk);
}

/// Whether a process of the providers `members` may act for the provider `handle`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_is_member(words: *const Words, members: u64, handle: u64) -> u64 {
    let image = given!(words);
    match provider_of_handle(&image, handle) {
        Some(index) => u64::from(members & (1 << (index & 63)) != 0),
        None => 0,
    }
}

/// The providers that the hops of `trail` name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_visited(words: *const Words, trail: *const Trail) -> u64 {
    let image = given!(words, trail);
    let hops = unsafe { (*trail).header.hops as u32 };
    visited(&image, hops, |i| unsafe { (*trail).hops[(i & 15) as usize].handle })
}

/// A connection that carries `trail`, whose hops name the providers `visited`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_past(
    words: *const Words,
    walk: *mut Walk,
    trail: *const Trail,
    visited: u64,
) -> u64 {
    let image = given!(words, walk, trail);
    let header = unsafe { &raw const (*trail).header };
    let (origin, hops) = unsafe { ((*header).origin(), (*header).hops as u32) };
    let first = unsafe { (*trail).hops[0].provenance() };
    unsafe { (*walk).set_past(&image, &Past::of_visited(visited, origin, first, hops)) };
    1
}

/// A connection that carries no trail, made by a process of the providers in `walk`, if any.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_no_past(words: *const Words, walk: *mut Walk) -> u64 {
    let image = given!(words, walk);
    unsafe { (*walk).set_past(&image, &Past::unrecorded((*walk).members())) };
    1
}

/// Walks the filters.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_walk(
    words: *const Words,
    ctx: *mut bpf_sock_addr,
    flow: *const Flow,
    walk: *mut Walk,
) -> u64 {
    let image = given!(words, flow, walk);
    let (flow, walk) = unsafe { (&*flow, &mut *walk) };
    walk.run(&image, flow, |provider, v4| listening(image, ctx, flow, provider, v4), |_, _, _| {});
    1
}

#[inline(never)]
fn listening(
    image: KernelImage,
    ctx: *mut bpf_sock_addr,
    flow: &Flow,
    provider: u32,
    v4: bool,
) -> bool {
    let (high, low, port) = ProviderAt::new(&image, provider).listener_words(&image, v4);
    let mut tuple = LookupTuple::to(high, low, port, v4);
    SockAddr::plain(ctx).listening(flow.protocol, &mut tuple, v4)
}

/// Remembers the path of the current process' executable.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_remember_path(dev: u64, ino: u64) -> u64 {
    task::remember_path(dev, ino);
    1
}
