//! Events for user space: one per leg that was redirected, let through with a trail, or refused.

use crate::maps;
use crate::policy::KernelImage;
use crate::task;
use crate::verdict::{Carried, Judged, Leg};
use aya_ebpf::helpers::generated::{
    bpf_probe_read_kernel, bpf_ringbuf_reserve, bpf_ringbuf_submit,
};
use hoptrail_core::Trail;
use hoptrail_core::addr::Port;
use hoptrail_core::image::{Image, ProviderAt, at};
use hoptrail_core::shared::{Counter, EventRecord, event_kind};

/// Reports a leg. A leg without a trail is reported with a header filled in from the current process.
///
/// Not inlined, here and elsewhere, because a chain of BPF stack frames has 512 bytes in all.
#[inline(never)]
pub fn report(leg: &Leg, judged: &Judged, kind: u8) {
    let Some(image) = &KernelImage::current() else {
        return;
    };
    let Judged { verdict, carried: Carried { trail, provenance } } = judged;
    let trail = *trail;
    let size = size_of::<EventRecord>() as u64;
    let record = unsafe { bpf_ringbuf_reserve(maps::events(), size, 0) }.cast::<EventRecord>();
    if record.is_null() {
        maps::count(Counter::EventsLost);
        return;
    }
    let exe = task::exe();
    let (handle, filter) = match verdict.provider {
        Some(index) => {
            let provider = ProviderAt::new(image, index as u32);
            let first = provider.filters(image).0;
            (provider.handle(image), (verdict.filter as u32).wrapping_sub(first))
        }
        None => (0, 0),
    };
    unsafe {
        (*record).kind = kind;
        (*record).protocol = leg.protocol() as u8;
        (*record).provenance = *provenance as u8;
        (*record).reason = verdict.reason as u8;
        (*record).filter = filter;
        (*record).time_ns = task::now();
        (*record).handle = handle;
        (*record).generation = image.word(at::GENERATION);
        (*record).pid = task::pid();
        (*record).uid = task::uid();
        (*record).exe_ino = exe.ino;
        (*record).exe_dev = exe.dev;
        (*record).asked_port = Port::new(leg.remote().port);
        (*record).asked = leg.remote().ip;
        task::name(&raw mut (*record).name);
        let into = &raw mut (*record).trail;
        if trail.is_null() {
            let template = maps::template();
            if !template.is_null() {
                bpf_probe_read_kernel(into.cast(), size_of::<Trail>() as u32, template.cast());
            }
            leg.fill_origin(&raw mut (*into).header);
        } else {
            bpf_probe_read_kernel(into.cast(), size_of::<Trail>() as u32, trail.cast());
        }
        if kind == event_kind::REDIRECTED && !trail.is_null() {
            let hops = (*trail).header.hops;
            let hop = &raw const (*trail).hops[hops.wrapping_sub(1) as usize & 15];
            (*record).to = (*hop).to;
            (*record).to_port = (*hop).to_port;
        } else {
            (*record).to = leg.remote().ip;
            (*record).to_port = Port::new(leg.remote().port);
        }
        bpf_ringbuf_submit(record.cast(), 0);
    }
}
