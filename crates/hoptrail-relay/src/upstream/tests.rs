//! Conversations with proxies, in one piece and in any other.

use super::{Handshake, HandshakeError, Login, Upstream, Via};
use proptest::prelude::*;
use std::net::SocketAddr;

const DESTINATION: &str = "192.0.2.10:443";
const LONGEST: usize = 16 * 1024;

/// What became of a conversation: what we said, what of the input was not the proxy's.
type Outcome = Result<(Vec<u8>, Vec<u8>), HandshakeError>;

fn via(login: bool, by_name: bool) -> Via {
    let login = login.then(|| Login { user: b"user".into(), password: b"pa:ss".into() });
    Via { at: "198.51.100.1:1080".parse().unwrap(), login, by_name }
}

fn socks5(login: bool) -> Upstream {
    Upstream::Socks5(via(login, false))
}

fn http(login: bool) -> Upstream {
    Upstream::Http(via(login, false))
}

fn begin(upstream: &Upstream, to: &str) -> Handshake {
    Handshake::new(upstream, to.parse().unwrap()).unwrap()
}

/// Everything that is to be said now, some bytes at a time.
fn say(handshake: &mut Handshake, said: &mut Vec<u8>) {
    while let [first, ..] = handshake.output() {
        said.push(*first);
        handshake.sent(1);
    }
}

fn talk(mut handshake: Handshake, pieces: &[&[u8]]) -> Outcome {
    let (mut said, mut rest, mut done) = (vec![], vec![], false);
    say(&mut handshake, &mut said);
    for piece in pieces {
        let progress = handshake.input(piece)?;
        assert!(done || progress.done || progress.consumed == piece.len());
        assert!(!done || progress.consumed == 0);
        done = progress.done;
        rest.extend(&piece[progress.consumed..]);
        say(&mut handshake, &mut said);
    }
    if done { Ok((said, rest)) } else { Err(HandshakeError::Closed) }
}

/// Whole, and cut at these places.
fn in_pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Conversations, each with what the proxy says of its own, and whether it agrees.
fn conversations() -> Vec<(Handshake, Vec<u8>, bool)> {
    let ok4 = b"\x05\0\0\x01\x7f\0\0\x01\x04\x38";
    let ok6 = [&b"\x05\0\0\x04"[..], &[0; 18]].concat();
    let named = b"\x05\0\0\x03\x04host\0\x50";
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(LONGEST - 30));
    let list: Vec<(Upstream, Vec<u8>, bool)> = vec![
        (socks5(false), [&b"\x05\0"[..], ok4].concat(), true),
        (socks5(false), [&b"\x05\0"[..], &ok6].concat(), true),
        (socks5(true), [&b"\x05\x02\x01\0"[..], named].concat(), true),
        (socks5(true), [&b"\x05\0"[..], ok4].concat(), true),
        (http(false), b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec(), true),
        (http(true), b"HTTP/1.0 204\nContent-Length: 5\n\n".to_vec(), true),
        (
            http(false),
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n".to_vec(),
            true,
        ),
        (http(false), long.into_bytes(), true),
        (socks5(false), b"\x05\xff".to_vec(), false),
        (socks5(false), b"\x05\x02".to_vec(), false),
        (socks5(true), b"\x05\xff".to_vec(), false),
        (socks5(true), b"\x05\x02\x01\x01".to_vec(), false),
        (socks5(false), b"\x05\0\x05\x05".to_vec(), false),
        (socks5(false), b"\x05\0\x05\0\0\x09".to_vec(), false),
        (socks5(false), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), false),
        (http(false), b"\x05\0".to_vec(), false),
        (http(false), b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n".to_vec(), false),
        (http(false), b"HTTP/1.1 101 Switching\r\n\r\n".to_vec(), false),
        (http(false), b"HTTP/1.1 abc\r\n\r\n".to_vec(), false),
    ];
    list.into_iter().map(|(up, says, agrees)| (begin(&up, DESTINATION), says, agrees)).collect()
}

proptest! {
    /// However the bytes arrive, the outcome is the same, and no byte of the destination's is taken.
    #[test]
    fn pieces_do_not_matter(
        which in 0..conversations().len(),
        behind in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let take = || conversations().swap_remove(which);
        let (handshake, says, agrees) = take();
        let bytes = [&says[..], &behind].concat();
        let whole = talk(handshake, &[&bytes]);
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        let cut = talk(take().0, &in_pieces(&bytes, &cuts));
        prop_assert_eq!(&cut, &whole);
        prop_assert_eq!(whole.is_ok(), agrees);
        if let Ok((_, rest)) = whole {
            prop_assert_eq!(rest, behind);
        }
    }

    /// Whatever a server sends, it ends in an agreement or an error within a bound.
    #[test]
    fn any_bytes_end(
        login: bool,
        http_proxy: bool,
        begin_well: bool,
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let upstream = if http_proxy { http(login) } else { socks5(login) };
        let first = if http_proxy { &b"HTTP/1.1 200 OK\r\n"[..] } else { b"\x05\0" };
        let mut handshake = begin(&upstream, DESTINATION);
        if begin_well {
            let _ = handshake.input(first);
        }
        let mut taken = 0;
        for piece in std::iter::repeat_n(&bytes[..], 400) {
            match handshake.input(piece) {
                Ok(progress) if progress.done => return Ok(()),
                Ok(progress) => taken += progress.consumed,
                Err(_) => return Ok(()),
            }
            prop_assert!(taken <= LONGEST, "{} bytes without an outcome", taken);
        }
    }
}

#[test]
fn socks5_says_what_rfc_1928_wants() {
    let answers: &[u8] = b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0";
    let said = |to| talk(begin(&socks5(true), to), &[answers]).unwrap().0;
    let login = b"\x05\x02\0\x02\x01\x04user\x05pa:ss";
    assert_eq!(said(DESTINATION), [&login[..], b"\x05\x01\0\x01\xc0\0\x02\x0a\x01\xbb"].concat());
    let v6 = [&login[..], b"\x05\x01\0\x04\x20\x01\x0d\xb8", &[0; 11], b"\x01\0\x50"].concat();
    assert_eq!(said("[2001:db8::1]:80"), v6);
    assert_eq!(said("[::ffff:192.0.2.10]:443"), said(DESTINATION));
}

#[test]
fn names_are_for_socks5h_alone() {
    let to: SocketAddr = DESTINATION.parse().unwrap();
    let said = |by_name, name| {
        let upstream = Upstream::Socks5(via(false, by_name));
        let handshake = Handshake::named(&upstream, to, name).unwrap();
        talk(handshake, &[b"\x05\0\x05\0\0\x01\0\0\0\0\0\0"]).unwrap().0[3..].to_vec()
    };
    assert_eq!(said(true, Some("example.org")), b"\x05\x01\0\x03\x0bexample.org\x01\xbb");
    let address = b"\x05\x01\0\x01\xc0\0\x02\x0a\x01\xbb";
    let endless = "x".repeat(256);
    for (by_name, name) in
        [(true, None), (false, Some("example.org")), (true, Some("")), (true, Some(&*endless))]
    {
        assert_eq!(said(by_name, name), address, "{by_name} {name:?}");
    }
}

#[test]
fn connect_says_what_rfc_9110_wants() {
    let said = |login, to| {
        let (said, _) = talk(begin(&http(login), to), &[b"HTTP/1.1 200 OK\r\n\r\n"]).unwrap();
        String::from_utf8(said).unwrap()
    };
    assert_eq!(
        said(false, DESTINATION),
        "CONNECT 192.0.2.10:443 HTTP/1.1\r\nHost: 192.0.2.10:443\r\n\r\n"
    );
    assert_eq!(
        said(true, "[fe80::1%3]:80"),
        "CONNECT [fe80::1]:80 HTTP/1.1\r\nHost: [fe80::1]:80\r\n\
         Proxy-Authorization: Basic dXNlcjpwYTpzcw==\r\n\r\n"
    );
}

#[test]
fn where_datagrams_go_is_what_the_server_says() {
    let bound = |reply: &[u8]| {
        let mut handshake = Handshake::associate(&socks5(false)).unwrap();
        assert!(handshake.input(&[b"\x05\0", reply].concat()).unwrap().done);
        handshake.bound()
    };
    assert_eq!(bound(b"\x05\0\0\x01\x7f\0\0\x01\x04\x38"), Some("127.0.0.1:1080".parse().unwrap()));
    assert_eq!(bound(b"\x05\0\0\x03\x01h\x04\x38"), None);
    assert!(Handshake::associate(&http(false)).is_none());
    assert!(Handshake::associate(&Upstream::Direct).is_none());
}

#[test]
fn endless_heads_are_cut_off() {
    for piece in [&b"X-Y: z\r\n"[..], b"x", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let mut handshake = begin(&http(false), DESTINATION);
        let start: &[u8] = if piece.len() > 20 { b"" } else { b"HTTP/1.1 200 OK\r\n" };
        let mut taken = handshake.input(start).unwrap().consumed;
        let error = loop {
            match handshake.input(piece) {
                Ok(progress) => taken += progress.consumed,
                Err(error) => break error,
            }
            assert!(taken <= LONGEST);
        };
        assert_eq!(error, HandshakeError::TooLong);
    }
    let fields = "X: y\r\n".repeat(101);
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    assert_eq!(
        talk(begin(&http(false), DESTINATION), &[head.as_bytes()]),
        Err(HandshakeError::TooLong)
    );
}

#[test]
fn a_refusal_is_told_in_words_and_as_an_errno() {
    let refused = |upstream: &Upstream, answer: &[u8]| {
        let error = talk(begin(upstream, DESTINATION), &[answer]).unwrap_err();
        (error.to_string(), error.errno())
    };
    for (upstream, answer, words, errno) in [
        (socks5(false), &b"\x05\xff"[..], "wants a login", libc::EACCES),
        (socks5(true), b"\x05\x02\x01\x01", "refuses the user or the password", libc::EACCES),
        (socks5(false), b"\x05\0\x05\x02", "not allowed by its rules", libc::EACCES),
        (socks5(false), b"\x05\0\x05\x03", "network unreachable", libc::ENETUNREACH),
        (socks5(false), b"\x05\0\x05\x05", "connection refused", libc::ECONNREFUSED),
        (socks5(false), b"HTTP/1.0", "does not talk SOCKS5", libc::EPROTO),
        (
            http(false),
            b"HTTP/1.1 407 \x1b[31mNo\r\n\r\n",
            "does not answer in HTTP/1",
            libc::EPROTO,
        ),
        (http(false), b"HTTP/1.1 407 No\r\n\r\n", "407 No; write the login", libc::EACCES),
        (http(false), b"HTTP/1.1 503 Busy\r\n\r\n", "503 Busy", libc::EHOSTUNREACH),
        (http(false), b"SSH-2.0-x\r\n", "does not answer in HTTP/1", libc::EPROTO),
        (http(false), b"HTTP/1.1 2", "closed the connection", libc::ECONNRESET),
    ] {
        let (text, number) = refused(&upstream, answer);
        assert!(text.contains(words) && number == errno, "{text} ({number})");
    }
}
