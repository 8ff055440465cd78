//! The words for what a ledger says, as they stand in log lines and labels. They are never renamed.

use crate::inspect::AppProtocol;
use crate::ledger::{Cause, End, Ledger, Step, Transport};
use std::net::SocketAddr;

pub(super) const TRANSPORTS: [&str; 2] = ["tcp", "udp"];

pub(super) const ENDS: [&str; 9] = [
    "closed",
    "client-reset",
    "upstream-reset",
    "idle",
    "denied",
    "unreachable",
    "direct",
    "drained",
    "failed",
];

pub(super) const VERDICTS: [&str; 3] = ["allowed", "denied", "throttled"];

pub(super) const STEPS: [&str; 5] = ["query", "open", "connect", "handshake", "copy"];

/// Its place in [`TRANSPORTS`].
pub(super) const fn transport(transport: Transport) -> usize {
    match transport {
        Transport::Tcp => 0,
        Transport::Udp => 1,
    }
}

/// Its place in [`ENDS`].
pub(super) const fn end(end: End) -> usize {
    match end {
        End::Closed => 0,
        End::ClientReset => 1,
        End::UpstreamReset => 2,
        End::Idle => 3,
        End::Denied => 4,
        End::Unreachable(_) => 5,
        End::Direct => 6,
        End::Drained => 7,
        End::Failed(_) => 8,
    }
}

/// What was recognised; unknown too where nothing was looked at.
pub(super) fn protocol(ledger: &Ledger) -> AppProtocol {
    ledger.finding.as_deref().map_or(AppProtocol::Unknown, |finding| finding.protocol)
}

/// The place in [`VERDICTS`] of what the rules said; nothing where they were not asked.
pub(super) const fn verdict(ledger: &Ledger, end: End) -> Option<usize> {
    match end {
        End::Denied => Some(1),
        End::Direct | End::Failed(Cause { step: Step::Query, .. }) => None,
        _ if ledger.throttled => Some(2),
        _ => Some(0),
    }
}

/// Its place in [`STEPS`].
pub(super) const fn step(step: Step) -> usize {
    match step {
        Step::Query => 0,
        Step::Open => 1,
        Step::Connect => 2,
        Step::Handshake => 3,
        Step::Copy => 4,
    }
}

/// What failed, where something did.
pub(super) const fn cause(end: End) -> Option<Cause> {
    match end {
        End::Unreachable(cause) | End::Failed(cause) => Some(cause),
        _ => None,
    }
}

/// Where it was dialled to; nothing where it could not be known.
pub(super) fn destination(ledger: &Ledger) -> Option<SocketAddr> {
    Some(ledger.destination).filter(|to| !to.ip().is_unspecified() || to.port() != 0)
}

/// The name that the client asked for.
pub(super) fn host(ledger: &Ledger) -> Option<&str> {
    ledger.finding.as_deref().and_then(|finding| finding.name.as_deref())
}

/// The system's words for an error number; nothing for 0.
pub(super) fn error(errno: i32) -> Option<String> {
    let text = (errno != 0).then(|| std::io::Error::from_raw_os_error(errno).to_string())?;
    Some(text.split(" (os error").next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::sample::bare;

    #[test]
    fn every_word_is_of_one_thing() {
        let cause = Cause { step: Step::Connect, errno: 111 };
        let ends = [
            (End::Closed, "closed"),
            (End::ClientReset, "client-reset"),
            (End::UpstreamReset, "upstream-reset"),
            (End::Idle, "idle"),
            (End::Denied, "denied"),
            (End::Unreachable(cause), "unreachable"),
            (End::Direct, "direct"),
            (End::Drained, "drained"),
            (End::Failed(cause), "failed"),
        ];
        assert!(ends.iter().all(|(e, word)| ENDS[end(*e)] == *word));
        let steps = [Step::Query, Step::Open, Step::Connect, Step::Handshake, Step::Copy];
        assert!(steps.iter().enumerate().all(|(i, s)| step(*s) == i));
        assert!(AppProtocol::ALL.iter().enumerate().all(|(i, p)| *p as usize == i));
        let throttled = Ledger { throttled: true, ..bare() };
        let verdicts = [
            (bare(), End::Closed, Some("allowed")),
            (bare(), End::Denied, Some("denied")),
            (throttled.clone(), End::Unreachable(cause), Some("throttled")),
            // By a pattern, later.
            (throttled, End::Denied, Some("denied")),
            (bare(), End::Direct, None),
        ];
        for (ledger, end, word) in verdicts {
            assert_eq!(verdict(&ledger, end).map(|verdict| VERDICTS[verdict]), word);
        }
        assert_eq!(error(111).as_deref(), Some("Connection refused"));
        assert_eq!(error(0), None);
    }
}
