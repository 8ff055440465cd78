//! A JSON object on a line. Its keys are defined once, here; docs/relay.md is checked against them.

use super::Ended;
use super::writer::Users;
use crate::inspect::{AppProtocol, Finding};
use crate::ledger::Application;
use crate::observe::words;
use serde_json::{Value, json};

/// One key.
struct Key {
    name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "the document is written from it"))]
    doc: &'static str,
    value: fn(&Ended, &mut Users) -> Value,
}

const KEYS: &[Key] = &[
    Key {
        name: "time",
        doc: "when it ended: RFC 3339, UTC, microseconds",
        value: |e, _| humantime::format_rfc3339_micros(e.time).to_string().into(),
    },
    Key {
        name: "transport",
        doc: "`tcp` or `udp`",
        value: |e, _| words::TRANSPORTS[words::transport(e.ledger.transport)].into(),
    },
    Key {
        name: "application",
        doc: "the process that asked first: `pid`, `start_ns` (nanoseconds since boot), `uid`, `user`, `name` (of its main thread), `exe` (path); `null` without an engine",
        value: |e, users| {
            e.ledger.application.as_deref().map_or(Value::Null, |a| application(a, users))
        },
    },
    Key {
        name: "peer",
        doc: "the accepted socket's peer: the application, or the proxy of the hop before",
        value: |e, _| e.ledger.peer.to_string().into(),
    },
    Key {
        name: "destination",
        doc: "where it was dialled to: what the redirected connect asked for; `null` when that could not be known",
        value: |e, _| words::destination(&e.ledger).map(|to| to.to_string()).into(),
    },
    Key {
        name: "trail",
        doc: "the trail's id, 32 hexadecimal digits, as in [trail-json.md](trail-json.md); `null` without an engine",
        value: |e, _| e.ledger.trail.map(|trail| trail.to_string()).into(),
    },
    Key {
        name: "hops",
        doc: "how many hops it had made, this relay's own included; 0 without an engine",
        value: |e, _| e.ledger.hops.into(),
    },
    Key {
        name: "protocol",
        doc: "what was recognised in the first bytes: `tls`, `http1`, `http2`, `ssh`, `dns`, `quic`, `smtp`, `ftp`, `pop3`, `imap`, `mysql`; else `unknown`",
        value: |e, _| words::protocol(&e.ledger).name().into(),
    },
    Key {
        name: "name",
        doc: "the name that the client asked for: server name, host or question; `null` when it named none",
        value: |e, _| words::host(&e.ledger).into(),
    },
    Key {
        name: "alpn",
        doc: "TLS and QUIC: the protocols that the client offered, with commas between; else `null`",
        value: |e, _| finding(e).and_then(|finding| finding.alpn.as_deref()).into(),
    },
    Key {
        name: "ech",
        doc: "TLS and QUIC: whether the client sent an Encrypted Client Hello, so that `name` need not be the server's; else `null`",
        value: |e, _| finding(e).filter(|f| may_hide(f.protocol)).map(|f| f.ech).into(),
    },
    Key {
        name: "method",
        doc: "HTTP: the first request's method; else `null`",
        value: |e, _| finding(e).and_then(|finding| finding.method).map(|m| m.name()).into(),
    },
    Key {
        name: "verdict",
        doc: "`allowed`, `denied` or `throttled`; `null` where the rules were not asked, because there was nowhere to dial",
        value: |e, _| {
            words::verdict(&e.ledger, e.end).map(|verdict| words::VERDICTS[verdict]).into()
        },
    },
    Key {
        name: "rule",
        doc: "number of the rule that decided, from 1 in the order of the file; `null` when none did",
        value: |e, _| e.ledger.rule.map(|rule| rule.0).into(),
    },
    Key {
        name: "watched",
        doc: "number of the `watch` pattern that was seen first, from 1 in the order of the file; `null` when none was",
        value: |e, _| e.ledger.watched.into(),
    },
    Key {
        name: "from_client_bytes",
        doc: "bytes that the client sent and the upstream was given",
        value: |e, _| e.ledger.from_client.into(),
    },
    Key {
        name: "from_upstream_bytes",
        doc: "bytes that the upstream sent and the client was given",
        value: |e, _| e.ledger.from_upstream.into(),
    },
    Key {
        name: "duration_ns",
        doc: "nanoseconds from the accept to the end",
        value: |e, _| u64::try_from(e.lasted.as_nanos()).unwrap_or(u64::MAX).into(),
    },
    Key {
        name: "end",
        doc: "how it ended: see below",
        value: |e, _| words::ENDS[words::end(e.end)].into(),
    },
    Key {
        name: "step",
        doc: "of `unreachable` and `failed`: which step did, `query` (records and context), `open`, `connect`, `handshake` (with the upstream proxy) or `copy`; else `null`",
        value: |e, _| words::cause(e.end).map(|cause| words::STEPS[words::step(cause.step)]).into(),
    },
    Key {
        name: "errno",
        doc: "the system's error number, where there was one; else `null`",
        value: |e, _| words::cause(e.end).map(|c| c.errno).filter(|errno| *errno != 0).into(),
    },
    Key {
        name: "error",
        doc: "the same in words",
        value: |e, _| words::cause(e.end).and_then(|cause| words::error(cause.errno)).into(),
    },
];

/// The line of a connection that has ended, without a line end.
pub(super) fn line(ended: &Ended, users: &mut Users) -> String {
    let pair = |key: &Key| format!("\"{}\":{}", key.name, (key.value)(ended, users));
    let pairs: Vec<String> = KEYS.iter().map(pair).collect();
    format!("{{{}}}", pairs.join(","))
}

/// The line that says how many others are missing.
pub(super) fn lost(time: std::time::SystemTime, count: u64) -> String {
    let time = humantime::format_rfc3339_micros(time).to_string();
    json!({ "time": time, "lines_lost": count }).to_string()
}

fn finding(ended: &Ended) -> Option<&Finding> {
    ended.ledger.finding.as_deref()
}

fn may_hide(protocol: AppProtocol) -> bool {
    matches!(protocol, AppProtocol::Tls | AppProtocol::Quic)
}

fn application(application: &Application, users: &mut Users) -> Value {
    json!({
        "pid": application.pid,
        "start_ns": application.start_ns,
        "uid": application.uid,
        "user": users.name(application.uid),
        "name": application.name,
        "exe": application.exe.as_ref().map(|exe| exe.to_string_lossy()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reference;
    use crate::ledger::{Cause, End, Ledger, Step};
    use crate::observe::sample::{bare, ended, ledger};

    fn parsed(ended: &Ended) -> Value {
        serde_json::from_str(&line(ended, &mut Users::new(|_| Some("root".into())))).unwrap()
    }

    #[test]
    fn a_line_has_every_key_and_reads_back() {
        assert_eq!(
            parsed(&ended(ledger("a\"\n.example"), End::Closed)),
            json!({
                "time": "2026-01-01T00:00:00.000001Z",
                "transport": "tcp",
                "application": {
                    "pid": 4100, "start_ns": 77, "uid": 0, "user": "root", "name": "curl", "exe": "/usr/bin/curl",
                },
                "peer": "127.0.0.1:40000",
                "destination": "192.0.2.10:443",
                "trail": "00000000000000010000000000000002",
                "hops": 2,
                "protocol": "tls",
                "name": "a\"\n.example",
                "alpn": "h2,http/1.1",
                "ech": true,
                "method": null,
                "verdict": "allowed",
                "rule": 3,
                "watched": null,
                "from_client_bytes": 517,
                "from_upstream_bytes": 3_400_000,
                "duration_ns": 1_500_000_000_u64,
                "end": "closed",
                "step": null,
                "errno": null,
                "error": null,
            })
        );
        let cause = Cause { step: Step::Handshake, errno: 0 };
        let throttled = Ledger { throttled: true, ..bare() };
        assert_eq!(parsed(&ended(throttled, End::Closed))["verdict"], "throttled");
        let said = parsed(&ended(bare(), End::Failed(cause)));
        assert_eq!((&said["application"], &said["trail"]), (&Value::Null, &Value::Null));
        assert_eq!((&said["protocol"], &said["name"]), (&json!("unknown"), &Value::Null));
        assert_eq!((&said["ech"], &said["alpn"]), (&Value::Null, &Value::Null));
        assert_eq!((&said["step"], &said["errno"]), (&json!("handshake"), &Value::Null));
        assert_eq!(said.as_object().unwrap().len(), KEYS.len());
    }

    #[test]
    fn the_reference_has_every_key() {
        let rows: String =
            KEYS.iter().map(|key| format!("| `{}` | {} |\n", key.name, key.doc)).collect();
        reference::check("json", &format!("| key | is |\n|---|---|\n{rows}"));
    }
}
