//! One leg through the decision: who connects, what it carries, what the policy says.

use crate::ctx::{SockAddr, Sock};
use crate::maps::{self, SockState, sock_flag};
use crate::policy::KernelImage;
use crate::event::Report;
use crate::issue::Issued;
use crate::{adopt, event, task};
use hoptrail_core::addr::Port;
use hoptrail_core::decide::{Candidates, Flow, Identity, Past, Verdict, decide, identify};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{MAGIC, Provenance, VERSION};
use hoptrail_core::shared::{Counter, event_kind};
use hoptrail_core::{Endpoint, Protocol, Trail, TrailHeader};

const EACCES: i32 = 13;
const ECONNREFUSED: i32 = 111;
const ELOOP: i32 = 40;
const ENOBUFS: i32 = 105;

/// A connect, or the first datagram of a UDP flow.
pub struct Leg {
    pub ctx: SockAddr,
    pub sk: Sock,
    pub protocol: Protocol,
    pub remote: Endpoint,
}

impl Leg {
    #[inline(always)]
    pub fn flow(&self) -> Flow {
        Flow { protocol: self.protocol, remote: self.remote }
    }

    /// Fills in a new trail's header from the current process.
    #[inline(never)]
    pub fn fill_origin(&self, header: *mut TrailHeader) {
        let exe = task::exe();
        let random = unsafe { aya_ebpf::helpers::generated::bpf_get_prandom_u32() } as u64;
        unsafe {
            (*header).magic = MAGIC;
            (*header).version = VERSION;
            (*header).id[0] = task::now();
            (*header).id[1] = random << 32 | task::pid() as u64;
            (*header).protocol = self.protocol as u8;
            (*header).uid = task::uid();
            (*header).pid = task::pid();
            (*header).gid = task::gid();
            (*header).start_ns = task::start_ns();
            (*header).exe_ino = exe.ino;
            (*header).exe_dev = exe.dev;
            (*header).device = self.sk.device();
            (*header).cgroup = task::cgroup();
            (*header).netns = self.ctx.netns();
            (*header).destination = self.remote.ip;
            (*header).destination_port = Port::new(self.remote.port);
            task::name(&raw mut (*header).name);
        }
        task::remember_path(exe);
    }
}

/// What a socket carries into a leg.
#[derive(Clone, Copy)]
pub struct Carried {
    /// Null for none.
    pub trail: *const Trail,
    pub provenance: Provenance,
}

impl Carried {
    const NOTHING: Self = Self { trail: core::ptr::null(), provenance: Provenance::Fresh };

    /// The records that were set on the socket.
    #[inline(always)]
    pub fn declared(leg: &Leg, state: *const SockState) -> Self {
        if state.is_null() {
            return Self::NOTHING;
        }
        let flags = unsafe { (*state).flags };
        let mut trail: *const Trail = core::ptr::null();
        if flags & sock_flag::DESTINATIONS != 0 {
            trail = maps::destinations().get(&unsafe { (*state).uid_and(leg.remote) });
        }
        if trail.is_null() && flags & sock_flag::STAGED != 0 {
            trail = maps::staged(leg.sk);
        }
        if trail.is_null() {
            return Self::NOTHING;
        }
        Self { trail, provenance: Provenance::Declared }
    }
}

/// The decision for a leg.
pub struct Judged {
    pub verdict: Verdict,
    pub carried: Carried,
}

impl Judged {
    /// Not judged yet.
    #[inline(always)]
    pub fn of(carried: Carried) -> Self {
        Self { verdict: Verdict::NO_FILTER, carried }
    }
}

/// The policy's view of the current process, in a frame of its own.
#[inline(never)]
pub fn who(image: KernelImage, into: &mut Identity) {
    *into = identify(&image, &task::Current);
}

/// Decides; `judged.carried` is what the socket declares, and becomes what it carries.
#[inline(never)]
pub fn judge(leg: &Leg, image: KernelImage, candidates: &Candidates, judged: &mut Judged) {
    let image = &image;
    let mut identity = Identity::default();
    who(*image, &mut identity);
    let members = identity.members();
    let mut carried = judged.carried;
    if carried.trail.is_null() && members != 0 {
        let trail = adopt::find(leg, *image, members);
        let found = !trail.is_null();
        let provenance = if found { Provenance::Inferred } else { Provenance::Unrecorded };
        carried = Carried { trail, provenance };
    }
    let past = if !carried.trail.is_null() {
        let trail = carried.trail;
        let header = unsafe { &raw const (*trail).header };
        let (origin, hops) = unsafe { ((*header).origin(), (*header).hops as u32) };
        let first = unsafe { (*trail).hops[0].provenance() };
        Past::of_trail(image, origin, first, hops, |i| unsafe {
            (*trail).hops[(i & 15) as usize].handle
        })
    } else if members != 0 {
        Past::unrecorded(members)
    } else {
        Past::fresh()
    };
    let listening = |_, at| leg.ctx.listening(leg.protocol, at);
    judged.carried = carried;
    judged.verdict =
        decide(image, &leg.flow(), candidates, &identity, &past, listening, |_, _, _| {});
}

/// Reports and counts a refusal, and gives its errno.
#[inline(always)]
pub fn refusal(leg: &Leg, image: KernelImage, judged: &Judged, reason: Reason) -> i32 {
    let (counter, errno) = match reason {
        Reason::ListenerGoneBlock => (Counter::ListenerGone, ECONNREFUSED),
        Reason::TrailFull => (Counter::TrailFull, ELOOP),
        Reason::TableFull | Reason::NoPort => (Counter::TableFull, ENOBUFS),
        _ => (Counter::Blocked, EACCES),
    };
    maps::count(counter);
    let verdict = Verdict { reason, ..judged.verdict };
    let Carried { trail, provenance } = judged.carried;
    let report = Report { kind: event_kind::REFUSED, provenance, verdict, to: leg.remote, trail };
    event::report(leg, image, &report);
    errno
}

/// Reports that a socket with a trail was let through.
#[inline(always)]
pub fn reached(leg: &Leg, image: KernelImage, verdict: Verdict, carried: Carried) {
    let Carried { trail, provenance } = carried;
    if !trail.is_null() {
        let kind = event_kind::REACHED;
        event::report(leg, image, &Report { kind, provenance, verdict, to: leg.remote, trail });
    }
}

/// Reports a redirect that was applied.
#[inline(always)]
pub fn redirected(leg: &Leg, image: KernelImage, judged: &Judged, issued: &Issued) {
    let kind = event_kind::REDIRECTED;
    let Judged { verdict, carried: Carried { provenance, .. } } = *judged;
    let report = Report { kind, provenance, verdict, to: issued.to, trail: issued.trail };
    event::report(leg, image, &report);
}
