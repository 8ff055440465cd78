//! The usual scene: an application, one provider whose proxy the test plays by hand, a destination.

use hoptrail_core::Trail;
use hoptrail_core::abi::REDIRECT_RECORDS;
use hoptrail_core::compile::{Filter, Provider};
use hoptrail_core::image::Action;
use hoptrail_testkit::lab::{Actor, Fd, Lab, Origin, PORT, V4, listener};
use std::io;
use std::net::SocketAddr;

pub(crate) struct Scene {
    pub(crate) origin: Origin,
    pub(crate) app: Actor,
    pub(crate) acme: Actor,
    /// Acme's IPv4 listener.
    pub(crate) listener: Fd,
    pub(crate) lab: Lab,
}

/// A redirected connection that acme has accepted.
pub(crate) struct Redirected {
    /// The application's end.
    pub(crate) client: Fd,
    /// Acme's end.
    pub(crate) accepted: Fd,
}

impl Scene {
    /// Acme redirects everything.
    pub(crate) fn new() -> Self {
        Self::of(|lab| vec![lab.provider("acme", 200)])
    }

    pub(crate) fn of(providers: impl FnOnce(&Lab) -> Vec<Provider>) -> Self {
        Self::on(Lab::of(providers))
    }

    pub(crate) fn on(lab: Lab) -> Self {
        let (app, acme) = (lab.actor("app"), lab.actor("acme"));
        let listener = acme.listen(listener("acme", true), 64).unwrap();
        Self { origin: lab.origin((V4, PORT).into()), app, acme, listener, lab }
    }

    /// The application connects to the origin, and acme accepts.
    pub(crate) fn connect(&self) -> Redirected {
        self.connect_to(self.origin.at())
    }

    pub(crate) fn connect_to(&self, to: SocketAddr) -> Redirected {
        let client = self.app.dial(to).unwrap();
        let (accepted, peer) = self.acme.accept(self.listener).unwrap();
        assert_eq!(peer, self.app.local(client).unwrap());
        Redirected { client, accepted }
    }

    /// The bytes of a new redirected connection's records.
    pub(crate) fn blob(&self) -> Vec<u8> {
        self.acme.records(self.connect().accepted).unwrap()
    }
}

/// The policy of [`Lab::two`] with acme doing nothing but what `filters` say.
pub(crate) fn acme(lab: &Lab, filters: Vec<Filter>) -> Vec<Provider> {
    vec![Provider { filters, ..lab.provider("acme", 200) }]
}

pub(crate) fn loopback(action: Action) -> Filter {
    Filter { loopback: true, ..Filter::all(action) }
}

pub(crate) fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

/// Reads a blob.
pub(crate) fn trail(blob: &[u8]) -> Trail {
    Trail::parse(blob).unwrap()
}

/// Whether an error of a query means that there is nothing to give, as docs/abi.md lists them.
pub(crate) fn unsupported(errno: i32) -> bool {
    errno == libc::EOPNOTSUPP || errno == libc::ENOPROTOOPT
}

/// The records' option, for probes.
pub(crate) const RECORDS: i32 = REDIRECT_RECORDS;
