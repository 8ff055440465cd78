//! Where an accepted connection comes from and where it is to go.

use crate::clock;
use crate::config::Config;
use crate::ledger::{Application, Cause, End, Ledger, Step, Transport};
use hoptrail::Redirect;
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

/// The applications whose connections a worker has, each kept once.
#[derive(Default)]
pub(crate) struct Applications(HashMap<(u32, u64, u64), Arc<Application>>);

impl Origin {
    /// Asks the kernel. Connections that were not redirected are forwarded where the configuration
    /// says so, else refused.
    pub(crate) fn of(
        client: &OwnedFd,
        peer: SocketAddr,
        config: &Config,
        applications: &mut Applications,
    ) -> Result<Self, (Ledger, End)> {
        let nowhere = SocketAddr::from(([0; 4], 0));
        match (Redirect::of(client), config.forward) {
            (Ok(Some(redirect)), _) => Ok(Self::redirected(peer, redirect, applications)),
            (_, Some(to)) => Ok(Self { ledger: blank(peer, to), redirect: None }),
            (Ok(None), None) => Err((blank(peer, nowhere), End::Direct)),
            (Err(error), None) => {
                let cause = Cause::of_library(Step::Query, &error);
                Err((blank(peer, nowhere), End::Failed(cause)))
            }
        }
    }

    fn redirected(peer: SocketAddr, redirect: Redirect, applications: &mut Applications) -> Self {
        let mut ledger = blank(peer, redirect.destination());
        if let Some(context) = redirect.context() {
            ledger.application = Some(applications.of(context));
            ledger.hops = context.hop();
        }
        ledger.trail = redirect.records().trail().ok().map(|trail| trail.id());
        Self { ledger, redirect: Some(redirect) }
    }
}

fn blank(peer: SocketAddr, destination: SocketAddr) -> Ledger {
    Ledger {
        transport: Transport::Tcp,
        opened_ns: clock::now(),
        peer,
        destination,
        application: None,
        trail: None,
        hops: 0,
        finding: None,
        rule: None,
        watched: None,
        from_client: 0,
        from_upstream: 0,
    }
}

impl Applications {
    fn of(&mut self, context: &hoptrail::Context) -> Arc<Application> {
        let process = context.application();
        let key = (process.pid, process.start_ns, process.exe.ino);
        if let Some(known) = self.0.get(&key) {
            return Arc::clone(known);
        }
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, application| Arc::strong_count(application) > 1);
        }
        let application = Arc::new(Application {
            pid: process.pid,
            start_ns: process.start_ns,
            uid: process.uid,
            exe: context.exe_path().map(Into::into),
            name: process.name,
        });
        self.0.insert(key, Arc::clone(&application));
        application
    }
}
