//! The decision: policy, connection, process and trail in, verdict out.
//!
//! A [`Walk`] is first told the address, which ends most connections' decisions; then who connects, then
//! what happened before; and then walks the filters that are left. A caller that has everything at
//! hand uses [`evaluate`].

use crate::addr::{Endpoint, Protocol};
use crate::bits::{below, lowest};
use crate::image::{
    self, Action, Entry, Image, MAX_CGROUP_LEVEL, MAX_FILTERS, MAX_PROVIDERS, ProviderAt, at, flag,
};
use crate::reason::Reason;
use crate::records::{Exe, MAX_HOPS, Origin, Provenance};

/// One connection: what is being asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where the socket wants to go.
    pub remote: Endpoint,
}

/// The process that connects. Each property is asked at most once, and only if the policy needs it.
pub trait Process {
    /// Its executable.
    fn exe(&self) -> Exe;
    /// Its user.
    fn uid(&self) -> u32;
    /// Its cgroup's ancestor at `level` (the root is level 0), or 0 when it is not that deep.
    fn cgroup_at(&self, level: u32) -> u64;
}

/// What happened to the connection before this leg.
#[derive(Clone, Copy)]
pub struct Past {
    /// Providers that have handled it, by their numbers.
    pub visited: u64,
    /// Providers that may redirect it.
    pub eligible: u64,
    /// Hops made.
    pub hops: u32,
    /// The original process, when the connection has a trail.
    pub origin: Option<Origin>,
}

impl Past {
    /// An application's own connection.
    #[must_use]
    pub const fn fresh() -> Self {
        Self { visited: 0, eligible: u64::MAX, hops: 0, origin: None }
    }

    /// A connection with a trail, set or adopted. `first` is the provenance of its first hop.
    ///
    /// A trail that begins unrecorded does not say who handled the connection before, so the rank goes
    /// on falling along it. Without that, a proxy without records and a lower-ranked one with records
    /// would hand a connection to each other for ever: each of its trails is too short to show it.
    #[inline(always)]
    pub fn of_trail<I: Image + ?Sized>(
        image: &I,
        origin: Origin,
        first: Provenance,
        hops: u32,
        handle: impl Fn(u32) -> u64,
    ) -> Self {
        Self::of_visited(visited(image, hops, handle), origin, first, hops)
    }

    /// [`Past::of_trail`] when it is known which providers its hops name.
    #[inline(always)]
    #[must_use]
    pub const fn of_visited(visited: u64, origin: Origin, first: Provenance, hops: u32) -> Self {
        let lost = first as u16 == Provenance::Unrecorded as u16;
        let eligible = if lost { after(visited) } else { u64::MAX };
        Self { visited, eligible, hops, origin: Some(origin) }
    }

    /// A connection that a proxy of the providers `members` makes without records, where none could
    /// be adopted: only providers ranked after the last of them may redirect, so that the rank
    /// strictly falls along every such chain (DESIGN.md section 2, point 2).
    #[inline(always)]
    #[must_use]
    pub const fn unrecorded(members: u64) -> Self {
        Self { visited: members, eligible: after(members), hops: 0, origin: None }
    }
}

/// The providers that the hops of a trail name, by their numbers; `handle` gives the handle of a hop.
#[inline(always)]
pub fn visited<I: Image + ?Sized>(image: &I, hops: u32, handle: impl Fn(u32) -> u64) -> u64 {
    let mut visited = 0u64;
    let mut i = 0;
    image.repeat(MAX_HOPS as u32, || {
        if i >= hops {
            return false;
        }
        if let Some(provider) = image::provider_of_handle(image, handle(i)) {
            visited |= 1 << (provider & 63);
        }
        i += 1;
        true
    });
    visited
}

/// Every bit above the highest one of `providers`: those ranked after all of them.
#[inline(always)]
const fn after(providers: u64) -> u64 {
    !smear(providers)
}

/// The highest set bit and everything below it.
#[inline(always)]
const fn smear(mut x: u64) -> u64 {
    x |= x >> 1;
    x |= x >> 2;
    x |= x >> 4;
    x |= x >> 8;
    x |= x >> 16;
    x | x >> 32
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// The provider that decided, by its number; `None` when no filter matched.
    pub provider: Option<u8>,
    /// The filter that decided, by its number in the policy.
    pub filter: u16,
}

impl Verdict {
    /// Nothing matched.
    pub const NO_FILTER: Self =
        Self { action: Action::Permit, reason: Reason::NoFilter, provider: None, filter: 0 };
}

#[inline(always)]
fn miss<I: Image + ?Sized>(image: &I, table: u32) -> Entry {
    Entry { sets: image.word(table + 1), members: 0, found: false }
}

#[inline(always)]
fn exe_entry<I: Image + ?Sized>(image: &I, exe: Exe) -> Entry {
    image::hash_entry(image, at::EXE, [exe.ino, exe.dev as u64])
}

#[inline(always)]
fn user_entry<I: Image + ?Sized>(image: &I, uid: u32) -> Entry {
    image::hash_entry(image, at::USER, [uid as u64, 0])
}

/// The deepest configured ancestor decides; its sets already contain those of the ones above it.
#[inline(always)]
fn cgroup_entry<I: Image + ?Sized, P: Process>(image: &I, process: &P) -> Entry {
    let mut levels = image.word(at::CGROUP_LEVELS);
    let mut entry = miss(image, at::CGROUP);
    image.repeat(MAX_CGROUP_LEVEL + 1, || {
        if levels == 0 {
            return false;
        }
        let level = highest(levels);
        levels &= !(1u64 << (level & 63));
        let id = process.cgroup_at(level);
        if id != 0 {
            let found = image::hash_entry(image, at::CGROUP, [id, 0]);
            if found.found {
                entry = found;
                return false;
            }
        }
        true
    });
    entry
}

/// Index of the highest set bit of a non-zero word.
#[inline(always)]
const fn highest(x: u64) -> u32 {
    crate::bits::ones(smear(x)) - 1
}

/// Number of sets that are intersected: kind, remote, port, executable, user, cgroup, original
/// executable, original user.
const DIMENSIONS: usize = 8;

/// A decision in the making: it takes in what is known, step by step, and then walks the filters that
/// are left. Small and flat, since in the kernel it lives on a stack of 512 bytes.
#[derive(Clone, Copy)]
pub struct Walk {
    sets: [u32; DIMENSIONS],
    summary: u64,
    /// Before the past is known: the providers as whose proxy the process may act.
    visited: u64,
    eligible: u64,
    hops: u32,
    cursor: u32,
    redirected: bool,
    unreachable: bool,
    /// The answer, once [`Walk::run`] has run.
    pub verdict: Verdict,
}

impl Default for Walk {
    fn default() -> Self {
        Self::new()
    }
}

impl Walk {
    /// Nothing is known yet.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sets: [at::EMPTY; DIMENSIONS],
            summary: 0,
            visited: 0,
            eligible: u64::MAX,
            hops: 0,
            cursor: 0,
            redirected: false,
            unreachable: false,
            verdict: Verdict::NO_FILTER,
        }
    }

    /// What the address alone says; false lets the connection pass, since no filter can match.
    #[inline(always)]
    pub fn classify<I: Image + ?Sized>(&mut self, image: &I, flow: &Flow) -> bool {
        let udp = flow.protocol as u32 == Protocol::Udp as u32;
        let kind = udp as u32 + 2 * flow.remote.ip.is_loopback() as u32;
        self.sets[0] = image.word(at::KIND_SETS + kind) as u32;
        let mut summary = image.word(self.sets[0]);
        if summary == 0 {
            return false;
        }
        self.sets[1] = image::remote_set(image, flow.remote.ip.reached());
        summary &= image.word(self.sets[1]);
        if summary == 0 {
            return false;
        }
        self.sets[2] = image::port_set(image, flow.remote.port);
        summary & image.word(self.sets[2]) != 0
    }

    /// Who connects, as far as the policy cares: the three parts that follow.
    #[inline(always)]
    pub fn identify<I: Image + ?Sized, P: Process>(&mut self, image: &I, process: &P) {
        self.identify_exe(image, process);
        self.identify_user(image, process);
        self.identify_cgroup(image, process);
    }

    /// By its executable.
    #[inline(always)]
    pub fn identify_exe<I: Image + ?Sized, P: Process>(&mut self, image: &I, process: &P) {
        let entry = if image.word(at::FLAGS) & flag::NEEDS_EXE != 0 {
            exe_entry(image, process.exe())
        } else {
            miss(image, at::EXE)
        };
        self.sets[3] = image::own_set(entry.sets);
        // Without a trail the connecting process is the original one (statement 62).
        self.sets[6] = image::original_set(entry.sets);
        self.visited |= entry.members;
    }

    /// By its user.
    #[inline(always)]
    pub fn identify_user<I: Image + ?Sized, P: Process>(&mut self, image: &I, process: &P) {
        let entry = if image.word(at::FLAGS) & flag::NEEDS_USER != 0 {
            user_entry(image, process.uid())
        } else {
            miss(image, at::USER)
        };
        self.sets[4] = image::own_set(entry.sets);
        self.sets[7] = image::original_set(entry.sets);
        self.visited |= entry.members;
    }

    /// By its cgroup.
    #[inline(always)]
    pub fn identify_cgroup<I: Image + ?Sized, P: Process>(&mut self, image: &I, process: &P) {
        let entry = if image.word(at::FLAGS) & flag::NEEDS_CGROUP != 0 {
            cgroup_entry(image, process)
        } else {
            miss(image, at::CGROUP)
        };
        self.sets[5] = image::own_set(entry.sets);
        self.visited |= entry.members;
    }

    /// From this socket no listener can be reached: every one counts as gone.
    #[inline(always)]
    pub const fn reaches_no_listener(&mut self) {
        self.unreachable = true;
    }

    /// Providers as whose proxy the process may act, by their numbers; only until [`Walk::set_past`].
    #[inline(always)]
    #[must_use]
    pub const fn members(&self) -> u64 {
        self.visited
    }

    /// What happened before; without it the connection is taken for an application's own.
    #[inline(always)]
    pub fn set_past<I: Image + ?Sized>(&mut self, image: &I, past: &Past) {
        self.visited = past.visited;
        self.eligible = past.eligible;
        self.hops = past.hops;
        if let Some(origin) = past.origin {
            let flags = image.word(at::FLAGS);
            if flags & flag::NEEDS_EXE != 0 {
                self.sets[6] = image::original_set(exe_entry(image, origin.exe).sets);
            }
            if flags & flag::NEEDS_USER != 0 {
                self.sets[7] = image::original_set(user_entry(image, origin.uid).sets);
            }
        }
    }

    /// Words of 64 filters that have a bit in every set's summary.
    #[inline(always)]
    fn summary<I: Image + ?Sized>(&self, image: &I) -> u64 {
        let mut summary = u64::MAX;
        let mut d = 0;
        while d < DIMENSIONS {
            summary &= image.word(self.sets[d]);
            d += 1;
        }
        summary
    }

    /// Walks the filters that match, in the order of asking.
    ///
    /// Inside a provider the first filter that matches decides. A block ends the walk; a permit, and a
    /// redirect that may not happen, pass on to the next provider; the first redirect that may happen
    /// is taken, and the walk goes on only to find blocks, since a block of any provider refuses. That
    /// a listener is gone counts even when it is not its provider's turn: the next leg may not match.
    ///
    /// `listening` is given a provider's number and whether IPv4 is meant, and says whether something
    /// listens at that listener's address; `note` is told every outcome.
    #[inline(always)]
    pub fn run<I: Image + ?Sized>(
        &mut self,
        image: &I,
        flow: &Flow,
        mut listening: impl FnMut(u32, bool) -> bool,
        mut note: impl FnMut(u32, u32, Reason),
    ) {
        self.summary = self.summary(image);
        // Each step leaves either a provider or a word of 64 filters behind.
        image.repeat((MAX_PROVIDERS + MAX_FILTERS / 64) as u32, || {
            self.step(image, flow, &mut listening, &mut note)
        });
    }

    /// One step; false when the walk is over.
    #[inline(always)]
    fn step<I: Image + ?Sized>(
        &mut self,
        image: &I,
        flow: &Flow,
        listening: &mut impl FnMut(u32, bool) -> bool,
        note: &mut impl FnMut(u32, u32, Reason),
    ) -> bool {
        let cursor = self.cursor;
        let rest = if cursor < MAX_FILTERS as u32 { self.summary & !below(cursor / 64) } else { 0 };
        if rest == 0 {
            return false;
        }
        let w = lowest(rest);
        let mut bits = if w == cursor / 64 { !below(cursor) } else { u64::MAX };
        let mut d = 0;
        while d < DIMENSIONS {
            bits &= image::set_word(image, self.sets[d], w);
            d += 1;
        }
        if bits == 0 {
            self.cursor = (w + 1) * 64;
            return true;
        }
        let filter = w * 64 + lowest(bits);
        let description = image.word(image.word(at::FILTERS) as u32 + filter);
        let index = (description >> 8) as u32 & 63;
        let provider = ProviderAt::new(image, index);
        self.cursor = provider.filters(image).1;
        let outcome = match description as u8 {
            a if a == Action::Permit as u8 => Reason::FilterPermit,
            a if a == Action::Block as u8 => Reason::FilterBlock,
            _ => self.redirect_outcome(image, flow, index, provider, listening),
        };
        note(index, filter, outcome);
        self.take(index, filter, outcome)
    }

    /// Makes an outcome part of the answer; false when it is final.
    #[inline(always)]
    fn take(&mut self, index: u32, filter: u32, outcome: Reason) -> bool {
        let action = match outcome {
            Reason::FilterBlock | Reason::ListenerGoneBlock | Reason::TrailFull => Action::Block,
            Reason::FilterRedirect => Action::Redirect,
            _ => Action::Permit,
        };
        // A redirect or block replaces what was noted before. Of permits the first says why, unless a
        // provider was passed over that should have had the connection.
        let bypassed = outcome as u8 == Reason::ListenerGoneBypass as u8
            && self.verdict.reason as u8 != Reason::ListenerGoneBypass as u8;
        let says_why = self.verdict.provider.is_none() || (bypassed && !self.redirected);
        if action as u8 != Action::Permit as u8 || says_why {
            self.verdict = Verdict {
                action,
                reason: outcome,
                provider: Some(index as u8),
                filter: filter as u16,
            };
        }
        self.redirected |= action as u8 == Action::Redirect as u8;
        action as u8 != Action::Block as u8
    }

    /// What becomes of a matching redirect filter.
    #[inline(always)]
    fn redirect_outcome<I: Image + ?Sized>(
        &self,
        image: &I,
        flow: &Flow,
        index: u32,
        provider: ProviderAt,
        listening: &mut impl FnMut(u32, bool) -> bool,
    ) -> Reason {
        let bit = 1u64 << (index & 63);
        if self.visited & bit != 0 {
            return Reason::AlreadyHandled;
        }
        if flow.remote.ip.is_many() {
            return Reason::ManyReceivers;
        }
        let v4 = flow.remote.ip.is_v4();
        if provider.listens_at(image, v4, &flow.remote) {
            return Reason::OwnListener;
        }
        let up = !self.unreachable && provider.listens(image, v4) && listening(index, v4);
        if !up {
            return if provider.bypasses(image) {
                Reason::ListenerGoneBypass
            } else {
                Reason::ListenerGoneBlock
            };
        }
        if self.eligible & bit == 0 {
            return Reason::RankedBefore;
        }
        if self.redirected {
            return Reason::AnotherRedirected;
        }
        if self.hops >= MAX_HOPS as u32 {
            return Reason::TrailFull;
        }
        Reason::FilterRedirect
    }
}

/// The whole decision for a caller that has everything at hand: the unprivileged engine, `explain`,
/// the tests. `past` is given the providers as whose proxy the process may act.
pub fn evaluate<I: Image + ?Sized, P: Process>(
    image: &I,
    flow: &Flow,
    process: &P,
    past: impl FnOnce(u64) -> Past,
    listening: impl FnMut(u32, bool) -> bool,
    note: impl FnMut(u32, u32, Reason),
) -> Verdict {
    let mut walk = Walk::new();
    if walk.classify(image, flow) {
        walk.identify(image, process);
        walk.set_past(image, &past(walk.members()));
        walk.run(image, flow, listening, note);
    }
    walk.verdict
}
