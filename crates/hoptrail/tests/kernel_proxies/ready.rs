//! When a proxy is ready.

use hoptrail_core::{Endpoint, Protocol};
use hoptrail_engine::host::listen::{HERE, Listeners};
use hoptrail_testkit::lab::{Lab, eventually};
use std::net::SocketAddr;
use std::path::Path;

/// Waits until something listens there, without connecting to it.
pub(crate) fn listens(lab: &Lab, at: SocketAddr) {
    let read = || lab.inside(|| Listeners::read(Path::new(HERE)).unwrap());
    eventually("a proxy listens", || read().has(Protocol::Tcp, Endpoint::from(at)));
}
