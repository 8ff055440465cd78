//! Setting records: statements 25 to 39 and 48.

use crate::scene::{RECORDS, Scene, errno, trail, unsupported};
use hoptrail_core::abi::SOL_HOPTRAIL;
use hoptrail_core::records::{HEADER_BYTES, HOP_BYTES, MAX_BLOB_BYTES, Provenance};
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::{Fd, Lab, V4_OTHER, listener, option, stage};
use std::os::fd::AsFd;

/// Statements 25, 26, 27, 39 and 48: with the records acme's connect reaches the destination, and the
/// destination gets the application's bytes and none of the records'.
pub(crate) fn with_records_the_way_is_free() {
    let s = Scene::new();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    let upstream = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(upstream, &blob).unwrap();
    assert_eq!(s.acme.records(upstream).unwrap(), blob, "GET gives back what was SET");
    s.acme.connect(upstream, s.origin.at()).unwrap();
    assert_eq!(s.acme.peer(upstream).unwrap(), s.origin.at());
    s.acme.send(upstream, b"the application's bytes").unwrap();
    assert_eq!(s.acme.recv(upstream).unwrap(), b"the application's bytes");
    assert_eq!(s.origin.peers(), [s.acme.local(upstream).unwrap()]);
    assert_eq!(s.acme.records(upstream).unwrap(), blob, "and after the connect still");
    let events = s.lab.events();
    let last = events.last().unwrap();
    assert_eq!(last.provenance, Provenance::Declared);
    assert_eq!((last.by.pid, last.trail.header.pid), (s.acme.pid(), s.app.pid()));
}

/// Statement 28: for members of the provider of the last hop alone.
pub(crate) fn strangers_may_not_set() {
    let s = Scene::of(Lab::two);
    let beta = s.lab.actor("beta");
    let _listener = beta.listen(listener("beta", true), 8).unwrap();
    let blob = s.blob();
    for stranger in [&s.app, &beta] {
        let socket = stranger.socket(s.origin.at(), Kind::Tcp).unwrap();
        assert_eq!(errno(stranger.set_records(socket, &blob)), libc::EACCES);
        assert_eq!(errno(stranger.records(socket)), libc::ENOTCONN, "nothing was set");
    }
    let before = s.lab.counters().records_refused;
    let socket = s.app.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(s.app.set_records(socket, &blob)), libc::EACCES);
    assert_eq!(s.lab.counters().records_refused, before + 1);
    // Without the provider in the policy nobody is its member.
    s.lab.load(vec![s.lab.provider("beta", 100)]);
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(s.acme.set_records(socket, &blob)), libc::EACCES);
}

/// Statements 30 and 31.
pub(crate) fn nothing_is_no_blob() {
    let s = Scene::new();
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(s.acme.set_records(socket, &[])), libc::EINVAL);
    for length in [1u32, 240, 1560] {
        let result = s.acme.run((socket, length), |(Fd(fd), length)| {
            option::set_from_nowhere(stage::held(fd)?.as_fd(), SOL_HOPTRAIL, RECORDS, length)
        });
        assert_eq!(errno(result), libc::EFAULT, "{length} bytes");
    }
}

/// Statement 15; and 14, but that the kernel takes an unmapped count for a count of zero.
pub(crate) fn a_wrong_address_is_a_fault() {
    let s = Scene::new();
    let accepted = s.connect().accepted;
    for wanted in 1..=4 {
        for (length_too, expected) in [(false, libc::EFAULT), (true, libc::ERANGE)] {
            let result = s.acme.run((accepted, wanted, length_too), |(Fd(fd), wanted, too)| {
                option::get_into_nowhere(stage::held(fd)?.as_fd(), SOL_HOPTRAIL, wanted, too)
            });
            assert_eq!(errno(result), expected, "option {wanted}, length too: {length_too}");
        }
    }
    s.acme.records(accepted).unwrap();
}

/// Statement 32: each flipped bit, each length, and the socket keeps what it had.
pub(crate) fn an_altered_blob_is_refused() {
    let s = Scene::new();
    let blob = s.blob();
    assert_eq!(blob.len(), HEADER_BYTES + HOP_BYTES);
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(socket, &blob).unwrap();
    let wrong: Vec<String> = s
        .acme
        .run((socket, blob.clone()), |(Fd(fd), blob)| {
            let held = stage::held(fd)?;
            let mut wrong = Vec::new();
            let mut refused = |what: String, bytes: &[u8]| {
                let result = option::set(held.as_fd(), SOL_HOPTRAIL, RECORDS, bytes);
                let errno = result.err().and_then(|e| e.raw_os_error());
                if errno != Some(libc::EINVAL) {
                    wrong.push(format!("{what}: {errno:?}"));
                }
            };
            for bit in 0..blob.len() * 8 {
                let mut altered = blob.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                refused(format!("bit {bit} flipped"), &altered);
            }
            for length in 0..blob.len() {
                refused(format!("cut to {length}"), &blob[..length]);
            }
            for more in 1..=2 * HOP_BYTES {
                let mut longer = blob.clone();
                longer.resize(blob.len() + more, 0);
                refused(format!("longer by {more}"), &longer);
            }
            for hops in (0..=255).filter(|hops| *hops != 1) {
                let mut altered = blob.clone();
                altered[40] = hops;
                altered.resize(152 + usize::from(hops) * 88, 0);
                altered[6..8].copy_from_slice(&(152 + u16::from(hops) * 88).to_ne_bytes());
                refused(format!("as if it had {hops} hops"), &altered);
            }
            Ok(wrong)
        })
        .unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(s.acme.records(socket).unwrap(), blob, "the former records are kept");
}

/// Any bytes of any length: the documented errno, and nothing changes.
pub(crate) fn random_bytes_are_refused() {
    let s = Scene::new();
    let blob = s.blob();
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(socket, &blob).unwrap();
    let wrong: Vec<usize> = s
        .acme
        .run(socket, |Fd(fd)| {
            let held = stage::held(fd)?;
            let mut state = 0x9e37_79b9_7f4a_7c15_u64;
            let mut byte = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            };
            let mut wrong = Vec::new();
            for length in (0..=2000).chain([4095, 4096, 4097, 5000, 65536, 1 << 20]) {
                let mut bytes: Vec<u8> = (0..length).map(|_| byte()).collect();
                // Every other one gets past the first check.
                if length >= 8 && length % 2 == 0 {
                    bytes[..8].copy_from_slice(b"HTR1\x01\0\0\0");
                    bytes[6..8].copy_from_slice(&(length as u16).to_ne_bytes());
                }
                let result = option::set(held.as_fd(), SOL_HOPTRAIL, RECORDS, &bytes);
                if result.err().and_then(|e| e.raw_os_error()) != Some(libc::EINVAL) {
                    wrong.push(length);
                }
            }
            Ok(wrong)
        })
        .unwrap();
    assert!(wrong.is_empty(), "lengths {wrong:?}");
    assert_eq!(s.acme.records(socket).unwrap(), blob, "the former records are kept");
}

/// Records belong to the engine that made them.
pub(crate) fn records_of_another_engine_are_refused() {
    let (one, other) = (Scene::new(), Scene::new());
    let blob = one.blob();
    let socket = other.acme.socket(other.origin.at(), Kind::Tcp).unwrap();
    assert_eq!(errno(other.acme.set_records(socket, &blob)), libc::EINVAL);
}

/// Statement 34.
pub(crate) fn the_last_set_counts() {
    let s = Scene::of(Lab::two);
    let beta = s.lab.actor("beta");
    let beta_listener = beta.listen(listener("beta", true), 8).unwrap();
    let (one, two) = (s.blob(), s.blob());
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(socket, &one).unwrap();
    s.acme.set_records(socket, &two).unwrap();
    assert_eq!(s.acme.records(socket).unwrap(), two);
    assert_eq!(errno(s.acme.set_records(socket, &one[..239])), libc::EINVAL);
    s.acme.connect(socket, s.origin.at()).unwrap();
    let (accepted, _) = beta.accept(beta_listener).unwrap();
    assert_eq!(
        trail(&beta.records(accepted).unwrap()).header.id,
        trail(&two).header.id,
        "the second, and the refused third changed nothing"
    );
}

/// A shorter trail SET after a longer one leaves nothing of it behind.
pub(crate) fn a_shorter_trail_replaces_a_longer_one() {
    let s = Scene::of(|lab| {
        let mut both = lab.two();
        // One process is both proxies, so that it may SET either's records.
        both[1].members = both[0].members.clone();
        both
    });
    let beta_listener = s.acme.listen(listener("beta", true), 8).unwrap();
    let one = s.blob();
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(socket, &one).unwrap();
    s.acme.connect(socket, s.origin.at()).unwrap();
    let (accepted, _) = s.acme.accept(beta_listener).unwrap();
    let two = s.acme.records(accepted).unwrap();
    assert_eq!(trail(&two).hops().len(), 2);
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    for blob in [&two, &one, &two, &one] {
        s.acme.set_records(socket, blob).unwrap();
        assert_eq!(s.acme.records(socket).unwrap(), *blob);
    }
    s.acme.connect(socket, s.origin.at()).unwrap();
    let (accepted, _) = s.acme.accept(beta_listener).unwrap();
    assert_eq!(trail(&s.acme.records(accepted).unwrap()).hops().len(), 2, "acme and beta");
    assert_eq!(s.origin.accepted(), 0);
}

/// Statement 35.
pub(crate) fn a_connected_or_listening_socket_takes_none() {
    let s = Scene::new();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    let upstream = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(upstream, &blob).unwrap();
    s.acme.connect(upstream, s.origin.at()).unwrap();
    for socket in [redirected.accepted, upstream, s.listener] {
        assert_eq!(errno(s.acme.set_records(socket, &blob)), libc::EISCONN);
    }
    assert_eq!(s.acme.records(redirected.accepted).unwrap(), blob);
    // One that is still connecting: its listener's queue is full.
    let at = "127.0.0.1:9998".parse().unwrap();
    let _full = s.acme.listen(at, 0).unwrap();
    let result = s.acme.run((at, blob), |(at, blob): (std::net::SocketAddr, Vec<u8>)| {
        let _first = std::net::TcpStream::connect(at)?;
        let second = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        second.set_nonblocking(true)?;
        let connecting = second.connect(&at.into()).unwrap_err();
        assert_eq!(connecting.raw_os_error(), Some(libc::EINPROGRESS));
        option::set(second.as_fd(), SOL_HOPTRAIL, RECORDS, &blob)
    });
    assert_eq!(errno(result), libc::EISCONN);
}

/// Statement 37.
pub(crate) fn set_before_bind() {
    let s = Scene::new();
    let blob = s.blob();
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(socket, &blob).unwrap();
    s.acme.bind(socket, (V4_OTHER, 0).into()).unwrap();
    s.acme.connect(socket, s.origin.at()).unwrap();
    s.origin.expect(1);
    assert_eq!(s.origin.peers()[0].ip(), std::net::IpAddr::from(V4_OTHER));
    assert_eq!(s.lab.links().len(), 1, "only the application's connection was redirected");
}

/// Statement 38, and as often as one likes: also for several dials of one connection.
pub(crate) fn records_outlive_their_connection() {
    let s = Scene::new();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    s.app.close(redirected.client);
    s.acme.close(redirected.accepted);
    for n in 1..=3 {
        let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
        s.acme.set_records(socket, &blob).unwrap();
        s.acme.connect(socket, s.origin.at()).unwrap();
        s.acme.send(socket, b"x").unwrap();
        assert_eq!(s.acme.recv(socket).unwrap(), b"x");
        assert_eq!(s.origin.accepted(), n);
    }
}

/// Options that can only be asked for, and ones that there are not.
pub(crate) fn other_options_cannot_be_set() {
    let s = Scene::new();
    let blob = s.blob();
    let socket = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    for option in [0, 2, 3, 4, 5, 6, 7, 60, 222, -1] {
        let no = errno(s.acme.set(socket, option, &blob));
        assert!(unsupported(no), "option {option} gives {no}");
    }
    assert!(blob.len() < MAX_BLOB_BYTES);
}

/// A blob does not say whether its trail was adopted: that is the kernel side's own.
pub(crate) fn adoption_leaves_the_blob_alone() {
    let s = Scene::of(Lab::two);
    let beta = s.lab.actor("beta");
    let beta_listener = beta.listen(listener("beta", true), 8).unwrap();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    let _upstream = s.acme.dial(s.origin.at()).unwrap();
    let (accepted, _) = beta.accept(beta_listener).unwrap();
    assert_eq!(
        trail(&beta.records(accepted).unwrap()).hops()[1].provenance(),
        Provenance::Inferred
    );
    assert_eq!(s.acme.records(redirected.accepted).unwrap(), blob);
    assert_eq!(s.lab.counters().adopted, 1);
}
