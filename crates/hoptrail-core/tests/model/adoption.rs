//! Several connections to one destination at once: proxies without records adopt the trail of *some*
//! accepted connection, in any order, and accepted connections may close before their proxy dials.

use super::chain::{Rules, extend, judge};
use super::network::{Kind, Network, Who};
use hoptrail_core::image::Action;
use hoptrail_core::records::{Provenance, Trail};
use std::collections::HashSet;
use std::rc::Rc;

/// Which accepted connections may be adopted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Adopt {
    /// Those that nobody has adopted yet.
    Once,
    /// The newest that nobody has adopted yet, or when there is none, the newest.
    Again,
}

/// A connection that a proxy accepted.
#[derive(Clone)]
struct Accepted {
    number: usize,
    provider: usize,
    trail: Rc<Trail>,
    adopted: bool,
}

#[derive(Clone, Default)]
struct State {
    open: Vec<Accepted>,
    /// Who is about to connect, and for which accepted connection.
    dialling: Vec<(Who, Option<Accepted>)>,
    redirects: Vec<usize>,
}

/// An exploration of everything that may happen.
pub(crate) struct Crowd<'a> {
    network: &'a Network,
    adopt: Adopt,
    /// More redirects than this are a loop.
    limit: usize,
    seen: HashSet<Vec<u64>>,
}

impl<'a> Crowd<'a> {
    pub(crate) fn new(network: &'a Network, adopt: Adopt, limit: usize) -> Self {
        Self { network, adopt, limit, seen: HashSet::new() }
    }

    pub(crate) fn states(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Lets every application connect once. The error is the redirects of a run beyond the limit.
    pub(crate) fn explore(&mut self, applications: &[Who]) -> Result<(), Vec<usize>> {
        let dialling = applications.iter().map(|who| (*who, None)).collect();
        self.visit(State { dialling, ..State::default() })
    }

    fn visit(&mut self, state: State) -> Result<(), Vec<usize>> {
        if state.redirects.len() > self.limit {
            return Err(state.redirects);
        }
        if !self.seen.insert(key(&state)) {
            return Ok(());
        }
        for i in 0..state.dialling.len() {
            for closes in [true, false] {
                let mut next = state.clone();
                let (by, accepted) = next.dialling.remove(i);
                match &accepted {
                    Some(accepted) if closes => next.open.retain(|o| o.number != accepted.number),
                    None if closes => continue,
                    _ => {}
                }
                self.dial(next, by, accepted)?;
            }
        }
        Ok(())
    }

    fn dial(
        &mut self,
        state: State,
        by: Who,
        accepted: Option<Accepted>,
    ) -> Result<(), Vec<usize>> {
        let Who::Proxy(n) = by else {
            return self.connect(state, by, None, Provenance::Fresh);
        };
        match (self.network.nodes[n].kind, accepted) {
            (Kind::Declares, Some(own)) => {
                self.connect(state, by, Some(own.trail), Provenance::Declared)
            }
            (Kind::Adoptable, _) => self.adopt_any(state, by, n),
            _ => self.connect(state, by, None, Provenance::Unrecorded),
        }
    }

    fn adopt_any(&mut self, state: State, by: Who, n: usize) -> Result<(), Vec<usize>> {
        let of = |adopted| {
            let fits = move |a: &(usize, &Accepted)| a.1.provider == n && a.1.adopted == adopted;
            state.open.iter().enumerate().filter(fits).map(|(i, _)| i).collect::<Vec<_>>()
        };
        let mut candidates = of(false);
        if candidates.is_empty() && self.adopt == Adopt::Again {
            candidates = of(true);
        }
        if self.adopt == Adopt::Again {
            candidates.drain(..candidates.len().saturating_sub(1));
        }
        if candidates.is_empty() {
            return self.connect(state, by, None, Provenance::Unrecorded);
        }
        for i in candidates {
            let mut next = state.clone();
            next.open[i].adopted = true;
            let trail = next.open[i].trail.clone();
            self.connect(next, by, Some(trail), Provenance::Inferred)?;
        }
        Ok(())
    }

    fn connect(
        &mut self,
        mut state: State,
        by: Who,
        carried: Option<Rc<Trail>>,
        provenance: Provenance,
    ) -> Result<(), Vec<usize>> {
        let verdict = judge(self.network, by, carried.as_deref(), Rules::All);
        if verdict.action == Action::Redirect {
            let to = self.network.asked[usize::from(verdict.provider.unwrap())];
            let carried = carried.as_deref().copied();
            let trail = extend(carried, by, self.network.handle(to), to, provenance).into();
            let number = state.redirects.len();
            let accepted = Accepted { number, provider: to, trail, adopted: false };
            state.open.push(accepted.clone());
            state.dialling.push((Who::Proxy(to), Some(accepted)));
            state.redirects.push(to);
        }
        self.visit(state)
    }
}

/// What the future depends on, and how many redirects there were; names of connections do not matter.
fn key(state: &State) -> Vec<u64> {
    let trail = |a: &Accepted| {
        let hops = a.trail.hops().iter().map(|h| h.handle & 7);
        let path = hops.fold(1, |path, hop| path << 3 | hop);
        let lost = a.trail.hops[0].provenance() == Provenance::Unrecorded;
        path << 16 | a.trail.header.exe_ino << 8 | u64::from(lost) << 1
    };
    // A connection stays open until its proxy has dialled.
    let adopted = |a: &Accepted| state.open.iter().any(|o| o.number == a.number && o.adopted);
    let mut dialling: Vec<u64> = state
        .dialling
        .iter()
        .map(|(who, accepted)| {
            let accepted = accepted.as_ref();
            accepted.map_or(who.exe().ino, |a| trail(a) | u64::from(adopted(a))) | 1 << 63
        })
        .collect();
    let mut open: Vec<u64> = state.open.iter().map(|a| trail(a) | u64::from(a.adopted)).collect();
    dialling.sort_unstable();
    open.sort_unstable();
    dialling.extend(open);
    dialling.push(state.redirects.len() as u64);
    dialling
}
