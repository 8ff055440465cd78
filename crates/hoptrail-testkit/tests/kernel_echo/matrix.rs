//! Each cell once: the client reads the context, the general text, or the error.

use crate::cell::{Family, Fate, Place, Protocol, Proxy, Target};
use crate::client::{Outcome, Question, ask};
use crate::echo::{self, Echo};
use hoptrail_core::compile::{Filter, Provider};
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::stage::{self, Copy};
use hoptrail_testkit::lab::{Actor, Lab, Person, exe_of};

/// Connections.
pub(crate) fn tcp() {
    every_cell(Protocol::Tcp);
}

/// Sockets that connect and then send.
pub(crate) fn connected_udp() {
    every_cell(Protocol::ConnectedUdp);
}

/// Sockets that name the destination as they send.
pub(crate) fn unconnected_udp() {
    every_cell(Protocol::UnconnectedUdp);
}

/// A client with an executable of its own, and something that listens wherever it may come.
struct Scene {
    client: Actor,
    /// Proxies and destinations.
    _listening: Vec<Actor>,
    exe: Copy,
    lab: Lab,
}

fn every_cell(protocol: Protocol) {
    let scene = Scene::new();
    let (mut wrong, mut redirected, mut blocked) = (Vec::new(), 0, 0);
    for family in Family::ALL {
        for target in Target::all() {
            let outcome = scene.ask(family, protocol, target);
            let expected = scene.expected(family, protocol, target, &outcome);
            match target {
                Target::Destination(_, Fate::Redirected(_)) => redirected += 1,
                Target::Destination(_, Fate::Blocked) => blocked += 1,
                Target::Destination(..) | Target::Listener(_) => {}
            }
            if outcome != Ok(expected) {
                wrong.push(format!("{family:?} to {target:?}: {outcome:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{protocol:?}: {wrong:#?}");
    let counters = scene.lab.counters();
    assert_eq!((counters.redirected, counters.blocked), (redirected, blocked));
    assert_eq!((redirected, blocked), (24, 12), "cells");
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        lab.load_with(policy(&lab), &Proxy::ALL.map(|p| (p.provider(), p.bytes().as_bytes())));
        let neighbour = lab.neighbour("ht0");
        let mut listening = Vec::new();
        for proxy in Proxy::ALL {
            let actor = lab.actor(proxy.provider());
            actor.run(vec![proxy.listener(true), proxy.listener(false)], echo::start).unwrap();
            listening.push(actor);
        }
        for place in Place::ALL {
            // What listens on this machine can ask: the engine acts on its cgroup, too.
            let actor = match place {
                Place::Loopback | Place::Own => lab.actor("world"),
                Place::Beyond => neighbour.outsider(),
            };
            actor.run(place.destinations(), echo::start).unwrap();
            listening.push(actor);
        }
        let exe = stage::copy_of_binary("client");
        let client = lab.person(&Person { cgroup: "app", uid: None, exe: Some(exe.path()) });
        Self { client, _listening: listening, exe, lab }
    }

    /// What comes of the cell; the text of the error when that is neither an answer nor a refusal.
    fn ask(&self, family: Family, protocol: Protocol, target: Target) -> Result<Outcome, String> {
        let to = family.form(target.at(family.is_v4()));
        let question = Question { protocol, to, dual_stack: family.is_dual() };
        self.client.run(question, ask).map_err(|error| error.to_string())
    }

    fn expected(
        &self,
        family: Family,
        protocol: Protocol,
        target: Target,
        outcome: &Result<Outcome, String>,
    ) -> Outcome {
        let at = target.at(family.is_v4());
        // Only the client's kernel knows which port it has chosen.
        let own_port = match outcome {
            Ok(Outcome::Answered { own_port, .. }) => *own_port,
            _ => 0,
        };
        let echo = match target {
            Target::Destination(_, Fate::Redirected(proxy)) => {
                let exe = exe_of(self.exe.path());
                Echo::Context {
                    pid: self.client.pid(),
                    exe: (exe.dev, exe.ino),
                    path: self.exe.path().to_owned(),
                    from_port: own_port,
                    destination: at,
                    udp: protocol != Protocol::Tcp,
                    bytes: proxy.bytes().into(),
                    proxy_port: proxy.port(),
                }
            }
            Target::Destination(_, Fate::Blocked) => {
                let call = if protocol == Protocol::UnconnectedUdp { "sendto" } else { "connect" };
                return Outcome::Refused { call: call.into(), errno: libc::EACCES };
            }
            Target::Destination(_, Fate::Permitted | Fate::Unmatched) | Target::Listener(_) => {
                Echo::NoContext { at }
            }
        };
        // Whoever answers, the application has asked its destination.
        Outcome::Answered { echo, from: family.form(at), own_port }
    }
}

/// Acme permits, blocks and redirects by port, in this order; beta redirects. Both ask for loopback, too,
/// and for the ports of their own listeners.
fn policy(lab: &Lab) -> Vec<Provider> {
    let filter = |action, ports: &[u16]| Filter {
        ports: ports.iter().map(|&port| port..=port).collect(),
        loopback: true,
        ..Filter::all(action)
    };
    let redirected = |proxy: Proxy| Fate::Redirected(proxy).port();
    let [acme, beta] = Proxy::ALL;
    let of_acme = vec![
        filter(Action::Permit, &[Fate::Permitted.port()]),
        filter(Action::Block, &[Fate::Blocked.port()]),
        // Were it not for the first two, these would be redirected.
        filter(
            Action::Redirect,
            &[redirected(acme), acme.port(), Fate::Permitted.port(), Fate::Blocked.port()],
        ),
    ];
    let of_beta = vec![filter(Action::Redirect, &[redirected(beta), beta.port()])];
    let provider = |proxy: Proxy, rank, filters| Provider {
        listen_v4: Some(proxy.listener(true).into()),
        listen_v6: Some(proxy.listener(false).into()),
        filters,
        ..lab.provider(proxy.provider(), rank)
    };
    vec![provider(acme, 200, of_acme), provider(beta, 100, of_beta)]
}
