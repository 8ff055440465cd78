//! Looking at the first bytes of real clients and servers, which tests/first-bytes/capture wrote down; then at every
//! prefix of them, at mutations of them, and at noise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail_relay::inspect::{self, AppProtocol, Finding, FlowLook, LIMIT, Look, Method};
use proptest::prelude::*;
use std::path::Path;

/// File, port, protocol, name, ALPN, ECH, method.
type Case = (
    &'static str,
    u16,
    AppProtocol,
    Option<&'static str>,
    Option<&'static str>,
    bool,
    Option<Method>,
);

use AppProtocol::{Dns, Http1, Http2, Ssh, Tls, Unknown};

const CLIENTS: &[Case] = &[
    ("tls-curl", 443, Tls, Some("www.example.com"), Some("h2,http/1.1"), false, None),
    ("tls-curl-address", 443, Tls, None, Some("h2,http/1.1"), false, None),
    ("tls-openssl", 5432, Tls, Some("db.example.net"), Some("imap,postgresql"), false, None),
    ("tls-openssl-1.2", 443, Tls, Some("old.example.net"), None, false, None),
    ("tls-python", 443, Tls, Some("py.example.org"), None, false, None),
    ("tls-git", 443, Tls, Some("git.example.org"), Some("h2,http/1.1"), false, None),
    ("tls-node", 443, Tls, Some("node.example.org"), Some("h2,http/1.1"), false, None),
    ("tls-chrome", 443, Tls, Some("chrome.example.com"), Some("h2,http/1.1"), true, None),
    ("tls-firefox", 443, Tls, Some("firefox.example.com"), Some("h2,http/1.1"), true, None),
    ("tls-safari", 443, Tls, Some("safari.example.com"), Some("h2,http/1.1"), false, None),
    ("http1-curl", 80, Http1, Some("www.example.com"), None, false, Some(Method::Get)),
    ("http1-curl-address", 80, Http1, None, None, false, Some(Method::Get)),
    ("http1-curl-head", 8080, Http1, Some("www.example.com"), None, false, Some(Method::Head)),
    ("http1-curl-post", 80, Http1, Some("www.example.com"), None, false, Some(Method::Post)),
    ("http1-curl-1.0", 80, Http1, Some("www.example.com"), None, false, Some(Method::Get)),
    ("http1-curl-no-host", 80, Http1, None, None, false, Some(Method::Get)),
    ("http1-curl-absolute", 3128, Http1, Some("www.example.com"), None, false, Some(Method::Get)),
    (
        "http1-curl-connect",
        3128,
        Http1,
        Some("www.example.com"),
        None,
        false,
        Some(Method::Connect),
    ),
    ("http1-wget", 80, Http1, Some("wget.example.com"), None, false, Some(Method::Get)),
    ("http1-git", 80, Http1, Some("git.example.org"), None, false, Some(Method::Get)),
    ("http1-python", 80, Http1, Some("localhost"), None, false, Some(Method::Other)),
    ("http1-websocket-node", 80, Http1, Some("ws.example.com"), None, false, Some(Method::Get)),
    ("http2-curl", 80, Http2, None, None, false, None),
    ("http2-node", 80, Http2, None, None, false, None),
    ("ssh-openssh", 22, Ssh, None, None, false, None),
    ("ssh-asyncssh", 2222, Ssh, None, None, false, None),
    ("dns-dig-tcp", 53, Dns, Some("www.example.com"), None, false, None),
    ("dns-dig-axfr", 53, Dns, Some("example.com"), None, false, None),
    ("dns-dig-ixfr", 53, Dns, Some("example.com"), None, false, None),
    ("dns-dig-tcp", 5353, Unknown, None, None, false, None),
    ("unknown-redis-cli", 6379, Unknown, None, None, false, None),
    ("unknown-psql", 5432, Unknown, None, None, false, None),
];

const DATAGRAMS: &[Case] = &[
    ("dns-dig-udp", 53, Dns, Some("mail.example.com"), None, false, None),
    ("dns-dig-udp", 15353, Dns, Some("mail.example.com"), None, false, None),
    ("dns-dig-root", 53, Dns, None, None, false, None),
    ("dns-dnspython", 53, Dns, Some("py.example.org"), None, false, None),
    ("dns-dig-type65280", 53, Dns, Some("odd.example.com"), None, false, None),
];

/// How many datagrams it takes; all of them are needed.
const QUIC: &[(&str, usize, &str, &str, bool)] = &[
    ("quic-aioquic-1", 1, "one.example.com", "h3", false),
    ("quic-aioquic-2", 1, "two.example.com", "h3,hq-interop", false),
    ("quic-chrome", 2, "h3.example.com", "h3", true),
    ("quic-firefox", 2, "h3ff.example.com", "h3", true),
];

const SERVERS: &[(&str, AppProtocol)] = &[
    ("server-ssh-asyncssh", Ssh),
    ("server-smtp-aiosmtpd", AppProtocol::Smtp),
    ("server-ftp-pyftpdlib", AppProtocol::Ftp),
    ("server-pop3-twisted", AppProtocol::Pop3),
    ("server-imap-twisted", AppProtocol::Imap),
    ("server-mysql-mariadb", AppProtocol::Mysql),
];

fn bytes(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/first-bytes");
    std::fs::read(dir.join(format!("{name}.bin"))).unwrap()
}

/// A capture of datagrams has a length of two bytes before each.
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    let all = bytes(name);
    let mut rest = all.as_slice();
    let mut out = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (datagram, next) = after.split_at(u16::from_be_bytes(*len).into());
        out.push(datagram.to_vec());
        rest = next;
    }
    out
}

fn wanted(case: &Case) -> Finding {
    let (_, _, protocol, name, alpn, ech, method) = *case;
    Finding { protocol, name: name.map(Into::into), alpn: alpn.map(Into::into), ech, method }
}

/// Feeds one byte after another: `More` up to some byte, from there on always the same, also with bytes behind it.
fn found_once(whole: &[u8], look: impl Fn(&[u8]) -> Look, about: &str) -> Finding {
    let mut found = None;
    let longer = [whole, &[0; 64], &[b'\n'; 64]].concat();
    for len in 0..=longer.len() {
        match (look(&longer[..len]), &found) {
            (Look::More, None) => assert!(len < whole.len(), "{about}: nothing found"),
            (Look::Found(now), None) => found = Some(now),
            (now, Some(before)) => {
                assert_eq!(now, Look::Found(before.clone()), "{about}: at {len}")
            }
        }
    }
    found.unwrap()
}

#[test]
fn what_clients_send() {
    for case in CLIENTS {
        let whole = bytes(case.0);
        let found = found_once(&whole, |bytes| inspect::client(bytes, case.1), case.0);
        assert_eq!(found, wanted(case), "{}", case.0);
        assert_eq!(inspect::client(&whole, case.1), Look::Found(found), "{}", case.0);
    }
}

/// Of a part, the last look says less, but nothing wrong.
#[test]
fn what_clients_do_not_send_to_the_end() {
    for case in CLIENTS {
        let whole = bytes(case.0);
        for len in 0..=whole.len() {
            let last = inspect::last(&whole[..len], case.1);
            let wanted = wanted(case);
            assert!(
                last.protocol == wanted.protocol || last == Finding::unknown(),
                "{} {len}",
                case.0
            );
            // A name that is cut off behind a dot would be another's.
            assert!(last.name.is_none() || last.name == wanted.name, "{} {len} {last:?}", case.0);
            if let Look::Found(found) = inspect::client(&whole[..len], case.1) {
                assert_eq!(last, found, "{} {len}", case.0);
            }
        }
    }
}

#[test]
fn datagrams_of_dns() {
    for case in DATAGRAMS {
        let whole = bytes(case.0);
        assert_eq!(inspect::datagram(&whole, case.1), wanted(case), "{}", case.0);
        for len in 0..whole.len() {
            let part = inspect::datagram(&whole[..len], case.1);
            assert!(part == Finding::unknown() || part == wanted(case), "{} {len}", case.0);
        }
    }
}

#[test]
fn datagrams_of_quic() {
    for (name, count, server, alpn, ech) in QUIC {
        let all = datagrams(name);
        assert_eq!(all.len(), *count, "{name}");
        let mut flow = FlowLook::default();
        for datagram in &all[..count - 1] {
            assert_eq!(flow.datagram(datagram, 443), Look::More, "{name}");
            assert_eq!(inspect::datagram(datagram, 443), Finding::of(AppProtocol::Quic), "{name}");
        }
        let Look::Found(found) = flow.datagram(&all[count - 1], 443) else {
            panic!("{name}: nothing found")
        };
        assert_eq!(found.protocol, AppProtocol::Quic, "{name}");
        assert_eq!(found.name.as_deref(), Some(*server), "{name}");
        assert_eq!(found.alpn.as_deref(), Some(*alpn), "{name}");
        assert_eq!(found.ech, *ech, "{name}");
    }
}

#[test]
fn datagrams_of_quic_in_any_order_and_twice() {
    for (name, count, server, ..) in QUIC.iter().filter(|(_, count, ..)| *count > 1) {
        let mut all = datagrams(name);
        all.reverse();
        let mut flow = FlowLook::default();
        for datagram in &all[..count - 1] {
            assert_eq!(flow.datagram(datagram, 443), Look::More, "{name}");
            assert_eq!(flow.datagram(datagram, 443), Look::More, "{name}");
        }
        let Look::Found(found) = flow.datagram(&all[count - 1], 443) else {
            panic!("{name}: nothing found")
        };
        assert_eq!(found.name.as_deref(), Some(*server), "{name}");
    }
}

/// Each byte of an Initial is authenticated: with one changed it is not QUIC that anyone would answer. What pads the
/// datagram behind it is not.
#[test]
fn a_changed_initial_is_none() {
    let whole = datagrams("quic-aioquic-1").remove(0);
    let is_quic = |at: &usize| {
        let mut changed = whole.clone();
        changed[*at] ^= 0x10;
        inspect::datagram(&changed, 443).protocol == AppProtocol::Quic
    };
    let sealed = (0..whole.len()).take_while(|at| !is_quic(at)).count();
    assert!(sealed > 300, "{sealed}");
    assert!((sealed..whole.len()).all(|at| is_quic(&at)));
}

#[test]
fn what_servers_send() {
    for (name, protocol) in SERVERS {
        let found = found_once(&bytes(name), inspect::server, name);
        assert_eq!(found, Finding::of(*protocol), "{name}");
    }
}

/// A ClientHello may be cut into records anywhere, here into as many as there can be.
#[test]
fn a_hello_in_many_records() {
    let whole = bytes("tls-chrome");
    let wanted = inspect::client(&whole, 443);
    let message = &whole[5..];
    for size in [1, 2, 3, 5, 100, 1000, message.len() - 1] {
        let mut cut = Vec::new();
        for part in message.chunks(size) {
            cut.extend([22, 3, 1, (part.len() >> 8) as u8, part.len() as u8]);
            cut.extend(part);
        }
        assert!(cut.len() < LIMIT);
        assert_eq!(inspect::client(&cut, 443), wanted, "records of {size}");
        assert_eq!(
            Look::Found(found_once(&cut, |bytes| inspect::client(bytes, 443), "cut")),
            wanted
        );
    }
}

/// What no protocol begins with is let go at its first byte that says so: nothing shall wait without need.
#[test]
fn the_first_wrong_byte_decides() {
    for (right, wrong) in [
        ("", "x"),
        ("", "\0"),
        ("", "*"),
        ("G", "e"),
        ("GET", "\r"),
        ("GET /", "\r"),
        ("GET / ", "X"),
        ("GET / HT", "X"),
        ("GET / HTTP/", "2"),
        ("GET / HTTP/1.1", "0"),
        ("GET / HTTP/1.1\r", "x"),
        ("EHLO client.example", "\r"),
        ("ABCDEFGHIJKLMNOPQRSTUVWX", "Y"),
        ("PRI * HTTP/2.0\r\n\r\n", "X"),
        ("SSH-", "3"),
        ("SSH-2.", "1"),
        ("\x16", "\x02"),
        ("\x16\x03", "\x05"),
        ("\x16\x03\x01\x02\x00", "\x02"),
    ] {
        assert_eq!(inspect::client(right.as_bytes(), 9), Look::More, "{right:?}");
        let more = [right, wrong].concat();
        assert_eq!(
            inspect::client(more.as_bytes(), 9),
            Look::Found(Finding::unknown()),
            "{more:?}"
        );
    }
}

fn http(text: &str) -> (AppProtocol, Option<String>) {
    match inspect::client(text.as_bytes(), 80) {
        Look::Found(finding) => (finding.protocol, finding.name.map(Into::into)),
        Look::More => panic!("undecided: {text:?}"),
    }
}

#[test]
fn names_in_http() {
    let named = |name: &str| (Http1, Some(name.to_owned()));
    assert_eq!(http("GET / HTTP/1.1\nhost:a.example\n\n"), named("a.example"));
    assert_eq!(http("\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n"), named("a.example"));
    assert_eq!(
        http("GET http://u:p@B.example:8/x HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        named("b.example")
    );
    assert_eq!(http("GET http://b.example?x@c.example HTTP/1.1\r\n\r\n"), named("b.example"));
    assert_eq!(
        http("CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        named("b.example")
    );
    assert_eq!(http("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n"), named("a.example"));
    assert_eq!(
        http("FOO-BAR / HTTP/1.0\r\nX: y\r\nHost: a.example.:80\r\n\r\n"),
        named("a.example")
    );
    for nameless in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\0.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
    ] {
        assert_eq!(http(nameless), (Http1, None), "{nameless:?}");
    }
}

#[test]
fn a_head_beyond_the_limit_is_judged_by_what_came() {
    let start = "GET / HTTP/1.1\r\nHost: a.example\r\nCookie: ";
    let long = format!("{start}{}", "c".repeat(LIMIT));
    assert_eq!(inspect::client(&long.as_bytes()[..LIMIT - 1], 80), Look::More);
    let Look::Found(found) = inspect::client(long.as_bytes(), 80) else {
        panic!("undecided at the limit")
    };
    assert_eq!((found.protocol, found.name.as_deref()), (Http1, Some("a.example")));
    // A hello that cannot fit is not waited for.
    let hello = [22, 3, 1, 0x40, 0, 1, 0, 0x40, 0];
    assert_eq!(inspect::client(&hello, 443), Look::Found(Finding::of(Tls)));
}

#[test]
fn greetings() {
    for (text, protocol) in [
        ("220 mail.example.com ESMTP Postfix\r\n", AppProtocol::Smtp),
        ("220-mail.example.com\r\n220-No spam\r\n220 smtp ready\r\n", AppProtocol::Smtp),
        ("220-Welcome\r\n220 (vsFTPd 3.0.5)\r\n", AppProtocol::Ftp),
        ("220 mail.example.com ready\r\n", Unknown),
        ("220 mail.example.com\r\nSMTP", Unknown),
        ("221 SMTP\r\n", Unknown),
        ("+OK Dovecot ready.\r\n", AppProtocol::Pop3),
        ("+OK\r\n", AppProtocol::Pop3),
        ("-ERR\r\n", Unknown),
        ("* OK [CAPABILITY IMAP4rev1] ready.\r\n", AppProtocol::Imap),
        ("* PREAUTH IMAP4rev1\r\n", AppProtocol::Imap),
        ("* BYE\r\n", Unknown),
        ("SSH-2.0-OpenSSH_9.2p1\r\n", Ssh),
        ("\x4a\0\0\0\x0a8.0.36\0", AppProtocol::Mysql),
        ("\x4a\0\0\x01\x0a8.0.36\0", Unknown),
        ("\x4a\0\0\0\x0a\0", Unknown),
        ("HTTP/1.1 200 OK\r\n", Unknown),
    ] {
        assert_eq!(
            found_once(text.as_bytes(), inspect::server, text),
            Finding::of(protocol),
            "{text:?}"
        );
    }
}

/// A real first flight, or noise that begins like one.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<&str> = CLIENTS.iter().chain(DATAGRAMS).map(|case| case.0).collect();
    let names = [
        names,
        QUIC.iter().map(|case| case.0).collect(),
        SERVERS.iter().map(|case| case.0).collect(),
    ]
    .concat();
    let real = prop::sample::select(names).prop_map(|name| match datagrams_or_bytes(name) {
        bytes if bytes.is_empty() => vec![0],
        bytes => bytes,
    });
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let mutated = (real, changes, any::<prop::sample::Index>(), 0..3u8).prop_map(
        |(mut bytes, changes, cut, how)| {
            for (at, to) in changes {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let cut = cut.index(bytes.len());
            match how {
                0 => bytes.truncate(cut),
                1 => drop(bytes.drain(..cut)),
                _ => {}
            }
            bytes
        },
    );
    prop_oneof![4 => mutated, 1 => prop::collection::vec(any::<u8>(), 0..2000)]
}

fn datagrams_or_bytes(name: &str) -> Vec<u8> {
    if name.starts_with("quic") { datagrams(name).remove(0) } else { bytes(name) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Nothing panics, and what was found for a part is what is found for more.
    #[test]
    fn a_finding_stays(bytes in anything(), more in prop::collection::vec(any::<u8>(), 0..80), port in prop::sample::select(vec![53u16, 443])) {
        let longer = [bytes.as_slice(), more.as_slice()].concat();
        if let Look::Found(found) = inspect::client(&bytes, port) {
            prop_assert_eq!(inspect::client(&longer, port), Look::Found(found.clone()));
            prop_assert_eq!(inspect::last(&bytes, port), found);
        }
        if let Look::Found(found) = inspect::server(&bytes) {
            prop_assert_eq!(inspect::server(&longer), Look::Found(found.clone()));
            prop_assert_eq!(inspect::server_last(&bytes), found);
        }
        let _ = inspect::last(&bytes, port);
        let _ = inspect::server_last(&bytes);
        let mut flow = FlowLook::default();
        for _ in 0..3 {
            let _ = flow.datagram(&bytes, port);
        }
    }
}
