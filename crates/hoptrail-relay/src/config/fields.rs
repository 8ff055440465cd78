//! Every setting, once: its name, what it takes, what it means, how it is read. The command line, the file,
//! suggestions for unknown keys and docs/relay.md all come from this table.

use super::values::{self, Parsed, choice, one_or};
use super::{Config, Congestion, Inspect, Live, LogFormat, ProxyProtocol, Spinning, Transports};
use crate::upstream::Url;
use crate::watch::OnMatch;

/// One setting.
#[derive(Debug)]
pub struct Field {
    /// Key in the file, and option on the command line.
    pub name: &'static str,
    /// Under which heading help shows it.
    pub group: Group,
    /// Placeholder of its value in help.
    pub value: &'static str,
    /// What it takes, for the document.
    pub takes: &'static str,
    /// What holds when it is left out: a value, or words where there is none.
    pub default: &'static str,
    /// What it means, as a sentence.
    pub doc: &'static str,
    /// How it is read.
    pub set: Set,
}

/// Headings of the help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// What comes in.
    Listening,
    /// What is looked at.
    Inspection,
    /// Where it goes.
    Upstream,
    /// How long things may take.
    Time,
    /// What is told.
    Telling,
}

/// Reads a setting's text into a configuration, or says what is wrong with it.
#[derive(Clone, Copy, Debug)]
pub enum Set {
    /// One value.
    One(fn(&mut Config, &str) -> Result<(), String>),
    /// A list that is not empty.
    Many(fn(&mut Config, &[&str]) -> Result<(), String>),
}

impl Group {
    /// As it is printed.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Listening => "Listening",
            Self::Inspection => "Inspection",
            Self::Upstream => "Upstream",
            Self::Time => "Time limits",
            Self::Telling => "What is told",
        }
    }
}

impl Field {
    /// The setting of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// Whether its value may hold a password, so that no message repeats it.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.name == "upstream"
    }

    /// The words that it takes, if it takes nothing else.
    #[must_use]
    pub fn words(&self) -> Vec<&'static str> {
        if !self.takes.starts_with('`') || self.takes.contains("URL") {
            return Vec::new();
        }
        self.takes.split('"').skip(1).step_by(2).collect()
    }

    /// Reads `texts`, of which there is at least one.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn read(&self, config: &mut Config, texts: &[&str]) -> Result<(), String> {
        match (self.set, texts) {
            (Set::One(set), [text]) => set(config, text),
            (Set::One(_), _) => Err("one value is taken, not a list".to_owned()),
            (Set::Many(_), []) => Err("the list is empty".to_owned()),
            (Set::Many(set), texts) => set(config, texts),
        }
    }
}

/// All of them, in the order of help and document.
pub const FIELDS: &[Field] = &[
    Field {
        name: "listen",
        group: Group::Listening,
        value: "ADDR",
        takes: "an address with port, or a list of them",
        default: "required",
        doc: "Where redirected connections arrive: the `listen` of the provider whose proxy this is.",
        set: Set::Many(|c, texts| {
            c.listen = texts.iter().map(|text| values::address(text)).collect::<Parsed<_>>()?;
            values::no_duplicates(&c.listen)
        }),
    },
    Field {
        name: "protocol",
        group: Group::Listening,
        value: "PROTO",
        takes: "`\"tcp\"`, `\"udp\"` or a list of them",
        default: "tcp, udp",
        doc: "Which transports it listens for, on each address.",
        set: Set::Many(read_transports),
    },
    Field {
        name: "forward",
        group: Group::Listening,
        value: "ADDR",
        takes: "an address with port",
        default: "they are reset",
        doc: "Where connections go that were made to the listener itself instead of being redirected to it. It makes the relay a plain forwarder, which needs no engine.",
        set: Set::One(|c, text| values::destination(text).map(|to| c.forward = Some(to))),
    },
    Field {
        name: "threads",
        group: Group::Listening,
        value: "N",
        takes: "a number from 1 to 1024, or `\"auto\"`",
        default: "auto",
        doc: "Worker threads. `auto`: one per processor, at most four. A connection goes to the one that has the least to do.",
        set: Set::One(|c, text| {
            one_or("auto", text, |text| values::count(text, 1024)).map(|n| c.threads = n)
        }),
    },
    Field {
        name: "spin",
        group: Group::Listening,
        value: "WHEN",
        takes: "`\"auto\"` or `\"never\"`",
        default: "auto",
        doc: "`auto`: where the last waits were short, a worker looks for more for up to 50 µs before it sleeps, other threads of the CPU first. Messages back and forth are then passed on without the cost of waking it, at the price of CPU time while they flow. A worker whose events come seldom does not.",
        set: Set::One(|c, text| {
            let both = [("auto", Spinning::Auto), ("never", Spinning::Never)];
            choice(text, &both).map(|spin| c.spin = spin)
        }),
    },
    Field {
        name: "congestion",
        group: Group::Listening,
        value: "WHICH",
        takes: "`\"auto\"` or `\"system\"`",
        default: "auto",
        doc: "`auto`: where the system's congestion control is bbr, connections on loopback are given reno instead: bbr spaces its packets in time, which helps nobody there and costs a download a third of its rate. All others keep the system's (`net.ipv4.tcp_congestion_control`). `system`: all keep it.",
        set: Set::One(|c, text| {
            let both = [("auto", Congestion::Auto), ("system", Congestion::System)];
            choice(text, &both).map(|which| c.congestion = which)
        }),
    },
    Field {
        name: "max-connections",
        group: Group::Listening,
        value: "N",
        takes: "a number from 1, or `\"auto\"`",
        default: "auto",
        doc: "The most connections and flows at a time; further ones wait in the listener's queue. `auto`: as many as the limit of open files allows.",
        set: Set::One(|c, text| {
            one_or("auto", text, |text| values::count(text, 1 << 30)).map(|n| c.max_connections = n)
        }),
    },
    Field {
        name: "udp-sessions",
        group: Group::Listening,
        value: "N",
        takes: "a number from 1 to 1048576",
        default: "8192",
        doc: "The most UDP flows at a time.",
        set: Set::One(|c, text| values::count(text, 1 << 20).map(|n| c.udp_sessions = n)),
    },
    Field {
        name: "inspect",
        group: Group::Inspection,
        value: "WHAT",
        takes: "`\"first\"`, `\"all\"` or `\"none\"`",
        default: "first",
        doc: "How much of each connection is looked at. `first`: the first bytes, for protocol and name; data then pass by the cheapest way. `all`: every byte is searched for the patterns of `watch`. `none`: nothing, except where a rule has to know protocol or name.",
        set: Set::One(|c, text| {
            let all = [("first", Inspect::First), ("all", Inspect::All), ("none", Inspect::None)];
            choice(text, &all).map(|inspect| c.inspect = inspect)
        }),
    },
    Field {
        name: "watch",
        group: Group::Inspection,
        value: "PATTERN",
        takes: "text, or `hex:` and hexadecimal digits, or a list of them",
        default: "nothing is searched for",
        doc: "Bytes for which everything that passes is searched, in both directions, with `inspect = \"all\"`: markers of documents, canary tokens, keys. Encrypted bytes are searched as they are.",
        set: Set::Many(|c, texts| {
            c.watch = texts.iter().map(|text| values::pattern(text)).collect::<Parsed<_>>()?;
            Ok(())
        }),
    },
    Field {
        name: "on-match",
        group: Group::Inspection,
        value: "WHAT",
        takes: "`\"note\"` or `\"deny\"`",
        default: "note",
        doc: "What happens when a pattern of `watch` is seen. `note`: the log says which. `deny`: the bytes with its end do not pass, and both sides are reset.",
        set: Set::One(|c, text| {
            choice(text, &[("note", OnMatch::Note), ("deny", OnMatch::Deny)])
                .map(|what| c.on_match = what)
        }),
    },
    Field {
        name: "patience",
        group: Group::Inspection,
        value: "TIME",
        takes: "a duration",
        default: "2s",
        doc: "How long a client's first bytes are waited for before it is decided without them. In protocols in which the server speaks first the client says nothing until then, so this is waited only when a rule names protocols or hosts.",
        set: Set::One(|c, text| values::duration(text).map(|time| c.patience = time)),
    },
    Field {
        name: "upstream",
        group: Group::Upstream,
        value: "URL",
        takes: "`\"direct\"`, or a URL: `socks5://`, `socks5h://` or `http://`, then `HOST:PORT`, or `USER:PASSWORD@HOST:PORT`",
        default: "direct",
        doc: "Another proxy through which all destinations are reached. With `socks5h` it is asked for names, where one was found, instead of addresses. A name of the proxy itself is looked up once, at the start. A password on the command line can be seen by every user of the machine: write it into the file.",
        set: Set::One(|c, text| {
            Url::parse(text).map_err(|wrong| wrong.to_string())?;
            c.upstream = (text != "direct").then(|| text.to_owned());
            Ok(())
        }),
    },
    Field {
        name: "proxy-protocol",
        group: Group::Upstream,
        value: "VERSION",
        takes: "`\"v1\"`, `\"v2\"` or `\"none\"`",
        default: "none",
        doc: "Sends a PROXY protocol header to the destination first, which must expect it; `v2` carries the trail.",
        set: Set::One(|c, text| {
            let all =
                [("v1", Some(ProxyProtocol::V1)), ("v2", Some(ProxyProtocol::V2)), ("none", None)];
            choice(text, &all).map(|version| c.proxy_protocol = version)
        }),
    },
    Field {
        name: "connect-timeout",
        group: Group::Time,
        value: "TIME",
        takes: "a duration",
        default: "30s",
        doc: "How long a connection attempt to the destination, or through the upstream proxy, may take. The client then sees a reset.",
        set: Set::One(|c, text| values::duration(text).map(|time| c.connect_timeout = time)),
    },
    Field {
        name: "idle",
        group: Group::Time,
        value: "TIME",
        takes: "a duration, or `\"never\"`",
        default: "never",
        doc: "After how long without a byte in either direction a TCP connection is reset on both sides. `never` is as without a relay: a direct connection may be silent for days.",
        set: Set::One(|c, text| one_or("never", text, values::duration).map(|time| c.idle = time)),
    },
    Field {
        name: "half-closed-idle",
        group: Group::Time,
        value: "TIME",
        takes: "a duration, or `\"never\"`",
        default: "1h",
        doc: "The same for a TCP connection of which one side has finished sending.",
        set: Set::One(|c, text| {
            one_or("never", text, values::duration).map(|time| c.half_closed_idle = time)
        }),
    },
    Field {
        name: "udp-idle",
        group: Group::Time,
        value: "TIME",
        takes: "a duration",
        default: "1m",
        doc: "After how long without a datagram in either direction a UDP flow is forgotten.",
        set: Set::One(|c, text| values::duration(text).map(|time| c.udp_idle = time)),
    },
    Field {
        name: "drain",
        group: Group::Time,
        value: "TIME",
        takes: "a duration; `\"0s\"` for none",
        default: "10s",
        doc: "How long open connections may go on after SIGTERM or SIGINT; what is left then is reset.",
        set: Set::One(|c, text| values::duration_or_zero(text).map(|time| c.drain = time)),
    },
    Field {
        name: "log",
        group: Group::Telling,
        value: "FORMAT",
        takes: "`\"text\"`, `\"json\"` or `\"none\"`",
        default: "text",
        doc: "What is written to standard output when a connection ends: one line, for people or as JSON.",
        set: Set::One(|c, text| {
            let all =
                [("text", LogFormat::Text), ("json", LogFormat::Json), ("none", LogFormat::None)];
            choice(text, &all).map(|format| c.log = format)
        }),
    },
    Field {
        name: "metrics",
        group: Group::Telling,
        value: "ADDR",
        takes: "an address with port",
        default: "nowhere",
        doc: "Serves metrics for Prometheus there, at `/metrics`, and `/healthz`. Anyone who reaches the address can read them.",
        set: Set::One(|c, text| values::address(text).map(|at| c.metrics = Some(at))),
    },
    Field {
        name: "live",
        group: Group::Telling,
        value: "WHEN",
        takes: "`\"auto\"` or `\"never\"`",
        default: "auto",
        doc: "`auto`: when standard error is a terminal, its last line shows connections and rates.",
        set: Set::One(|c, text| {
            choice(text, &[("auto", Live::Auto), ("never", Live::Never)]).map(|live| c.live = live)
        }),
    },
];

fn read_transports(config: &mut Config, texts: &[&str]) -> Parsed<()> {
    let mut transports = Transports { tcp: false, udp: false };
    for text in texts {
        match choice(text, &[("tcp", true), ("udp", false)])? {
            true => transports.tcp = true,
            false => transports.udp = true,
        }
    }
    config.transports = transports;
    Ok(())
}
