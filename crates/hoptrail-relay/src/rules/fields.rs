//! Every key of a rule, once: its name, what it takes, what it means, how it is read. The file, suggestions for unknown
//! keys and docs/relay-rules.md all come from this table.

use super::With;
use super::draft::{Action, Draft};
use super::values::{self, Parsed};
use crate::inspect::AppProtocol;
use crate::ledger::Transport;

/// One key of `[[rule]]`.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) takes: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the document"))]
    pub(crate) absent: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the document"))]
    pub(crate) doc: &'static str,
    /// Whether a list may be written.
    pub(crate) many: bool,
    /// Reads one value, or one of a list.
    pub(crate) read: fn(&mut Draft, &str) -> Parsed<()>,
}

pub(crate) const FIELDS: &[Field] = &[
    Field {
        name: "action",
        takes: "`\"allow\"`, `\"deny\"` or `\"throttle\"`",
        absent: "required",
        doc: "`allow`: the connection is relayed. `deny`: it is not. `throttle`: it is relayed, no faster than `rate`.",
        many: false,
        read: |rule, text| {
            let choices = [Action::Allow, Action::Deny, Action::Throttle].map(|a| (a.name(), a));
            rule.action = Some(values::choice(text, &choices)?);
            Ok(())
        },
    },
    Field {
        name: "name",
        takes: "a name, a pattern such as `\"*.example.com\"`, or a list of them",
        absent: "any, or none",
        doc: "The name that the client asks for. `\"example.com\"` is that name alone, `\"*.example.com\"` every name below it, `\"*\"` every name. `\"!ads.example.com\"` excludes; with exclusions alone, everything else, also what has no name.",
        many: true,
        read: |rule, text| {
            rule.names.push(values::name(text)?);
            Ok(())
        },
    },
    Field {
        name: "protocol",
        takes: "a protocol or a list of them: `\"tls\"`, `\"http1\"`, `\"http2\"`, `\"ssh\"`, `\"dns\"`, `\"quic\"`, `\"smtp\"`, `\"ftp\"`, `\"pop3\"`, `\"imap\"`, `\"mysql\"`, `\"unknown\"`",
        absent: "any",
        doc: "What the connection speaks, by its first bytes. `http2` is HTTP/2 without TLS.",
        many: true,
        read: |rule, text| {
            let choices = AppProtocol::ALL.map(|protocol| (protocol.name(), protocol));
            rule.protocols.push(values::choice(text, &choices)?);
            Ok(())
        },
    },
    Field {
        name: "transport",
        takes: "`\"tcp\"` or `\"udp\"`",
        absent: "both",
        doc: "TCP connections or UDP flows.",
        many: false,
        read: |rule, text| {
            let choices = [("tcp", Transport::Tcp), ("udp", Transport::Udp)];
            rule.transport = Some(values::choice(text, &choices)?);
            Ok(())
        },
    },
    Field {
        name: "remote",
        takes: "a prefix, an address, or a list of them",
        absent: "everywhere",
        doc: "The destination is in one of these; `\"!10.0.0.0/8\"` excludes. With exclusions alone, everywhere else. IPv4 prefixes also hold for IPv4-mapped IPv6 destinations.",
        many: true,
        read: |rule, text| {
            rule.remotes.push(values::remote(text)?);
            Ok(())
        },
    },
    Field {
        name: "ports",
        takes: "a port, a range such as `\"8000-8099\"`, or a list of them",
        absent: "all",
        doc: "The destination's port.",
        many: true,
        read: |rule, text| {
            rule.ports.push(values::ports(text)?);
            Ok(())
        },
    },
    Field {
        name: "exe",
        takes: "an absolute path or a list of them",
        absent: "any",
        doc: "The executable of the application that first asked, also behind other proxies. Without an engine nobody knows it, and the rule does not hold.",
        many: true,
        read: |rule, text| {
            rule.exes.extend(values::exe(text)?);
            Ok(())
        },
    },
    Field {
        name: "user",
        takes: "a user name or number, or a list of them",
        absent: "any",
        doc: "The user of the application that first asked. As with `exe`, an engine must be there.",
        many: true,
        read: |rule, text| {
            rule.users.push(values::user(text)?);
            Ok(())
        },
    },
    Field {
        name: "rate",
        takes: "bytes per second, such as `\"10 MB/s\"` or `\"512 KiB/s\"`",
        absent: "required by `throttle`",
        doc: "For `throttle`: as much passes in each direction of each connection. After a pause, a tenth of a second's worth may pass at once, but at least 4096 bytes.",
        many: false,
        read: |rule, text| {
            rule.rate = Some(values::rate(text)?);
            Ok(())
        },
    },
    Field {
        name: "deny-with",
        takes: "`\"reset\"` or `\"answer\"`",
        absent: "`\"reset\"`",
        doc: "For `deny`. `reset`: the connection is reset, and a UDP flow's datagrams are dropped. `answer`: the client's first bytes are waited for and answered in their protocol: HTTP/1 with status 403, TLS with the alert access_denied, HTTP/2 with GOAWAY; others are reset.",
        many: false,
        read: |rule, text| {
            let choices = [("reset", With::Reset), ("answer", With::Answer)];
            rule.deny_with = Some(values::choice(text, &choices)?);
            Ok(())
        },
    },
];
