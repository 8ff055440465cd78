//! Where an accepted connection comes from and where it is to go.

use crate::clock;
use crate::config::{Config, ProxyProtocol};
use crate::ledger::{Application, Cause, End, Ledger, Step, Transport};
use crate::upstream::prelude::{self, Story};
use hoptrail::{Context, Process, Redirect, Trail};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Applications that are remembered before those without connections are forgotten.
const REMEMBERED: usize = 1024;

/// An accepted connection with its way on.
pub(crate) struct Origin {
    pub(crate) ledger: Ledger,
    /// Nothing for one that is forwarded.
    pub(crate) redirect: Option<Redirect>,
}

/// An accepted connection that goes nowhere, and why.
pub(crate) struct Refused {
    pub(crate) ledger: Ledger,
    pub(crate) end: End,
}

/// The applications whose connections a worker has, each kept once.
#[derive(Default)]
pub(crate) struct Applications(HashMap<Key, Arc<Application>>);

/// Process and start, user, executable.
type Key = (u32, u64, u32, u32, u64);

impl Origin {
    /// Asks the kernel. Connections that were not redirected are forwarded where the configuration
    /// says so, else refused.
    pub(crate) fn of(
        client: &OwnedFd,
        peer: SocketAddr,
        config: &Config,
        applications: &mut Applications,
    ) -> Result<Self, Box<Refused>> {
        let nowhere = SocketAddr::from(([0; 4], 0));
        match (Self::redirected(client, peer, applications), config.forward) {
            (Ok(Some(origin)), _) => Ok(origin),
            (_, Some(to)) => Ok(Self { ledger: blank(peer, to), redirect: None }),
            (Ok(None), None) => Err(Refused::new(blank(peer, nowhere), End::Direct)),
            (Err(error), None) => {
                let cause = Cause::of_library(Step::Query, &error);
                Err(Refused::new(blank(peer, nowhere), End::Failed(cause)))
            }
        }
    }

    /// What a destination that speaks the PROXY protocol is told first. Without a trail the accepted
    /// socket's peer is all that is known of the application.
    pub(crate) fn prelude(&self, version: ProxyProtocol) -> Box<[u8]> {
        let Ledger { peer, destination, .. } = self.ledger;
        let trail = self.redirect.as_ref().and_then(|redirect| redirect.records().trail().ok());
        let source = trail.as_ref().map_or(peer, Trail::local);
        let exe = self.ledger.application.as_ref().and_then(|who| who.exe.as_deref());
        let bytes = match version {
            ProxyProtocol::V1 => prelude::v1(source, destination),
            ProxyProtocol::V2 => {
                let story = trail.as_ref().map(|trail| Story { trail, exe });
                prelude::v2(source, destination, story.as_ref())
            }
        };
        bytes.into()
    }

    /// Nothing when it was not redirected.
    fn redirected(
        client: &OwnedFd,
        peer: SocketAddr,
        applications: &mut Applications,
    ) -> hoptrail::Result<Option<Self>> {
        let Some(records) = hoptrail::records(client)? else { return Ok(None) };
        let trail = records.trail().ok();
        let (redirect, application) = match trail.as_ref().and_then(|it| applications.told_by(it)) {
            Some((asked, known)) => (Redirect::with_destination(records, asked), Some(known)),
            None => {
                let Some(redirect) = Redirect::of(client)? else { return Ok(None) };
                let learnt = redirect.context().map(|context| applications.learn(context));
                (redirect, learnt)
            }
        };
        let hops = trail.as_ref().map(|trail| trail.hops().len() as u8);
        let hops = hops.or(redirect.context().map(Context::hop));
        let ledger = Ledger {
            application,
            trail: trail.map(|trail| trail.id()),
            hops: hops.unwrap_or_default(),
            ..blank(peer, redirect.destination())
        };
        Ok(Some(Self { ledger, redirect: Some(redirect) }))
    }
}

fn blank(peer: SocketAddr, destination: SocketAddr) -> Ledger {
    Ledger::new(Transport::Tcp, clock::now(), peer, destination)
}

impl Refused {
    pub(crate) fn new(ledger: Ledger, end: End) -> Box<Self> {
        Box::new(Self { ledger, end })
    }
}

impl Applications {
    /// What the last redirect had asked for and who asked first. The records of an application that is
    /// known tell all that the context would, which is then not asked for.
    fn told_by(&self, trail: &Trail) -> Option<(SocketAddr, Arc<Application>)> {
        Some((trail.hops().next_back()?.asked, self.known(&trail.application())?))
    }

    fn known(&self, process: &Process) -> Option<Arc<Application>> {
        self.0.get(&key(process)).map(Arc::clone)
    }

    fn learn(&mut self, context: &Context) -> Arc<Application> {
        let process = context.application();
        if let Some(known) = self.known(&process) {
            return known;
        }
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, application| Arc::strong_count(application) > 1);
        }
        let application = Arc::new(Application {
            pid: process.pid,
            start_ns: process.start_ns,
            uid: process.uid,
            exe: context.exe_path().map(Into::into),
            name: process.name.clone(),
        });
        self.0.insert(key(&process), Arc::clone(&application));
        application
    }
}

/// What rules may ask of a process, which may change its user and its executable while it lives.
const fn key(process: &Process) -> Key {
    (process.pid, process.start_ns, process.uid, process.exe.dev, process.exe.ino)
}
