//! One leg through the decision: who connects, what it carries, what the policy says.

use crate::ctx::{Sock, SockAddr};
use crate::maps::{self, SockState, sock_flag};
use crate::policy::KernelImage;
use crate::{adopt, event, phases, task};
use hoptrail_core::addr::Port;
use hoptrail_core::decide::{Flow, Verdict, Walk};
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
    /// The policy that decides it.
    pub image: KernelImage,
    pub ctx: SockAddr,
    pub sk: Sock,
    pub flow: Flow,
}

impl Leg {
    #[inline(always)]
    pub fn protocol(&self) -> Protocol {
        self.flow.protocol
    }

    /// Where it wants to go.
    #[inline(always)]
    pub fn remote(&self) -> Endpoint {
        self.flow.remote
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
            (*header).protocol = self.flow.protocol as u8;
            (*header).uid = task::uid();
            (*header).pid = task::pid();
            (*header).gid = task::gid();
            (*header).start_ns = task::start_ns();
            (*header).exe_ino = exe.ino;
            (*header).exe_dev = exe.dev;
            (*header).device = self.sk.device();
            (*header).cgroup = task::cgroup();
            (*header).netns = self.ctx.netns();
            (*header).destination = self.flow.remote.ip;
            (*header).destination_port = Port::new(self.flow.remote.port);
            task::name(&raw mut (*header).name);
        }
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
            trail = maps::destinations().get(&unsafe { (*state).uid_and(leg.remote()) });
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
    /// Let through without asking anybody.
    #[inline(always)]
    pub fn of(carried: Carried) -> Self {
        Self { verdict: Verdict::NO_FILTER, carried }
    }

    /// The redirect that was decided cannot be applied.
    #[inline(always)]
    pub fn fail(&mut self, reason: Reason) -> bool {
        self.verdict.reason = reason;
        false
    }
}

/// Decides. `walk` has classified the address; `declared` is what the socket carries by itself.
#[inline(always)]
pub fn judge(leg: &Leg, walk: &mut Walk, declared: Carried) -> Judged {
    phases::identify(leg.image, walk);
    let mut carried = declared;
    if carried.trail.is_null() && walk.members() != 0 {
        // A proxy that declared nothing continues what it most plausibly continues.
        carried.trail = adopt::find(leg, walk.members());
        let found = !carried.trail.is_null();
        carried.provenance = if found { Provenance::Inferred } else { Provenance::Unrecorded };
    }
    if carried.trail.is_null() {
        phases::ht_no_past(leg.image.raw(), walk);
    } else {
        let visited = phases::ht_visited(leg.image.raw(), carried.trail);
        phases::ht_past(leg.image.raw(), walk, carried.trail, visited);
    }
    phases::ht_walk(leg.image.raw(), leg.ctx.raw(), &leg.flow, walk);
    let verdict = walk.verdict;
    Judged { verdict, carried }
}

/// Counts and reports a refusal, and gives its errno.
#[inline(always)]
pub fn refusal(leg: &Leg, judged: &Judged) -> i32 {
    let (counter, errno) = match judged.verdict.reason {
        Reason::ListenerGoneBlock => (Counter::ListenerGone, ECONNREFUSED),
        Reason::TrailFull => (Counter::TrailFull, ELOOP),
        Reason::TableFull | Reason::NoPort => (Counter::TableFull, ENOBUFS),
        _ => (Counter::Blocked, EACCES),
    };
    maps::count(counter);
    if judged.carried.trail.is_null() {
        let exe = task::exe();
        phases::ht_remember_path(exe.dev as u64, exe.ino);
    }
    event::report(leg, judged, event_kind::REFUSED);
    errno
}

/// Reports a socket with a trail that was let through.
#[inline(always)]
pub fn reached(leg: &Leg, judged: &Judged) {
    if !judged.carried.trail.is_null() {
        event::report(leg, judged, event_kind::REACHED);
    }
}

/// Counts and reports a redirect that was applied.
#[inline(always)]
pub fn redirected(leg: &Leg, judged: &Judged) {
    maps::count(Counter::Redirected);
    let Carried { trail, provenance } = judged.carried;
    if !trail.is_null() && provenance as u8 == Provenance::Fresh as u8 {
        let (dev, ino) = unsafe { ((*trail).header.exe_dev as u64, (*trail).header.exe_ino) };
        phases::ht_remember_path(dev, ino);
    }
    event::report(leg, judged, event_kind::REDIRECTED);
}
