//! The relays that are measured: ours, and those a user would pick instead. Each is started from nothing for
//! the part that measures it, in cgroups of its own.

mod cost;
mod haproxy;
mod kernel;
mod mitmproxy;
mod nginx;
mod ours;
mod process;
mod redsocks;

use crate::Result;
use crate::lab::{HOPS, Lab, Place, local};
use crate::nft;
use crate::policy::Target;
use crate::worker::Worker;
use hoptrail_engine::EngineError;
use hoptrail_engine::host::cgroup2::CgroupDir;
use process::Process;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use kernel::Objects;
pub(crate) use nginx::Origin;
pub(crate) use process::{find, output};

/// Which relay, and how it is set up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    /// Ours with a fixed destination, as the others have it.
    Forward(Setting),
    /// Ours as the provider of an engine: with records, to where the application wanted.
    Provider,
    Haproxy(Tuning),
    Nginx(Tuning),
    /// By nftables' REDIRECT, to a destination that speaks SOCKS5 itself.
    Redsocks,
    Mitmproxy,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Setting {
    Shipped,
    OneThread,
    /// On loopback too.
    SystemCongestion,
    /// Asleep whenever nothing is to be done.
    WithoutSpinning,
    /// With three patterns that are never there.
    EveryByte,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Tuning {
    Shipped,
    /// For throughput, and with one thread.
    Tuned,
}

pub(crate) const FORWARD: Kind = Kind::Forward(Setting::Shipped);
pub(crate) const ONE_THREAD: Kind = Kind::Forward(Setting::OneThread);
pub(crate) const SYSTEM_CONGESTION: Kind = Kind::Forward(Setting::SystemCongestion);
pub(crate) const WITHOUT_SPINNING: Kind = Kind::Forward(Setting::WithoutSpinning);
pub(crate) const EVERY_BYTE: Kind = Kind::Forward(Setting::EveryByte);
pub(crate) const HAPROXIES: [Kind; 2] =
    [Kind::Haproxy(Tuning::Shipped), Kind::Haproxy(Tuning::Tuned)];
pub(crate) const NGINXES: [Kind; 2] = [Kind::Nginx(Tuning::Shipped), Kind::Nginx(Tuning::Tuned)];

/// A program and its arguments.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
}

/// From where to where one process relays, and where it may put files.
pub(crate) struct Leg {
    listen: SocketAddr,
    forward: SocketAddr,
    dir: PathBuf,
    /// Descriptors that it may have.
    files: u64,
}

/// One that runs, of as many hops as it was asked for.
pub(crate) struct Relay {
    pub(crate) kind: Kind,
    /// Dropped, and so killed, before anything else ends.
    processes: Vec<Process>,
    /// Where a client connects to.
    entrance: SocketAddr,
    /// To which port nftables has to redirect, if it has to.
    redirect: Option<u16>,
}

/// One that does not run, and why.
pub(crate) struct Absent {
    pub(crate) kind: Kind,
    pub(crate) why: String,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Forward(Setting::Shipped) => "hoptrail relay",
            Self::Forward(Setting::OneThread) => "hoptrail relay, one thread",
            Self::Forward(Setting::SystemCongestion) => {
                "hoptrail relay, the system's congestion control"
            }
            Self::Forward(Setting::WithoutSpinning) => "hoptrail relay, without spinning",
            Self::Forward(Setting::EveryByte) => "hoptrail relay, searching every byte",
            Self::Provider => "hoptrail relay as provider, with records",
            Self::Haproxy(Tuning::Shipped) => "HAProxy as shipped",
            Self::Haproxy(Tuning::Tuned) => "HAProxy, forced splice, 1 MiB pipes",
            Self::Nginx(Tuning::Shipped) => "nginx stream as shipped",
            Self::Nginx(Tuning::Tuned) => "nginx stream, 256 KiB buffers",
            Self::Redsocks => "redsocks (nftables, SOCKS5)",
            Self::Mitmproxy => "mitmproxy",
        }
    }

    pub(crate) const fn is_ours(self) -> bool {
        matches!(self, Self::Forward(_) | Self::Provider)
    }

    /// Ours as a user has it: for the others of ours there is no goal, they show what a setting is worth.
    pub(crate) const fn is_judged(self) -> bool {
        matches!(self, FORWARD | EVERY_BYTE | Self::Provider)
    }

    pub(crate) const fn place(self) -> Place {
        if matches!(self, Self::Provider) { Place::Lab } else { Place::Plain }
    }

    /// The destination must shake hands with it first.
    pub(crate) const fn speaks_socks(self) -> bool {
        matches!(self, Self::Redsocks)
    }

    /// What to run; or, for the table, why it cannot be.
    fn program(self, leg: &Leg) -> std::result::Result<Program, String> {
        match self {
            Self::Forward(setting) => ours::forward(leg, setting),
            Self::Provider => ours::provider(leg),
            Self::Haproxy(tuning) => haproxy::program(leg, tuning),
            Self::Nginx(tuning) => nginx::program(leg, tuning),
            Self::Redsocks => redsocks::program(leg),
            Self::Mitmproxy => mitmproxy::program(leg),
        }
    }
}

impl Relay {
    /// Starts as many in a row, of which the last one goes to `destination`.
    pub(crate) fn start(
        lab: &mut Lab,
        kind: Kind,
        hops: usize,
        destination: SocketAddr,
    ) -> std::result::Result<Self, Absent> {
        let absent = |why: String| Absent { kind, why };
        let started = match kind {
            Kind::Provider => Self::providers(lab, hops, destination),
            _ => Self::row(lab, kind, hops, destination),
        };
        let (processes, entrance) = started.map_err(absent)?;
        let redirect = (kind == Kind::Redsocks).then_some(entrance.port());
        let entrance = match redirect {
            Some(_) => Target::Nftables.at(destination.port()),
            None => entrance,
        };
        Ok(Self { kind, processes, entrance, redirect })
    }

    /// From the last to the first, each forwarding to the one that runs already.
    fn row(
        lab: &mut Lab,
        kind: Kind,
        hops: usize,
        destination: SocketAddr,
    ) -> std::result::Result<(Vec<Process>, SocketAddr), String> {
        let (mut forward, mut processes) = (destination, Vec::new());
        for _ in 0..hops {
            let listen = local(lab.port());
            let home = lab.home(&format!("relay-{}", listen.port())).map_err(|e| e.to_string())?;
            processes.push(Self::hop(lab, kind, home, listen, forward)?);
            forward = listen;
        }
        Ok((processes, forward))
    }

    /// Those that the policy knows: where they go is the application's wish.
    fn providers(
        lab: &mut Lab,
        hops: usize,
        destination: SocketAddr,
    ) -> std::result::Result<(Vec<Process>, SocketAddr), String> {
        let (target, numbers) =
            if hops == 1 { (Target::OneHop, 0..1) } else { (Target::ThreeHops, 1..4) };
        let entrance = target.at(destination.port());
        let processes: std::result::Result<Vec<_>, _> = numbers
            .map(|number| {
                let listen = local(HOPS + number as u16);
                let home = lab.hops[number].clone();
                Self::hop(lab, Kind::Provider, home, listen, entrance)
            })
            .collect();
        Ok((processes?, entrance))
    }

    fn hop(
        lab: &Lab,
        kind: Kind,
        home: CgroupDir,
        listen: SocketAddr,
        forward: SocketAddr,
    ) -> std::result::Result<Process, String> {
        let dir =
            lab.scratch.sub(&format!("relay-{}", listen.port())).map_err(|e| e.to_string())?;
        let leg = Leg { listen, forward, dir, files: lab.files };
        let program = kind.program(&leg)?;
        Process::start(&program, home, &lab.relay_cpus, &leg.dir.join("log"), listen.port())
    }

    /// Something that the generator does by way of this relay.
    ///
    /// # Errors
    /// Also when a process of the relay did nothing meanwhile: then it was not measured.
    pub(crate) fn visit<T>(
        &self,
        lab: &mut Lab,
        act: impl FnOnce(&mut Worker, SocketAddr) -> Result<T>,
    ) -> Result<T> {
        let before = self.each_cpu()?;
        let _rule = self.redirect.map(nft::Redirect::load).transpose()?;
        let done = match self.kind.place() {
            Place::Plain => act(lab.generator(Place::Plain)?, self.entrance)?,
            Place::Lab => lab.reading(|generator| act(generator, self.entrance))?,
        };
        let idle = self.each_cpu()?.iter().zip(&before).any(|(after, before)| after <= before);
        if idle {
            return Err(EngineError::new("a relay had nothing to do: the traffic went past it"));
        }
        Ok(done)
    }

    /// Time on CPUs so far, of all hops.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.each_cpu().map(|all| all.into_iter().sum())
    }

    fn each_cpu(&self) -> Result<Vec<Duration>> {
        self.processes.iter().map(|process| cost::cpu(&process.home)).collect()
    }

    /// Bytes of user space that are this relay's alone.
    pub(crate) fn memory(&self) -> Result<u64> {
        self.processes.iter().map(|process| cost::memory(&process.home)).sum()
    }
}
