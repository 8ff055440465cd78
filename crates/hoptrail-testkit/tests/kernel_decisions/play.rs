//! One case of the table, played by the people: first the trail that the socket carries, made as
//! trails are made, then the connect that is decided.

use crate::people::People;
use hoptrail_core::Protocol;
use hoptrail_core::compile::{Filter, Provider, handle_of};
use hoptrail_core::image::Action;
use hoptrail_core::reason::Reason;
use hoptrail_engine::event::{Event, EventKind};
use hoptrail_testkit::cases::{Case, Outcome, To, TrailSpec, guid, realise};
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Fd, at, listener};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

/// Listeners by provider and whether they are for IPv4.
type Listeners = BTreeMap<(String, bool), Fd>;

struct Stage<'p> {
    people: &'p People,
    case: &'p Case,
    kind: Kind,
    to: SocketAddr,
    providers: Vec<Provider>,
    listeners: Listeners,
}

/// Plays a case.
///
/// # Panics
/// When it does not come out as the table says.
pub(crate) fn play(people: &People, case: &Case) {
    let to = match case.to {
        To::Address(text) => at(text),
        To::ListenerOf(provider) => listener(provider, true),
    };
    let kind = if case.protocol == Protocol::Tcp { Kind::Tcp } else { Kind::Udp };
    let providers = realise(case, people).policy.providers;
    let mut stage = Stage { people, case, kind, to, providers, listeners: BTreeMap::new() };
    stage.open_listeners();
    let blob = stage.make_trail();
    stage.close_what_is_down();
    people.lab.load(stage.providers.clone());
    let _ = people.lab.events();
    let redirected = people.lab.counters().redirected;
    let (socket, result) = stage.connect(blob.as_deref());
    let events = people.lab.events();
    let redirected = people.lab.counters().redirected - redirected;
    stage.check(socket, &result, &events, redirected);
}

impl Stage<'_> {
    fn open_listeners(&mut self) {
        for provider in &self.providers {
            for v4 in [true, false] {
                let on = listener(&provider.name, v4);
                let actor = self.people.of(&provider.name);
                let socket = match self.kind {
                    Kind::Tcp => actor.listen(on, 8).unwrap(),
                    Kind::Udp => {
                        let socket = actor.socket(on, Kind::Udp).unwrap();
                        actor.bind(socket, on).unwrap();
                        socket
                    }
                };
                self.listeners.insert((provider.name.clone(), v4), socket);
            }
        }
    }

    fn close_what_is_down(&mut self) {
        for name in self.case.down {
            for v4 in [true, false] {
                let socket = self.listeners.remove(&((*name).to_owned(), v4)).unwrap();
                self.people.of(name).close(socket);
            }
        }
    }

    /// The blob that the connecting socket is to carry; nothing when it is to adopt, or has no trail.
    fn make_trail(&self) -> Option<Vec<u8>> {
        let (by, names, set) = match self.case.trail {
            TrailSpec::Nothing => return None,
            TrailSpec::Declared(names) => ("app", names, true),
            TrailSpec::Adopted(names) => ("app", names, false),
            TrailSpec::Unrecorded { by, then } => (by, then, true),
        };
        self.people.lab.load(self.chain(by, names));
        self.people.of(by).dial(self.to).unwrap();
        let mut blob = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let proxy = self.people.of(name);
            let listening = self.listeners[&((*name).to_owned(), self.to.is_ipv4())];
            let (accepted, _) = proxy.accept(listening).unwrap();
            blob = proxy.records(accepted).unwrap();
            if i + 1 < names.len() {
                let onward = proxy.socket(self.to, Kind::Tcp).unwrap();
                proxy.set_records(onward, &blob).unwrap();
                proxy.connect(onward, self.to).unwrap();
            }
        }
        set.then_some(blob)
    }

    /// A policy by which a connection of `by` goes to these providers in this order.
    fn chain(&self, by: &str, names: &[&str]) -> Vec<Provider> {
        let with = |name: &str, rank: usize, filters: Vec<Filter>| {
            let known = self.providers.iter().find(|p| p.name == name);
            known.map(|p| Provider { rank: 100 - rank as i64, filters, bypass: false, ..p.clone() })
        };
        let redirect = vec![Filter::all(Action::Redirect)];
        let asked = names.iter().enumerate();
        let mut chain: Vec<Provider> =
            asked.filter_map(|(i, name)| with(name, i + 1, redirect.clone())).collect();
        if !names.contains(&by) {
            chain.extend(with(by, 0, Vec::new()));
        }
        chain
    }

    fn connect(&self, blob: Option<&[u8]>) -> (Fd, io::Result<()>) {
        let by = self.people.of(self.case.by);
        let socket = by.socket(self.to, self.kind).unwrap();
        if let Some(blob) = blob {
            by.set_records(socket, blob).unwrap();
        }
        if let SocketAddr::V4(to) = self.to
            && to.ip().is_multicast()
        {
            by.multicast_by(socket, std::net::Ipv4Addr::LOCALHOST).unwrap();
        }
        (socket, by.connect(socket, self.to))
    }

    fn check(&self, socket: Fd, result: &io::Result<()>, events: &[Event], redirected: u64) {
        let case = self.case;
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        let told = |kind| {
            let [event] = events else { panic!("{}: {} events", case.name, events.len()) };
            assert_eq!((event.kind, event.reason), (kind, case.expect.reason), "{}", case.name);
            let (provider, filter) = case.expect.decided_by.unwrap();
            assert_eq!(event.handle, handle_of(guid(provider)), "{}", case.name);
            assert_eq!(event.filter as usize, filter, "{}", case.name);
        };
        match case.expect.outcome {
            Outcome::Block => {
                assert_eq!(errno, Some(errno_of(case.expect.reason)), "{}", case.name);
                assert_eq!(redirected, 0, "{}", case.name);
                told(EventKind::Refused);
            }
            Outcome::RedirectTo(provider) => {
                assert_eq!(errno, None, "{}", case.name);
                assert_eq!(redirected, 1, "{}", case.name);
                told(EventKind::Redirected);
                self.arrives(socket, provider);
            }
            Outcome::Permit => {
                assert_eq!(errno, None, "{}", case.name);
                assert_eq!(redirected, 0, "{}", case.name);
                match case.trail {
                    TrailSpec::Nothing => assert!(events.is_empty(), "{}: {events:?}", case.name),
                    _ => told(EventKind::Reached),
                }
                let by = self.people.of(case.by);
                assert_eq!(by.peer(socket).unwrap(), self.to, "{}", case.name);
            }
        }
    }

    /// The provider gets it, and the application does not see that.
    fn arrives(&self, socket: Fd, provider: &str) {
        let by = self.people.of(self.case.by);
        let v4 = self.to.ip().to_canonical().is_ipv4();
        let (proxy, listening) =
            (self.people.of(provider), self.listeners[&(provider.to_owned(), v4)]);
        assert_eq!(by.peer(socket).unwrap(), self.to, "{}", self.case.name);
        match self.kind {
            Kind::Tcp => {
                let (accepted, peer) = proxy.accept(listening).unwrap();
                let local = by.local(socket).unwrap();
                assert_eq!(peer.port(), local.port(), "{}", self.case.name);
                proxy.records(accepted).unwrap();
            }
            Kind::Udp => {
                by.send(socket, b"datagram").unwrap();
                assert_eq!(proxy.recv_from(listening).unwrap().0, b"datagram");
            }
        }
    }
}

/// What the application sees of a refusal (docs/abi.md).
fn errno_of(reason: Reason) -> i32 {
    match reason {
        Reason::FilterBlock => libc::EACCES,
        Reason::ListenerGoneBlock => libc::ECONNREFUSED,
        Reason::TrailFull => libc::ELOOP,
        other => panic!("{other:?} does not refuse"),
    }
}
