//! Events for user space: one per leg that was redirected, let through with a trail, or refused.

use crate::maps;
use crate::task;
use crate::verdict::{Carried, Judged, Leg};
use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_ringbuf_reserve, bpf_ringbuf_submit,
};
use hoptrail_core::Trail;
use hoptrail_core::addr::Port;
use hoptrail_core::image::{Image, ProviderAt, at};
use hoptrail_core::records::{HEADER_BYTES, HOP_BYTES, Provenance};
use hoptrail_core::shared::{
    Counter, EventRecord, SHORT_EVENT_BYTES, SHORT_HOPS, WAKE_PAUSE_NS, event_kind,
};

/// Bytes of the trail in a short event.
const SHORT_TRAIL_BYTES: u32 = (HEADER_BYTES + SHORT_HOPS * HOP_BYTES) as u32;
const BPF_RB_NO_WAKEUP: u64 = 1;

/// Reports a leg. A leg without a trail is reported with a header filled in from the current process.
///
/// Not inlined, here and elsewhere, because a chain of BPF stack frames has 512 bytes in all.
#[inline(never)]
pub fn report(leg: &Leg, judged: &Judged, kind: u8) {
    let trail = judged.carried.trail;
    // The verifier wants each size as a constant, in the reservation and in what is written to it.
    if trail.is_null() || unsafe { (*trail).header.hops } as usize <= SHORT_HOPS {
        let record = reserve(SHORT_EVENT_BYTES);
        if !record.is_null() {
            copy_trail(leg, judged, record, SHORT_TRAIL_BYTES);
            fill(leg, judged, kind, record);
        }
    } else {
        let record = reserve(size_of::<EventRecord>());
        if !record.is_null() {
            copy_trail(leg, judged, record, size_of::<Trail>() as u32);
            fill(leg, judged, kind, record);
        }
    }
}

#[inline(always)]
fn reserve(bytes: usize) -> *mut EventRecord {
    let record = unsafe { bpf_ringbuf_reserve(maps::events(), bytes as u64, 0) };
    if record.is_null() {
        maps::count(Counter::EventsLost);
    }
    record.cast()
}

#[inline(always)]
fn copy_trail(leg: &Leg, judged: &Judged, record: *mut EventRecord, bytes: u32) {
    let into = unsafe { &raw mut (*record).trail };
    let trail = judged.carried.trail;
    if !trail.is_null() {
        unsafe { bpf_probe_read_kernel(into.cast(), bytes, trail.cast()) };
        return;
    }
    let template = maps::template();
    if !template.is_null() {
        unsafe { bpf_probe_read_kernel(into.cast(), bytes, template.cast()) };
    }
    leg.fill_origin(unsafe { &raw mut (*into).header });
}

/// Fills in and submits a record whose trail is there already.
#[inline(always)]
fn fill(leg: &Leg, judged: &Judged, kind: u8, record: *mut EventRecord) {
    let Judged { verdict, carried: Carried { trail, provenance } } = judged;
    let trail = *trail;
    let (handle, filter) = decided_by(leg, judged);
    let now = task::now();
    unsafe {
        (*record).kind = kind;
        (*record).protocol = leg.protocol() as u8;
        (*record).provenance = *provenance as u8;
        (*record).reason = verdict.reason as u8;
        (*record).filter = filter;
        (*record).time_ns = now;
        (*record).handle = handle;
        (*record).generation = leg.image.word(at::GENERATION);
        connector(record, *provenance);
        (*record).asked_port = Port::new(leg.remote().port);
        (*record).asked = leg.remote().ip;
        if kind == event_kind::REDIRECTED && !trail.is_null() {
            let hops = (*trail).header.hops;
            let hop = &raw const (*trail).hops[hops.wrapping_sub(1) as usize & 15];
            (*record).to = (*hop).to;
            (*record).to_port = (*hop).to_port;
        } else {
            (*record).to = leg.remote().ip;
            (*record).to_port = Port::new(leg.remote().port);
        }
        bpf_ringbuf_submit(record.cast(), wake(now));
    }
}

/// Handle of the provider that decided, and the filter's number within it.
#[inline(always)]
fn decided_by(leg: &Leg, judged: &Judged) -> (u64, u32) {
    let Some(index) = judged.verdict.provider else {
        return (0, 0);
    };
    let image = leg.image;
    let provider = ProviderAt::new(&image, index as u32);
    let first = provider.filters(&image).0;
    (provider.handle(&image), (judged.verdict.filter as u32).wrapping_sub(first))
}

/// Who made this leg: the application itself, which the trail's header describes already, or a proxy.
#[inline(always)]
unsafe fn connector(record: *mut EventRecord, provenance: Provenance) {
    let header = unsafe { &raw const (*record).trail.header };
    unsafe {
        if provenance as u8 == Provenance::Fresh as u8 {
            (*record).pid = (*header).pid;
            (*record).uid = (*header).uid;
            (*record).exe_ino = (*header).exe_ino;
            (*record).exe_dev = (*header).exe_dev;
            (*record).name = (*header).name;
        } else {
            let exe = task::exe();
            (*record).pid = task::pid();
            (*record).uid = task::uid();
            (*record).exe_ino = exe.ino;
            (*record).exe_dev = exe.dev;
            task::name(&raw mut (*record).name);
        }
    }
}

/// Whether a reader is woken for this event: not if it was just now; it then looks again by itself.
#[inline(always)]
fn wake(now: u64) -> u64 {
    let last = maps::last_wake();
    if last.is_null() {
        return 0;
    }
    unsafe {
        if now.wrapping_sub(*last) < WAKE_PAUSE_NS {
            return BPF_RB_NO_WAKEUP;
        }
        *last = now;
    }
    0
}
