//! Rules as they are written, what is said of wrong ones, and decisions against a naive reading of the same rules.

use super::*;
use crate::config::{File, Source};
use proptest::prelude::*;
use std::sync::Arc;

pub(super) fn rules(text: &str) -> Result<Arc<Rules>, String> {
    let file = File::parse(Source::new(Path::new("t.toml"), text.to_owned()));
    file.map(|file| file.rules()).map_err(|error| error.to_string())
}

fn wrong(text: &str) -> String {
    rules(text).unwrap_err()
}

fn to(destination: &str) -> Question<'static> {
    let destination = destination.parse().unwrap();
    Question { transport: Transport::Tcp, destination, application: None }
}

fn named(protocol: AppProtocol, name: &str) -> Finding {
    Finding { name: Some(name.into()), ..Finding::of(protocol) }
}

/// Number of the rule that decides for a TLS connection to that name; 0 for the default.
fn decider(rules: &Rules, name: &str) -> u16 {
    let finding =
        if name.is_empty() { Finding::of(AppProtocol::Tls) } else { named(AppProtocol::Tls, name) };
    rules.decide(&to("192.0.2.1:443"), &finding).rule.map_or(0, |rule| rule.0)
}

#[test]
fn everything_at_once() {
    let rules = rules(
        "default = \"deny\"\n[[rule]]\naction = \"throttle\"\nname = [\"A.example.\", \"*.b.example\"]\n\
         protocol = \"tls\"\ntransport = \"tcp\"\nremote = [\"192.0.2.0/24\", \"!192.0.2.9\"]\n\
         ports = [443, \"8000-8099\"]\nexe = \"/x/curl\"\nuser = [0, \"4242424\"]\nrate = \"1 MB/s\"\n",
    )
    .unwrap();
    let curl = Application {
        pid: 1,
        start_ns: 1,
        uid: 4_242_424,
        exe: Some("/x/curl".into()),
        name: "curl".into(),
    };
    let question = Question { application: Some(&curl), ..to("192.0.2.1:8099") };
    let a = named(AppProtocol::Tls, "a.example");
    let throttled = rules.decide(&question, &a);
    assert_eq!(throttled.verdict, Verdict::Throttle(Rate(1_000_000.try_into().unwrap())));
    assert_eq!(throttled.rule, Some(RuleId(1)));
    assert_eq!(rules.early(&question), Early::NeedsFinding);
    let denied = Decision { verdict: Verdict::Deny(With::Reset), rule: None };
    let other = Application { uid: 1, ..curl.clone() };
    let exe = Application { exe: None, ..curl.clone() };
    for question in [
        Question { application: None, ..question },
        Question { application: Some(&other), ..question },
        Question { application: Some(&exe), ..question },
        Question { transport: Transport::Udp, ..question },
        Question { destination: "192.0.2.9:443".parse().unwrap(), ..question },
        Question { destination: "192.0.2.1:8100".parse().unwrap(), ..question },
        Question { destination: "[2001:db8::1]:443".parse().unwrap(), ..question },
    ] {
        assert_eq!(rules.decide(&question, &a), denied, "{question:?}");
        assert_eq!(rules.early(&question), Early::Decided(denied), "{question:?}");
    }
    let mapped = Question { destination: "[::ffff:192.0.2.1]:443".parse().unwrap(), ..question };
    assert_eq!(rules.decide(&mapped, &a), throttled);
    assert_eq!(rules.decide(&question, &named(AppProtocol::Tls, "x.y.b.example")), throttled);
    for finding in [
        named(AppProtocol::Tls, "b.example"),
        named(AppProtocol::Tls, "a.example.org"),
        named(AppProtocol::Tls, "x.a.example"),
        named(AppProtocol::Tls, "xb.example"),
        named(AppProtocol::Http1, "a.example"),
        Finding::of(AppProtocol::Tls),
    ] {
        assert_eq!(rules.decide(&question, &finding), denied, "{finding:?}");
    }
}

#[test]
fn exclusions() {
    let rules = rules(
        "[[rule]]\naction = \"deny\"\nname = [\"*.example.com\", \"!good.example.com\"]\n\
         [[rule]]\naction = \"deny\"\nname = \"!*\"\n\
         [[rule]]\naction = \"deny\"\nname = [\"!*.org\", \"!a.net\"]\n",
    )
    .unwrap();
    for (name, rule) in [
        ("bad.example.com", 1),
        ("good.example.com", 3),
        ("", 2),
        ("example.com", 3),
        ("x.org", 0),
        ("a.net", 0),
        ("b.a.net", 3),
    ] {
        assert_eq!(decider(&rules, name), rule, "{name}");
    }
}

#[test]
fn what_is_decided_early() {
    let text = "[[rule]]\naction = \"allow\"\nremote = \"192.0.2.1\"\n\
                [[rule]]\naction = \"deny\"\nports = 25\ndeny-with = \"answer\"\n\
                [[rule]]\naction = \"deny\"\nports = 443\nname = \"*.example\"\n\
                [[rule]]\naction = \"deny\"\nports = [443, 80]\n";
    let rules = rules(text).unwrap();
    let early = |to_: &str| match rules.early(&to(to_)) {
        Early::Decided(decision) => decision.rule.map_or(0, |rule| rule.0.into()),
        Early::NeedsFinding => -1,
    };
    assert_eq!(early("192.0.2.1:443"), 1);
    assert_eq!(early("192.0.2.2:443"), -1);
    assert_eq!(early("192.0.2.2:80"), 4);
    assert_eq!(early("192.0.2.2:81"), 0);
    assert_eq!(early("192.0.2.2:25"), -1, "the answer depends on what it speaks");
    let datagrams = Question { transport: Transport::Udp, ..to("192.0.2.2:25") };
    assert!(matches!(rules.early(&datagrams), Early::Decided(_)), "no datagram is answered");
    assert!(rules.need_findings());
    assert!(!Rules::default().need_findings());
    let allowed = Decision { verdict: Verdict::Allow, rule: None };
    assert_eq!(Rules::default().early(&to("192.0.2.1:1")), Early::Decided(allowed));
}

#[test]
fn all_that_is_wrong_is_said_with_its_place() {
    let said = wrong(
        "default = \"drop\"\n[[rule]]\naction = \"allow\"\nname = [\"a.example\", \".b.example\"]\n\
         nmae = \"x\"\nports = \"http\"\n[[rule]]\nname = \"a.example\"\n[[rule]]\naction = \"throttle\"\n\
         [[rule]]\naction = \"deny\"\nrate = \"1 MB/s\"\n[[rule]]\naction = \"allow\"\ndeny-with = \"reset\"\n\
         [[rule]]\naction = [\"allow\"]\nremote = []\nuser = 1.5\nprotocol = \"http\"\n",
    );
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("t.toml")).collect();
    assert_eq!(
        lines,
        [
            "t.toml:1:11: \"default\": \"drop\" is not known; it is one of \"allow\", \"deny\"",
            "t.toml:4:22: \"name\": \".b.example\" begins with a dot; write \"b.example\" for the name itself, \"*.b.example\" for all below it",
            "t.toml:5:1: unknown key \"nmae\" of a rule; did you mean \"name\"?",
            "t.toml:6:9: \"ports\": \"http\" is no port or range of ports, such as \"80\" or \"8000-8099\"",
            "t.toml:7:1: this rule has no \"action\": write \"allow\", \"deny\" or \"throttle\"",
            "t.toml:9:1: action \"throttle\" needs a \"rate\", such as rate = \"10 MB/s\"",
            "t.toml:11:1: \"rate\" does not go with action \"deny\"; write action = \"throttle\", or leave \"rate\" out",
            "t.toml:14:1: \"deny-with\" does not go with action \"allow\"; write action = \"deny\", or leave \"deny-with\" out",
            "t.toml:18:11: \"action\": one value is taken, not a list",
            "t.toml:19:10: \"remote\" is an empty list; leave the key out to mean all",
            "t.toml:20:8: \"user\" takes a user name or number, or a list of them; this is of type float",
            "t.toml:21:12: \"protocol\": \"http\" is not known; it is one of \"tls\", \"http1\", \"http2\", \"ssh\", \"dns\", \"quic\", \"smtp\", \"ftp\", \"pop3\", \"imap\", \"mysql\", \"unknown\"",
        ]
    );
    assert!(wrong("[rule]\naction = \"allow\"").contains("write [[rule]]"));
    assert!(wrong("rule = [1]").contains("write [[rule]]"));
    assert!(wrong("rules = 1").contains("did you mean \"rule\"?"));
    let many = "[[rule]]\naction = \"allow\"\n".repeat(set::MOST_RULES + 1);
    assert!(wrong(&many).contains("4097 rules; at most 4096"));
}

#[test]
fn as_many_rules_as_possible() {
    let text: String = (0..set::MOST_RULES)
        .map(|n| {
            format!("[[rule]]\naction = \"deny\"\nname = [\"n{n}.example\", \"*.w{n}.example\"]\n")
        })
        .collect();
    let rules = rules(&text).unwrap();
    assert_eq!(decider(&rules, "n0.example"), 1);
    assert_eq!(decider(&rules, "n4095.example"), 4096);
    assert_eq!(decider(&rules, "a.b.w64.example"), 65);
    assert_eq!(decider(&rules, "w64.example"), 0);
}

#[test]
fn answers_are_well_formed() {
    let of = |protocol| deny::answer(&Finding::of(protocol));
    let http = std::str::from_utf8(of(AppProtocol::Http1).unwrap()).unwrap();
    let (head, body) = http.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{http}");
    let head_only =
        Finding { method: Some(crate::inspect::Method::Head), ..Finding::of(AppProtocol::Http1) };
    assert_eq!(deny::answer(&head_only).unwrap(), &http.as_bytes()[..head.len() + 4]);
    let mut frames = of(AppProtocol::Http2).unwrap();
    let mut kinds = Vec::new();
    while let [_, _, len, kind, _, _, _, _, _, rest @ ..] = frames {
        kinds.push(*kind);
        frames = &rest[usize::from(*len)..];
    }
    assert_eq!((kinds.as_slice(), frames), (&[4, 7][..], &[][..]));
    assert_eq!(of(AppProtocol::Ssh), None);
    assert_eq!(of(AppProtocol::Unknown), None);
}

/// Each condition of each rule, one after another.
fn naive(rules: &[(Draft, Verdict)], default: Verdict, q: &Question<'_>, f: &Finding) -> Decision {
    let holds = |rule: &Draft| {
        let app = q.application;
        let ip = q.destination.ip().to_canonical();
        let inside = |p: &Prefix| {
            Prefix::of(ip, p.bits).is_some_and(|own| own == *p && p.first.is_ipv4() == ip.is_ipv4())
        };
        let fits = |key: &str| match (f.name.as_deref(), key) {
            (None, _) => false,
            (Some(_), "") => true,
            (Some(name), key) if key.starts_with('.') => name.ends_with(key),
            (Some(name), key) => name == key,
        };
        let any_or_none = |meant: usize, found: bool| meant == 0 || found;
        rule.transport.is_none_or(|transport| transport == q.transport)
            && any_or_none(rule.protocols.len(), rule.protocols.contains(&f.protocol))
            && any_or_none(
                rule.ports.len(),
                rule.ports.iter().any(|p| p.contains(&q.destination.port())),
            )
            && any_or_none(rule.users.len(), app.is_some_and(|app| rule.users.contains(&app.uid)))
            && any_or_none(
                rule.exes.len(),
                app.is_some_and(|app| app.exe.as_ref().is_some_and(|exe| rule.exes.contains(exe))),
            )
            && any_or_none(rule.prefixes(false).count(), rule.prefixes(false).any(|p| inside(&p)))
            && !rule.prefixes(true).any(|p| inside(&p))
            && any_or_none(rule.names(false).count(), rule.names(false).any(|key| fits(&key)))
            && !rule.names(true).any(|key| fits(&key))
    };
    let rule = rules.iter().position(|(rule, _)| holds(rule));
    Decision {
        verdict: rule.map_or(default, |at| rules[at].1),
        rule: rule.map(|at| RuleId(at as u16 + 1)),
    }
}

fn drafts() -> impl Strategy<Value = Vec<(Draft, Verdict)>> {
    let texts =
        |all: &'static [&'static str]| prop::collection::vec(prop::sample::select(all), 0..3);
    let names = texts(&[
        "a.example",
        "*.a.example",
        "*.example",
        "b.org",
        "*",
        "!a.example",
        "!*.a.example",
        "!*",
    ]);
    let remotes = texts(&[
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "!10.1.2.0/24",
        "2001:db8::/32",
        "!2001:db8::1",
    ]);
    let ports = prop::collection::vec(
        prop::sample::select(vec![80..=80, 0..=443, 443..=65535, 65535..=65535, 81..=100]),
        0..3,
    );
    let protocols = prop::collection::vec(
        prop::sample::select(vec![AppProtocol::Tls, AppProtocol::Dns, AppProtocol::Unknown]),
        0..2,
    );
    let transport = prop::option::of(prop::sample::select(vec![Transport::Tcp, Transport::Udp]));
    let who = (prop::collection::vec(0u32..3, 0..2), texts(&["/a", "/b"]));
    let verdict = prop::sample::select(vec![
        Verdict::Allow,
        Verdict::Deny(With::Reset),
        Verdict::Deny(With::Answer),
    ]);
    let one = (names, remotes, ports, protocols, transport, who, verdict).prop_map(
        |(names, remotes, ports, protocols, transport, (users, exes), verdict)| {
            let draft = Draft {
                names: names.into_iter().map(|text| values::name(text).unwrap()).collect(),
                remotes: remotes.into_iter().map(|text| values::remote(text).unwrap()).collect(),
                exes: exes.into_iter().map(PathBuf::from).collect(),
                ports,
                protocols,
                transport,
                users,
                ..Draft::default()
            };
            (draft, verdict)
        },
    );
    prop::collection::vec(one, 0..140)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn decisions_are_those_of_a_naive_reading(
        drafts in drafts(),
        name in prop::option::of(prop::sample::select(vec!["a.example", "x.a.example", "example", "b.org", "c.b.org", "xa.example"])),
        protocol in prop::sample::select(vec![AppProtocol::Tls, AppProtocol::Dns, AppProtocol::Unknown, AppProtocol::Ssh]),
        destination in prop::sample::select(vec!["10.1.2.3:80", "10.1.9.9:443", "10.9.9.9:65535", "[2001:db8::1]:81", "[2001:db8::2]:0", "[::ffff:10.1.2.3]:444", "192.0.2.1:1"]),
        transport in prop::sample::select(vec![Transport::Tcp, Transport::Udp]),
        who in prop::option::of((0u32..4, prop::option::of(prop::sample::select(vec!["/a", "/b", "/c"])))),
    ) {
        let default = Verdict::Deny(With::Reset);
        let rules = Rules::compile(&drafts, default);
        let application = who.map(|(uid, exe)| Application { pid: 1, start_ns: 1, uid, exe: exe.map(Into::into), name: String::new() });
        let question = Question { transport, destination: destination.parse().unwrap(), application: application.as_ref() };
        let finding = Finding { name: name.map(Into::into), ..Finding::of(protocol) };
        let wanted = naive(&drafts, default, &question, &finding);
        prop_assert_eq!(rules.decide(&question, &finding), wanted);
        match rules.early(&question) {
            Early::Decided(early) => {
                prop_assert_eq!(early, wanted);
                prop_assert_eq!(rules.decide(&question, &Finding::unknown()), wanted);
            }
            // Only where some rule asks for a finding, or a denial is to be answered.
            Early::NeedsFinding => prop_assert!(rules.need_findings()),
        }
    }
}
