//! Inference: which accepted connection does a proxy continue that declared no records?
//!
//! First the one whose origin the same thread asked last, as unmodified transparent proxies do right
//! before they dial; else the latest one to the same destination. Each is continued once.

use crate::issue::Issued;
use crate::maps::{self, RECENT_IDS, RecentKey};
use crate::policy::{KernelImage, Words, repeat};
use crate::task;
use crate::verdict::Leg;
use core::intrinsics::{AtomicOrdering, atomic_xchg};
use hoptrail_core::bits::lowest;
use hoptrail_core::image::ProviderAt;
use hoptrail_core::shared::Counter;
use hoptrail_core::{Protocol, Trail};

/// The trail of connection or flow `id`; null when it is closed.
#[inline(always)]
pub fn trail_of(protocol: Protocol, id: u64) -> *mut Trail {
    if protocol as u8 == Protocol::Tcp as u8 {
        maps::links().get(&id)
    } else {
        maps::flow_trails().get(&id)
    }
}

/// Remembers that this connection went to a provider for what `leg` asks.
#[inline(never)]
pub fn remember(leg: &Leg, issued: &Issued) {
    ht_remember(&key(leg, last_handle(issued.trail)), issued.id);
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_remember(key: *const RecentKey, id: u64) -> u64 {
    if key.is_null() {
        return 0;
    }
    // A copy on the stack: memory of another function is no key of its own.
    let key = unsafe { *key };
    let table = maps::recent();
    let mut recent = table.get(&key);
    if recent.is_null() {
        let template = maps::template();
        if template.is_null() {
            return 0;
        }
        table.put_new(&key, unsafe { &raw const (*template).recent });
        recent = table.get(&key);
        if recent.is_null() {
            return 0;
        }
    }
    // Several CPUs may do this at once: the worst is a slot that names a connection twice.
    unsafe {
        let slot = (*recent).next as usize & (RECENT_IDS - 1);
        (*recent).next += 1;
        (*recent).ids[slot] = id;
    }
    1
}

/// Memberships of one process that are looked at.
const MAX_MEMBERSHIPS: u32 = 4;

/// The trail that the current process most plausibly continues; null for none.
#[inline(never)]
pub fn find(leg: &Leg, members: u64) -> *const Trail {
    let id = ht_adopt(leg.image.raw(), &key(leg, 0), members);
    if id == 0 {
        return core::ptr::null();
    }
    maps::count(Counter::Adopted);
    trail_of(leg.protocol(), id)
}

/// The id of the connection to continue; 0 for none. The handle in `key` is filled in here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_adopt(words: *const Words, key: *const RecentKey, members: u64) -> u64 {
    if key.is_null() || words.is_null() {
        return 0;
    }
    let mut key = unsafe { *key };
    let image = KernelImage::from_raw(words);
    let mut found = 0;
    let mut left = members;
    let mut i = 0;
    while i < MAX_MEMBERSHIPS && left != 0 && found == 0 {
        let index = lowest(left);
        left &= left - 1;
        key.handle = ProviderAt::new(&image, index).handle(&image);
        found = asked(&key);
        if found == 0 {
            found = ht_latest(&key);
        }
        i += 1;
    }
    found
}

/// The connection whose origin this thread has asked last, if it is to the same destination.
#[inline(always)]
fn asked(key: &RecentKey) -> u64 {
    let id = maps::asked().get(&task::thread());
    if id.is_null() {
        return 0;
    }
    let id = unsafe { *id };
    let trail = trail_of(protocol(key), id);
    if fits(trail, key) && take(trail) { id } else { 0 }
}

/// From newest to oldest: the first open connection that nobody has continued.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn ht_latest(key: *const RecentKey) -> u64 {
    if key.is_null() {
        return 0;
    }
    let key = unsafe { *key };
    let recent = maps::recent().get(&key);
    if recent.is_null() {
        return 0;
    }
    let mut found = 0;
    let mut i = unsafe { (*recent).next };
    repeat(RECENT_IDS as u32, || {
        i = i.wrapping_sub(1);
        let slot = i as usize & (RECENT_IDS - 1);
        let id = unsafe { (*recent).ids[slot] };
        let trail = trail_of(protocol(&key), id);
        if fits(trail, &key) && take(trail) {
            found = id;
        }
        found == 0
    });
    found
}

#[inline(always)]
fn protocol(key: &RecentKey) -> Protocol {
    if key.protocol == Protocol::Tcp as u32 { Protocol::Tcp } else { Protocol::Udp }
}

/// Takes a trail for adoption; false when it was adopted before. Each is adopted once: proxies that
/// may adopt the same connection again and again can hand it around without end.
#[inline(always)]
fn take(trail: *mut Trail) -> bool {
    let mark = unsafe { &raw mut (*trail).header.adopted };
    unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(mark, 1) == 0 }
}

#[inline(always)]
fn last_handle(trail: *const Trail) -> u64 {
    let hops = unsafe { (*trail).header.hops };
    unsafe { (*trail).hops[hops.wrapping_sub(1) as usize & 15].handle }
}

/// Whether `trail` was delivered to the provider and for the destination in `key`.
#[inline(always)]
fn fits(trail: *const Trail, key: &RecentKey) -> bool {
    if trail.is_null() {
        return false;
    }
    let hops = unsafe { (*trail).header.hops };
    let hop = unsafe { &raw const (*trail).hops[hops.wrapping_sub(1) as usize & 15] };
    let asked = unsafe { (*hop).asked() };
    hops != 0
        && asked.port as u32 == key.port
        && asked.ip == key.ip
        && unsafe { (*hop).handle } == key.handle
}

#[inline(always)]
fn key(leg: &Leg, handle: u64) -> RecentKey {
    let asked = leg.remote();
    RecentKey {
        handle,
        netns: leg.ctx.netns(),
        ip: asked.ip,
        port: asked.port as u32,
        protocol: leg.protocol() as u32,
    }
}
