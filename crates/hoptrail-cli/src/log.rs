//! What a daemon says, one line each: for people, or as JSON for a collector. Standard error, which is the journal
//! under systemd.

use crate::output::{self, ACTED, BAD, DIM, GOOD, NAME, paint};
use crate::trail::{Names, user};
use hoptrail_engine::event::{Event, EventKind};
use serde_json::{Value, json};
use std::time::SystemTime;

/// `--log-format`.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Info,
    /// Worth a look.
    Warning,
    /// Something did not work.
    Error,
}

impl LogFormat {
    /// Says a sentence.
    pub(crate) fn say(self, level: Level, message: impl std::fmt::Display) {
        match (self, level) {
            (Self::Json, level) => line(&json!({
                "time_unix_us": unix_us(SystemTime::now()),
                "level": level.name(),
                "message": message.to_string(),
            })),
            (Self::Text, Level::Info) => output::stderr(&format!("hoptrail: {message}\n")),
            (Self::Text, Level::Warning) => output::warning(message),
            (Self::Text, Level::Error) => output::error(message),
        }
    }

    /// Tells of a leg.
    pub(crate) fn event(self, event: &Event, names: &Names) {
        match self {
            Self::Text => output::stderr(&(text(event, names) + "\n")),
            Self::Json => line(&value(event, names)),
        }
    }
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

fn line(value: &Value) {
    output::stderr(&format!("{value}\n"));
}

fn text(event: &Event, names: &Names) -> String {
    let who = format!("{}[{}]", maker(event), event.by.pid);
    let trail = paint(DIM, trail_id(event));
    let by = || format!("{}, filter {}", names.of(event.handle), event.filter + 1);
    let from = format!("{} ({}) → {}", paint(NAME, who), user(event.by.uid), event.asked);
    match event.kind {
        EventKind::Redirected => {
            format!("{} {from} by {} to {} {trail}", paint(ACTED, "redirected"), by(), event.to)
        }
        EventKind::Reached => {
            let how = event.provenance.name();
            format!(
                "{} {from} after {} hops, {how} {trail}",
                paint(GOOD, "reached"),
                event.trail.hops().len()
            )
        }
        EventKind::Refused => {
            let by = if event.handle == 0 { String::new() } else { format!(" ({})", by()) };
            format!("{} {from}: {}{by} {trail}", paint(BAD, "refused"), event.reason.text())
        }
    }
}

fn value(event: &Event, names: &Names) -> Value {
    let kind = match event.kind {
        EventKind::Redirected => "redirected",
        EventKind::Reached => "reached",
        EventKind::Refused => "refused",
    };
    let origin = &event.trail.header;
    json!({
        "time_unix_us": unix_us(event.time),
        "event": kind,
        "trail": trail_id(event),
        "protocol": event.protocol.name(),
        "by": { "pid": event.by.pid, "uid": event.by.uid, "name": maker(event) },
        "asked": event.asked.to_string(),
        "to": event.to.to_string(),
        "provenance": event.provenance.name(),
        "reason": event.reason.id(),
        "provider": (event.handle != 0).then(|| names.of(event.handle)),
        "filter": (event.handle != 0).then_some(event.filter + 1),
        "hops": event.trail.hops().len(),
        "generation": event.generation,
        "application": {
            "pid": origin.pid, "uid": origin.uid, "name": origin.name(), "exe": event.exe_path,
        },
        "destination": origin.destination().to_string(),
    })
}

fn maker(event: &Event) -> String {
    let end = event.by.name.iter().position(|&b| b == 0).unwrap_or(event.by.name.len());
    String::from_utf8_lossy(&event.by.name[..end]).into_owned()
}

fn trail_id(event: &Event) -> String {
    let [a, b] = event.trail.header.id;
    format!("{a:016x}{b:016x}")
}

fn unix_us(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoptrail_core::reason::Reason;
    use hoptrail_core::records::{Exe, Provenance};
    use hoptrail_core::{Protocol, Trail};
    use hoptrail_engine::event::Connector;

    #[test]
    fn a_refusal_says_who_wanted_what_and_why_not() {
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"curl");
        let to: std::net::SocketAddr = "192.0.2.10:80".parse().unwrap();
        let event = Event {
            kind: EventKind::Refused,
            time: SystemTime::UNIX_EPOCH,
            protocol: Protocol::Tcp,
            by: Connector { pid: 4100, uid: 0, exe: Exe::default(), name },
            asked: to.into(),
            to: to.into(),
            provenance: Provenance::Fresh,
            reason: Reason::FilterBlock,
            handle: 0xab,
            filter: 2,
            generation: 1,
            trail: Trail::default(),
            exe_path: None,
        };
        let said = anstream::adapter::strip_str(&text(&event, &Names::default())).to_string();
        assert_eq!(
            said,
            "refused curl[4100] (root) → 192.0.2.10:80: a block filter matches (00000000000000ab, filter 3) \
             00000000000000000000000000000000"
        );
        let json = value(&event, &Names::default());
        assert_eq!(
            (json["event"].as_str(), json["reason"].as_str()),
            (Some("refused"), Some("filter-block"))
        );
        assert_eq!(json["filter"], 3);
    }
}
