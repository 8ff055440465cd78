//! Who is behind a flow: its ledger, its records, and whom it counts against.

use crate::ledger::{Application, Ledger, Transport};
use hoptrail::{Trail, UdpRedirect};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Whose flows compete with each other first: one process', or without an engine one address'.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Owner {
    Process { pid: u32, start_ns: u64 },
    Address(IpAddr),
}

/// Of a flow, before its first datagram was looked at.
pub(super) struct Origin {
    pub(super) ledger: Ledger,
    pub(super) owner: Owner,
    pub(super) redirect: Option<UdpRedirect>,
}

impl Origin {
    /// Of a redirected flow.
    pub(super) fn of(redirect: UdpRedirect, now_ns: u64) -> Self {
        let trail = redirect.records().trail().ok();
        let application = trail.as_ref().map(|trail| Arc::new(application(trail, &redirect)));
        let mut origin = Self::plain(redirect.peer(), redirect.destination(), now_ns);
        if let Some(Application { pid, start_ns, .. }) = application.as_deref() {
            origin.owner = Owner::Process { pid: *pid, start_ns: *start_ns };
        }
        origin.ledger.application = application;
        origin.ledger.trail = trail.as_ref().map(Trail::id);
        origin.ledger.hops = trail.map_or(0, |trail| trail.hops().len() as u8);
        origin.redirect = Some(redirect);
        origin
    }

    /// Of one about which there is no engine to ask.
    pub(super) fn plain(peer: SocketAddr, destination: SocketAddr, now_ns: u64) -> Self {
        let ledger = Ledger::new(Transport::Udp, now_ns, peer, destination);
        Self { ledger, owner: Owner::Address(peer.ip()), redirect: None }
    }
}

fn application(trail: &Trail, redirect: &UdpRedirect) -> Application {
    let process = trail.application();
    Application {
        pid: process.pid,
        start_ns: process.start_ns,
        uid: process.uid,
        exe: redirect.context().and_then(|context| context.exe_path()).map(Into::into),
        name: process.name,
    }
}
