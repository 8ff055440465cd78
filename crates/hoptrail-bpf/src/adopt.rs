//! Inference: which accepted connection does a proxy continue that declared no records?
//!
//! First the one whose origin the same thread asked last, as unmodified transparent proxies do right
//! before they dial; else the latest one to the same destination that nobody has continued yet.

use crate::maps::{self, RECENT_IDS, Recent, RecentKey, TAKEN};
use crate::policy::{KernelImage, repeat};
use crate::task;
use crate::verdict::Leg;
use hoptrail_core::bits::lowest;
use hoptrail_core::image::{ProviderAt, provider_of_handle};
use hoptrail_core::shared::Counter;
use hoptrail_core::{Endpoint, Protocol, Trail};

/// Memberships of one process that are looked at.
const MAX_MEMBERSHIPS: u32 = 4;

/// The trail of connection or flow `id`; null when it is closed.
#[inline(always)]
pub fn trail_of(protocol: Protocol, id: u64) -> *mut Trail {
    if protocol as u8 == Protocol::Tcp as u8 {
        maps::links().get(&id)
    } else {
        maps::flow_trails().get(&id)
    }
}

/// Remembers that connection `id` goes to the provider `handle` for `asked`.
#[inline(never)]
pub fn remember(leg: &Leg, handle: u64, id: u64) {
    let key = key(leg, handle, leg.remote);
    let table = maps::recent();
    let mut recent = table.get(&key);
    if recent.is_null() {
        let template = maps::template();
        if template.is_null() {
            return;
        }
        table.put_new(&key, unsafe { &raw const (*template).recent });
        recent = table.get(&key);
        if recent.is_null() {
            return;
        }
    }
    // Several CPUs may do this at once: the worst is a slot that names a connection twice.
    unsafe {
        let slot = (*recent).next as usize & (RECENT_IDS - 1);
        (*recent).next += 1;
        (*recent).ids[slot] = id;
    }
}

/// The trail that the current process most plausibly continues; null for none.
#[inline(never)]
pub fn find(leg: &Leg, image: KernelImage, members: u64) -> *const Trail {
    let image = &image;
    let asked = maps::asked().get(&task::thread());
    if !asked.is_null() {
        let trail = trail_of(leg.protocol, unsafe { *asked });
        if fits(trail, image, members, leg.remote) {
            maps::count(Counter::Adopted);
            return trail;
        }
    }
    let mut found: *const Trail = core::ptr::null();
    let mut left = members;
    repeat(MAX_MEMBERSHIPS, || {
        if left == 0 {
            return false;
        }
        let index = lowest(left);
        left &= left - 1;
        let handle = ProviderAt::new(image, index).handle(image);
        let recent = maps::recent().get(&key(leg, handle, leg.remote));
        if !recent.is_null() {
            found = latest(leg, image, members, recent);
        }
        found.is_null()
    });
    if !found.is_null() {
        maps::count(Counter::Adopted);
    }
    found
}

/// From newest to oldest: the first open connection that nobody has continued; else the newest open.
#[inline(never)]
fn latest(leg: &Leg, image: &KernelImage, members: u64, recent: *mut Recent) -> *const Trail {
    let mut best: *const Trail = core::ptr::null();
    let mut i = unsafe { (*recent).next };
    repeat(RECENT_IDS as u32, || {
        i = i.wrapping_sub(1);
        let slot = i as usize & (RECENT_IDS - 1);
        let entry = unsafe { (*recent).ids[slot] };
        if entry == 0 {
            return true;
        }
        let trail = trail_of(leg.protocol, entry & !TAKEN);
        if !fits(trail, image, members, leg.remote) {
            return true;
        }
        if entry & TAKEN == 0 {
            unsafe { (*recent).ids[slot] = entry | TAKEN };
            best = trail;
            return false;
        }
        if best.is_null() {
            best = trail;
        }
        true
    });
    best
}

/// Whether `trail` was delivered to a provider of `members` for `remote`.
#[inline(always)]
fn fits(trail: *const Trail, image: &KernelImage, members: u64, remote: Endpoint) -> bool {
    if trail.is_null() {
        return false;
    }
    let hops = unsafe { (*trail).header.hops };
    if hops == 0 {
        return false;
    }
    let hop = unsafe { &raw const (*trail).hops[(hops - 1) as usize & 15] };
    let asked = unsafe { (*hop).asked() };
    if asked.port != remote.port || asked.ip != remote.ip {
        return false;
    }
    match provider_of_handle(image, unsafe { (*hop).handle }) {
        Some(index) => members & (1 << (index & 63)) != 0,
        None => false,
    }
}

#[inline(always)]
fn key(leg: &Leg, handle: u64, asked: Endpoint) -> RecentKey {
    RecentKey {
        handle,
        netns: leg.ctx.netns(),
        ip: asked.ip,
        port: asked.port as u32,
        protocol: leg.protocol as u32,
    }
}
