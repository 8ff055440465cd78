//! A redirect is applied: the trail grows by a hop and is kept where the proxy will ask for it.

use crate::maps::{self, SockState, sock_flag};
use crate::policy::KernelImage;
use crate::task;
use crate::verdict::{Judged, Leg};
use hoptrail_core::addr::Port;
use hoptrail_core::image::ProviderAt;
use hoptrail_core::records::{Hop, blob_bytes};
use hoptrail_core::{Endpoint, Ip, Protocol, Trail};

/// The new trail and its id.
#[derive(Clone, Copy)]
pub struct Issued {
    pub id: u64,
    pub trail: *mut Trail,
    pub to: Endpoint,
}

impl Issued {
    #[inline(always)]
    pub fn to(to: Endpoint) -> Self {
        Self { id: 0, trail: core::ptr::null_mut(), to }
    }
}

/// Makes the trail of a leg redirected to `issued.to`; false when the table is full.
#[inline(never)]
pub fn issue(leg: &Leg, judged: &Judged, issued: &mut Issued) -> bool {
    let image = &leg.image;
    let to = issued.to;
    let id = maps::next_id();
    let template = maps::template();
    if id == 0 || template.is_null() {
        return false;
    }
    let fresh = judged.carried.trail.is_null();
    let from = if fresh { unsafe { &raw const (*template).trail } } else { judged.carried.trail };
    let table = if leg.protocol() as u8 == Protocol::Tcp as u8 {
        maps::links()
    } else {
        maps::flow_trails()
    };
    if !table.put_new(&id, from) {
        return false;
    }
    let trail = table.get(&id);
    if trail.is_null() {
        return false;
    }
    if fresh {
        leg.fill_origin(unsafe { &raw mut (*trail).header });
    }
    let index = judged.verdict.provider.unwrap_or(0) as u32;
    append(leg, image, judged, index, trail, to);
    issued.id = id;
    issued.trail = trail;
    true
}

#[inline(always)]
fn append(
    leg: &Leg,
    image: &KernelImage,
    judged: &Judged,
    index: u32,
    trail: *mut Trail,
    to: Endpoint,
) {
    let provider = ProviderAt::new(image, index);
    let handle = provider.handle(image);
    let (first, _) = provider.filters(image);
    unsafe {
        let hops = (*trail).header.hops;
        let hop: *mut Hop = &raw mut (*trail).hops[hops as usize & 15];
        (*hop).handle = handle;
        (*hop).time_ns = task::now();
        (*hop).asked = leg.remote().ip;
        (*hop).asked_port = Port::new(leg.remote().port);
        (*hop).to = to.ip;
        (*hop).to_port = Port::new(to.port);
        (*hop).flags = judged.carried.provenance as u16;
        (*hop).filter = (judged.verdict.filter as u32).wrapping_sub(first);
        (*hop).context = provider.context(image);
        (*hop).pid = task::pid();
        (*hop).uid = task::uid();
        (*trail).header.hops = hops + 1;
        (*trail).header.adopted = 0;
        (*trail).header.length = blob_bytes(hops + 1) as u16;
    }
}

/// Notes the connecting socket's own address, which for TCP is known only after the connect hook.
#[inline(always)]
pub fn note_from(trail: *mut Trail, from: Endpoint) {
    unsafe {
        let hops = (*trail).header.hops;
        let hop: *mut Hop = &raw mut (*trail).hops[(hops.wrapping_sub(1)) as usize & 15];
        (*hop).from = from.ip;
        (*hop).from_port = Port::new(from.port);
        if hops == 1 {
            (*trail).header.local = from.ip;
            (*trail).header.local_port = Port::new(from.port);
        }
    }
}

/// Marks the socket as redirected.
#[inline(always)]
pub fn mark(state: *mut SockState, asked: Endpoint, issued: &Issued) {
    unsafe {
        (*state).id = issued.id;
        (*state).asked = asked.ip;
        (*state).asked_port = asked.port;
        (*state).to = issued.to.ip;
        (*state).to_port = issued.to.port;
        (*state).from = Ip::from_words([0; 4]);
        (*state).from_port = 0;
        (*state).flags = ((*state).flags & !sock_flag::TUPLED) | sock_flag::ISSUED;
    }
}

/// Forgets what an earlier connect of the same socket was given.
#[inline(always)]
pub fn forget(state: *mut SockState) {
    if state.is_null() {
        return;
    }
    unsafe {
        let flags = (*state).flags;
        if flags & sock_flag::ISSUED != 0 && flags & sock_flag::TUPLED == 0 {
            maps::links().remove(&(*state).id);
        }
        (*state).flags = flags & !(sock_flag::ISSUED | sock_flag::TUPLED);
    }
}
