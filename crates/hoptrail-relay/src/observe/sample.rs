//! A connection for tests.

use crate::inspect::{AppProtocol, Finding};
use crate::ledger::{Application, End, Ledger, Transport};
use crate::observe::log::Ended;
use crate::rules::RuleId;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes and name that the client chose are its own.
pub(crate) fn ledger(name: &str) -> Ledger {
    Ledger {
        transport: Transport::Tcp,
        opened_ns: 1_000_000_000,
        peer: "127.0.0.1:40000".parse().unwrap(),
        destination: "192.0.2.10:443".parse().unwrap(),
        application: Some(Arc::new(Application {
            pid: 4100,
            start_ns: 77,
            uid: 0,
            exe: Some("/usr/bin/curl".into()),
            name: "curl".into(),
        })),
        trail: Some(hoptrail::TrailId([1, 2])),
        hops: 2,
        finding: Some(Box::new(Finding {
            name: Some(name.into()),
            alpn: Some("h2,http/1.1".into()),
            ech: true,
            ..Finding::of(AppProtocol::Tls)
        })),
        watched: None,
        rule: Some(RuleId(3)),
        throttled: false,
        from_client: 517,
        from_upstream: 3_400_000,
    }
}

/// Without an engine, and before anything was looked at.
pub(crate) fn bare() -> Ledger {
    Ledger {
        transport: Transport::Udp,
        application: None,
        trail: None,
        hops: 0,
        finding: None,
        rule: None,
        ..ledger("")
    }
}

/// Its end, 1.5 s later, on 2026-01-01.
pub(crate) fn ended(ledger: Ledger, end: End) -> Ended {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_767_225_600_000_001);
    Ended { ledger, end, time, lasted: Duration::from_millis(1500) }
}
