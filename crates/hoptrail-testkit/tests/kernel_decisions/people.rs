//! The persons of the table as processes, each with an executable, a user and a cgroup of its own.

use hoptrail_core::Endpoint;
use hoptrail_core::compile::Cgroup;
use hoptrail_core::records::Exe;
use hoptrail_testkit::cases::{EVERYONE, MISSING, World};
use hoptrail_testkit::lab::stage::{self, Copy};
use hoptrail_testkit::lab::{Actor, Lab, Origin, Person, at, eventually, exe_of, listener};
use std::collections::BTreeMap;
use std::path::Path;

/// Those whose executable or user the table names; the others differ in their cgroup alone.
const NAMED: [&str; 5] = ["app", "other", "acme", "beta", "gamma"];
const UNNAMED: u32 = 17;
/// Where something answers.
const DESTINATIONS: [&str; 4] = ["192.0.2.10:80", "[2001:db8::10]:80", "127.0.0.1:80", "[::1]:80"];

pub(crate) struct People {
    actors: BTreeMap<String, Actor>,
    copies: BTreeMap<&'static str, Copy>,
    _destinations: Vec<Origin>,
    pub(crate) lab: Lab,
}

impl People {
    pub(crate) fn new() -> Self {
        let lab = Lab::new();
        let copies: BTreeMap<_, _> =
            NAMED.into_iter().map(|name| (name, stage::copy_of_binary(name))).collect();
        let unnamed = (1..=UNNAMED).map(|n| format!("p{n:02}"));
        let names = NAMED.into_iter().map(str::to_owned).chain(unnamed);
        let actors = names
            .map(|name| {
                let exe = copies.get(name.as_str()).map(Copy::path);
                let uid = Some(uid(&name));
                (name.clone(), lab.person(&Person { cgroup: &name, uid, exe }))
            })
            .collect();
        let destinations = DESTINATIONS.into_iter().map(|to| lab.origin(at(to))).collect();
        Self { actors, copies, _destinations: destinations, lab }
    }

    pub(crate) fn of(&self, name: &str) -> &Actor {
        &self.actors[name]
    }

    /// Everybody closes everything, so that the next case finds nothing of this one.
    pub(crate) fn go_home(&self) {
        self.lab.load(Vec::new());
        for actor in self.actors.values() {
            actor.close_all();
        }
        eventually("nothing is left of a case", || {
            let tcp = |link: &hoptrail_engine::kernel::LiveLink| link.trail.header.protocol == 6;
            !self.lab.links().iter().any(tcp)
        });
        let _ = self.lab.events();
    }
}

fn uid(name: &str) -> u32 {
    let known = NAMED.iter().position(|known| *known == name).map(|n| 3001 + n as u32);
    known.unwrap_or_else(|| 4000 + name[1..].parse::<u32>().unwrap())
}

impl World for People {
    fn exe(&self, person: &str) -> Option<Exe> {
        let path = self.copies.get(person).map_or(Path::new("/proc/self/exe"), Copy::path);
        (person != MISSING).then(|| exe_of(path))
    }

    fn user(&self, person: &str) -> Option<u32> {
        (person != MISSING).then(|| uid(person))
    }

    fn cgroup(&self, person: &str) -> Option<Cgroup> {
        match person {
            EVERYONE => Some(self.lab.cgroup("")),
            MISSING => None,
            _ => Some(self.lab.cgroup(person)),
        }
    }

    fn listener(&self, provider: &str, v4: bool) -> Endpoint {
        listener(provider, v4).into()
    }
}
