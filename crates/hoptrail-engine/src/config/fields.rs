//! Every key of the configuration, once: its name, what it takes, what it means, how it is read.
//! Parsing, suggestions for unknown keys and docs/configuration.md all come from these tables.

use super::reader::{Reader, Value};
use super::values;
use super::{Filter, Members, OnUnavailable, Provider};
use hoptrail_core::Protocol;
use hoptrail_core::context::MAX_PROVIDER_BYTES;
use hoptrail_core::image::Action;
use uuid::Uuid;

/// Whether a key must be there, and what its absence means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    Required,
    /// May be left out; the text says what then holds.
    Optional(&'static str),
}

/// One key.
pub(super) struct Field<T> {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) need: Need,
    pub(super) doc: &'static str,
    pub(super) read: fn(&mut T, &mut Reader<'_>, &Value<'_>),
}

/// One kind of table.
pub(super) struct Section<T: 'static> {
    pub(super) title: &'static str,
    pub(super) fields: &'static [Field<T>],
}

pub(super) const PROVIDER: Section<Provider> = Section {
    title: "[provider.NAME]",
    fields: &[
        Field {
            name: "rank",
            kind: "an integer",
            need: Need::Required,
            doc: "Providers of higher rank are asked first. Two providers cannot have the same rank.",
            read: |p, r, v| {
                if let Some(rank) = r.integer(v) {
                    p.rank.value = rank;
                    p.rank.place = r.place(v.span());
                }
            },
        },
        Field {
            name: "listen",
            kind: "up to one IPv4 and one IPv6 address with port",
            need: Need::Optional("allowed only when no filter redirects"),
            doc: "Where the provider's proxy listens. IPv4 destinations are sent to the IPv4 address, IPv6 destinations to the IPv6 address; a family without a listener counts as unavailable.",
            read: read_listen,
        },
        Field {
            name: "on-unavailable",
            kind: "`\"block\"` or `\"bypass\"`",
            need: Need::Optional("`\"block\"`"),
            doc: "What happens to a connection that would be redirected while nothing listens there: it is refused, or this provider lets it pass.",
            read: |p, r, v| {
                let choices = [("block", OnUnavailable::Block), ("bypass", OnUnavailable::Bypass)];
                p.on_unavailable = r.choice(v, &choices).unwrap_or_default();
            },
        },
        Field {
            name: "command",
            kind: "a list of words, the program first",
            need: Need::Optional("`members` says who the proxy is"),
            doc: "The proxy's command line: hoptrail starts it, restarts it, and takes it and its children as the provider's members. The program is an absolute path, or a bare name that is searched in PATH.",
            read: read_command,
        },
        Field {
            name: "members",
            kind: "a table",
            need: Need::Optional("`command` says who the proxy is"),
            doc: "Instead of `command`: who may act as this provider's proxy. A process that fits any of the entries is a member.",
            read: |p, r, v| {
                p.has_members = true;
                if let Some(table) = r.table(v) {
                    r.section(&MEMBERS, table, v.span(), &mut p.members);
                    if table.is_empty() {
                        r.problem(
                            v.span(),
                            "\"members\" names nobody; give it cgroup, exe or user",
                        );
                    }
                }
            },
        },
        Field {
            name: "context",
            kind: "a string of up to 256 bytes",
            need: Need::Optional("nothing is added"),
            doc: "Bytes that are added to the redirect context of every connection which this provider redirects; only its own proxy reads them.",
            read: |p, r, v| {
                let text = r.text(v).unwrap_or_default();
                if text.len() > MAX_PROVIDER_BYTES {
                    let message = format!(
                        "\"context\" has {} bytes; at most {MAX_PROVIDER_BYTES} are possible",
                        text.len()
                    );
                    r.problem(v.span(), message);
                }
                p.context = text.as_bytes().to_vec();
            },
        },
        Field {
            name: "guid",
            kind: "a UUID as text",
            need: Need::Optional("made from the name, always the same for the same name"),
            doc: "The provider's stable identity, from which its redirect handle comes. Set it to keep the identity when the provider is renamed.",
            read: read_guid,
        },
        Field {
            name: "filter",
            kind: "tables, each written `[[provider.NAME.filter]]`",
            need: Need::Optional("the provider does nothing"),
            doc: "The filters in the order in which they are asked. Inside a provider the first one that matches decides; when none matches, the next provider is asked.",
            read: read_filters,
        },
    ],
};

pub(super) const MEMBERS: Section<Members> = Section {
    title: "members",
    fields: &[
        Field {
            name: "cgroup",
            kind: "a cgroup or a list of them",
            need: Need::Optional("none"),
            doc: "Processes in these cgroups and everything below them. The path is that of `/proc/PID/cgroup`.",
            read: |m, r, v| m.cgroups = r.texts(v, values::cgroup),
        },
        Field {
            name: "exe",
            kind: "an absolute path or a list of them",
            need: Need::Optional("none"),
            doc: "Processes that run these executables.",
            read: |m, r, v| m.exes = r.texts(v, values::exe),
        },
        Field {
            name: "user",
            kind: "a user name or number, or a list of them",
            need: Need::Optional("none"),
            doc: "Processes of these users.",
            read: |m, r, v| m.users = r.texts_or_integers(v, values::user, values::uid),
        },
    ],
};

pub(super) const FILTER: Section<Filter> = Section {
    title: "[[provider.NAME.filter]]",
    fields: &[
        Field {
            name: "action",
            kind: "`\"permit\"`, `\"block\"` or `\"redirect\"`",
            need: Need::Required,
            doc: "`permit`: this provider lets the connection pass, the next one is asked. `block`: the connection is refused, whatever the others say. `redirect`: it is sent to the provider's listener, unless the provider has already handled it.",
            read: |f, r, v| {
                let all = [Action::Permit, Action::Block, Action::Redirect];
                f.action = r.choice(v, &all.map(|a| (a.name(), a))).unwrap_or(Action::Permit);
            },
        },
        Field {
            name: "protocol",
            kind: "`\"tcp\"`, `\"udp\"` or a list of them",
            need: Need::Optional("both"),
            doc: "The transport protocol.",
            read: |f, r, v| {
                let choices = [Protocol::Tcp, Protocol::Udp].map(|p| (p.name(), p));
                let named: Vec<Protocol> =
                    r.list(v).into_iter().filter_map(|item| r.choice(item, &choices)).collect();
                f.tcp = named.contains(&Protocol::Tcp);
                f.udp = named.contains(&Protocol::Udp);
            },
        },
        Field {
            name: "remote",
            kind: "a prefix, an address, or a list of them",
            need: Need::Optional("everywhere"),
            doc: "The destination is in one of these; `\"!10.0.0.0/8\"` excludes. With exclusions alone, everywhere else. IPv4 prefixes also hold for IPv4-mapped IPv6 destinations.",
            read: |f, r, v| {
                for remote in r.texts(v, values::remote) {
                    let list =
                        if remote.value.excludes { &mut f.remote_not } else { &mut f.remote };
                    list.push(remote.value.prefix);
                }
            },
        },
        Field {
            name: "ports",
            kind: "a port, a range such as `\"8000-8099\"`, or a list of them",
            need: Need::Optional("all"),
            doc: "The destination's port.",
            read: |f, r, v| {
                let number = |n: i64| values::ports(&n.to_string());
                let ports = r.texts_or_integers(v, values::ports, number);
                f.ports = ports.into_iter().map(|port| port.value).collect();
            },
        },
        Field {
            name: "exe",
            kind: "an absolute path or a list of them",
            need: Need::Optional("any"),
            doc: "The connecting process runs one of these executables.",
            read: |f, r, v| f.exes = Some(r.texts(v, values::exe)),
        },
        Field {
            name: "user",
            kind: "a user name or number, or a list of them",
            need: Need::Optional("any"),
            doc: "The connecting process belongs to one of these users.",
            read: |f, r, v| f.users = Some(r.texts_or_integers(v, values::user, values::uid)),
        },
        Field {
            name: "cgroup",
            kind: "a cgroup or a list of them",
            need: Need::Optional("any"),
            doc: "The connecting process is in one of these cgroups or below it.",
            read: |f, r, v| f.cgroups = Some(r.texts(v, values::cgroup)),
        },
        Field {
            name: "original-exe",
            kind: "an absolute path or a list of them",
            need: Need::Optional("any"),
            doc: "As `exe`, for the process that first made the connection: also on the legs that proxies make for it.",
            read: |f, r, v| f.original_exes = Some(r.texts(v, values::exe)),
        },
        Field {
            name: "original-user",
            kind: "a user name or number, or a list of them",
            need: Need::Optional("any"),
            doc: "As `user`, for the process that first made the connection.",
            read: |f, r, v| {
                f.original_users = Some(r.texts_or_integers(v, values::user, values::uid));
            },
        },
        Field {
            name: "loopback",
            kind: "`true` or `false`",
            need: Need::Optional("`false`"),
            doc: "Whether loopback destinations (127.0.0.0/8, ::1, and the unspecified address, to which Linux connects as if it were loopback) match as well.",
            read: |f, r, v| f.loopback = r.boolean(v).unwrap_or_default(),
        },
    ],
};

/// The titles of the sections which have a key of that name.
pub(super) fn titles_with(key: &str) -> impl Iterator<Item = &'static str> {
    let has = [
        (PROVIDER.title, PROVIDER.fields.iter().any(|f| f.name == key)),
        (FILTER.title, FILTER.fields.iter().any(|f| f.name == key)),
    ];
    has.into_iter().filter(|(_, has)| *has).map(|(title, _)| title)
}

fn read_listen(provider: &mut Provider, reader: &mut Reader<'_>, value: &Value<'_>) {
    for item in reader.list(value) {
        let Some(text) = reader.text(item) else { continue };
        let Some(address) = reader.parsed(item, values::listener(text)) else { continue };
        let (slot, family) = if address.value.is_ipv4() {
            (&mut provider.listen_v4, "IPv4")
        } else {
            (&mut provider.listen_v6, "IPv6")
        };
        if slot.is_some() {
            let message = format!(
                "a second {family} listener; a provider has at most one of each family, so use two providers"
            );
            reader.problem(item.span(), message);
        }
        *slot = Some(address.value);
    }
}

fn read_command(provider: &mut Provider, reader: &mut Reader<'_>, value: &Value<'_>) {
    let mut command = Vec::new();
    if let Some(line) = value.get_ref().as_str() {
        let message = format!(
            "\"command\" is a list of words, not a line for a shell: {:?}",
            line.split_whitespace().collect::<Vec<_>>()
        );
        reader.problem(value.span(), message);
    } else {
        for item in reader.list(value) {
            let Some(word) = reader.text(item) else { continue };
            if command.is_empty() {
                reader.parsed(item, values::program(word));
            }
            if word.contains('\0') {
                reader.problem(item.span(), "a command's word cannot contain a NUL character");
            }
            command.push(word.to_owned());
        }
    }
    provider.command = Some(command);
}

fn read_guid(provider: &mut Provider, reader: &mut Reader<'_>, value: &Value<'_>) {
    let Some(text) = reader.text(value) else { return };
    match Uuid::parse_str(text) {
        // A handle of zero means "no provider" in events.
        Ok(guid) if guid.as_bytes()[..8] == [0; 8] => {
            reader.problem(value.span(), "the first half of a guid cannot be all zero");
        }
        Ok(guid) => provider.guid = guid,
        Err(error) => {
            let message = format!("\"{text}\" is no UUID: {error}");
            reader.problem(value.span(), message);
        }
    }
}

fn read_filters(provider: &mut Provider, reader: &mut Reader<'_>, value: &Value<'_>) {
    let Some(array) = value.get_ref().as_array() else {
        let message = format!("filters are a list: write [[provider.{}.filter]]", provider.name);
        reader.problem(value.span(), message);
        return;
    };
    for item in array {
        let Some(table) = reader.table(item) else { continue };
        let mut filter = Filter::new(reader.place(item.span()));
        reader.section(&FILTER, table, item.span(), &mut filter);
        provider.filters.push(filter);
    }
}
