//! From single events to whole trails: which application, through which providers, to where.

use crate::event::{Connector, Event, EventKind};
use hoptrail_core::reason::Reason;
use hoptrail_core::records::{Hop, Provenance};
use hoptrail_core::{Endpoint, Protocol, TrailHeader};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

/// The trails seen lately, oldest first; at most as many as it was made for.
#[derive(Debug)]
pub struct TrailBook {
    most: usize,
    trails: HashMap<Key, TrailRecord>,
    order: VecDeque<Key>,
    forgotten: u64,
    unnamed: u64,
}

/// A trail's id; connections that were refused before they had one are numbered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Id([u64; 2]),
    Unnamed(u64),
}

/// All that is known of one trail.
#[derive(Clone, Debug)]
pub struct TrailRecord {
    /// Its id; zeroes when it never got one.
    pub id: [u64; 2],
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Who asked.
    pub application: Application,
    /// What the application asked for.
    pub destination: Endpoint,
    /// Where the application stands.
    pub local: Endpoint,
    /// In the order in which they happened. A proxy that dials twice gives two branches, told apart by
    /// `depth`.
    pub legs: Vec<Leg>,
    /// When its first leg was made.
    pub began: Option<SystemTime>,
}

/// The process that first made the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Application {
    /// Process id.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Name of its main thread.
    pub name: String,
    /// Path of its executable, when it could be read.
    pub exe: Option<String>,
}

/// One leg.
#[derive(Clone, Debug)]
pub struct Leg {
    /// From 1: the number of the hop that it is, or that it would have been.
    pub depth: usize,
    /// What became of it.
    pub end: End,
    /// Its own address.
    pub from: Option<Endpoint>,
    /// Where it went.
    pub to: Endpoint,
    /// Who made it: process and, when known, name.
    pub by: (u32, Option<String>),
    /// How it came to its trail.
    pub provenance: Provenance,
    /// Since the first leg.
    pub after: Option<Duration>,
}

/// What became of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A provider's proxy got it.
    Redirected {
        /// The provider's redirect handle.
        handle: u64,
        /// Filter within the provider, from 0.
        filter: u32,
        /// Nanoseconds since boot; with `handle` it identifies the hop.
        time_ns: u64,
    },
    /// It went where it wanted to go.
    Reached,
    /// It was refused.
    Refused {
        /// Why.
        reason: Reason,
        /// The refusing provider; 0 for none.
        handle: u64,
        /// Filter within the provider, from 0.
        filter: u32,
    },
}

impl TrailBook {
    /// For at most `most` trails; beyond that the oldest is forgotten.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            trails: HashMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
            unnamed: 0,
        }
    }

    /// Adds what happened and gives the trail as it now is.
    pub fn add(&mut self, event: &Event) -> &TrailRecord {
        let key = self.key(event);
        if !self.trails.contains_key(&key) {
            self.make_room();
            self.order.push_back(key);
        }
        let trail = self.trails.entry(key).or_insert_with(|| TrailRecord::new(&event.trail.header));
        trail.add(event);
        trail
    }

    /// The trails, oldest first.
    pub fn trails(&self) -> impl Iterator<Item = &TrailRecord> {
        self.order.iter().filter_map(|key| self.trails.get(key))
    }

    /// How many were forgotten to make room.
    #[must_use]
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn key(&mut self, event: &Event) -> Key {
        let id = event.trail.header.id;
        if id != [0, 0] {
            return Key::Id(id);
        }
        self.unnamed += 1;
        Key::Unnamed(self.unnamed)
    }

    fn make_room(&mut self) {
        if self.order.len() >= self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.trails.remove(&oldest);
            self.forgotten += 1;
        }
    }
}

impl TrailRecord {
    fn new(header: &TrailHeader) -> Self {
        Self {
            id: header.id,
            protocol: header.protocol().unwrap_or(Protocol::Tcp),
            application: Application {
                pid: header.pid,
                uid: header.uid,
                name: header.name().to_owned(),
                exe: None,
            },
            destination: header.destination(),
            local: header.local(),
            legs: Vec::new(),
            began: None,
        }
    }

    /// The legs that a provider took, in their order.
    pub fn hops(&self) -> impl Iterator<Item = (&Leg, u64)> {
        self.legs.iter().filter_map(|leg| match leg.end {
            End::Redirected { handle, .. } => Some((leg, handle)),
            End::Reached | End::Refused { .. } => None,
        })
    }

    /// The last leg that reached its destination or was refused.
    #[must_use]
    pub fn outcome(&self) -> Option<&Leg> {
        self.legs.iter().rev().find(|leg| !matches!(leg.end, End::Redirected { .. }))
    }

    fn add(&mut self, event: &Event) {
        if self.application.exe.is_none() {
            self.application.exe.clone_from(&event.exe_path);
        }
        let hops = event.trail.hops();
        let first_ns = hops.first().map(|hop| hop.time_ns);
        for (i, hop) in hops.iter().enumerate() {
            self.add_hop(i + 1, hop, first_ns);
        }
        match event.kind {
            EventKind::Redirected => self.name_last_hop(event, first_ns),
            EventKind::Reached => self.add_end(event, End::Reached),
            EventKind::Refused => {
                let (reason, handle, filter) = (event.reason, event.handle, event.filter);
                self.add_end(event, End::Refused { reason, handle, filter });
            }
        }
    }

    /// Every event carries all hops so far, so that a lost event costs only the name of a process.
    fn add_hop(&mut self, depth: usize, hop: &Hop, first_ns: Option<u64>) {
        let end = End::Redirected { handle: hop.handle, filter: hop.filter, time_ns: hop.time_ns };
        let from = (hop.from_port.number() != 0).then(|| hop.from());
        if let Some(known) = self.legs.iter_mut().find(|leg| leg.end == end) {
            // The port is chosen after the decision: the first event may not know it yet.
            known.from = known.from.or(from);
            return;
        }
        let after = first_ns.map(|first| Duration::from_nanos(hop.time_ns.saturating_sub(first)));
        self.legs.push(Leg {
            depth,
            end,
            from,
            to: hop.to(),
            by: (hop.pid, None),
            provenance: hop.provenance(),
            after,
        });
    }

    fn name_last_hop(&mut self, event: &Event, first_ns: Option<u64>) {
        let Some(last) = event.trail.hops().last() else { return };
        let end =
            End::Redirected { handle: last.handle, filter: last.filter, time_ns: last.time_ns };
        if let Some(leg) = self.legs.iter_mut().find(|leg| leg.end == end) {
            leg.by = (event.by.pid, Some(name_of(&event.by)));
        }
        let since =
            Duration::from_nanos(last.time_ns.saturating_sub(first_ns.unwrap_or(last.time_ns)));
        self.began = self.began.or_else(|| event.time.checked_sub(since));
    }

    fn add_end(&mut self, event: &Event, end: End) {
        let hops = event.trail.hops();
        if hops.is_empty() {
            self.began = self.began.or(Some(event.time));
        }
        self.legs.push(Leg {
            depth: hops.len() + 1,
            end,
            from: None,
            to: event.to,
            by: (event.by.pid, Some(name_of(&event.by))),
            provenance: event.provenance,
            after: self.began.and_then(|began| event.time.duration_since(began).ok()),
        });
    }
}

fn name_of(by: &Connector) -> String {
    let end = by.name.iter().position(|&b| b == 0).unwrap_or(by.name.len());
    String::from_utf8_lossy(&by.name[..end]).into_owned()
}

#[cfg(test)]
mod tests;
