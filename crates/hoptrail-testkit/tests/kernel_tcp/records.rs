//! Querying records: statements 1 to 13, 16, 17 and 19.

use crate::scene::{RECORDS, Scene, errno, trail, unsupported};
use hoptrail_core::abi::{
    REDIRECT_CONTEXT, REDIRECT_CONTEXT_SIZE, REDIRECT_PEER, REDIRECT_RECORDS,
    REDIRECT_RECORDS_SIZE, REDIRECT_VERSION, SOL_HOPTRAIL,
};
use hoptrail_core::compile::handle_of;
use hoptrail_core::records::blob_bytes;
use hoptrail_core::{Protocol, RedirectState};
use hoptrail_testkit::cases::guid;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::keep;
use hoptrail_testkit::lab::{Fd, Lab, Person, listener};
use std::os::unix::net::UnixStream;

const VALUES: [(i32, i32); 2] =
    [(REDIRECT_RECORDS, REDIRECT_RECORDS_SIZE), (REDIRECT_CONTEXT, REDIRECT_CONTEXT_SIZE)];

/// Statements 1, 2, 8, 16: the value, as often as it is asked for.
pub(crate) fn queries_do_not_consume() {
    let s = Scene::new();
    let accepted = s.connect().accepted;
    for (value, _) in VALUES {
        let first = s.acme.probe(accepted, SOL_HOPTRAIL, value, 4096);
        assert_eq!(first.errno, None);
        assert!(first.length > 0 && first.length <= 4096);
        for _ in 0..3 {
            assert_eq!(s.acme.probe(accepted, SOL_HOPTRAIL, value, 4096), first);
        }
    }
    let blob = s.acme.records(accepted).unwrap();
    assert_eq!(blob.len(), blob_bytes(1));
    let trail = trail(&blob);
    assert_eq!(trail.hops().len(), 1);
    assert_eq!(trail.header.destination(), s.origin.at().into());
    assert_eq!(trail.header.protocol(), Some(Protocol::Tcp));
    assert_eq!(trail.hops()[0].to(), listener("acme", true).into());
}

/// Statements 3 to 7 and 17, in the numbers of docs/abi.md: sizes are exact, a short buffer and the
/// room behind a long one stay untouched.
pub(crate) fn sizes_are_exact_and_nothing_else_is_written() {
    let s = Scene::new();
    let accepted = s.connect().accepted;
    for (value, size) in VALUES {
        let told = s.acme.get(accepted, size).unwrap();
        let size = u32::from_ne_bytes(told.try_into().unwrap()) as usize;
        for room in 0..size {
            let short = s.acme.probe(accepted, SOL_HOPTRAIL, value, room);
            assert_eq!(short.errno, Some(libc::ERANGE), "room for {room} of {size}");
            assert!(short.untouched_from(0), "room for {room}");
        }
        let exact = s.acme.probe(accepted, SOL_HOPTRAIL, value, size);
        assert_eq!((exact.errno, exact.length as usize), (None, size));
        for room in [size + 1, size + 7, 1024, 4095, 4096] {
            let long = s.acme.probe(accepted, SOL_HOPTRAIL, value, room);
            assert_eq!((long.errno, long.length as usize), (None, size), "room for {room}");
            assert_eq!(long.buffer[..size], exact.buffer[..]);
            assert!(long.untouched_from(size), "room for {room}");
        }
    }
}

/// The sizes themselves have four bytes, the version sixteen.
pub(crate) fn sizes_and_version_have_their_own_size() {
    let s = Scene::new();
    let accepted = s.connect().accepted;
    let fixed = [(REDIRECT_RECORDS_SIZE, 4), (REDIRECT_CONTEXT_SIZE, 4), (REDIRECT_VERSION, 16)];
    for (option, size) in fixed {
        for room in 0..size {
            let short = s.acme.probe(accepted, SOL_HOPTRAIL, option, room);
            assert_eq!(short.errno, Some(libc::ERANGE), "option {option}, room for {room}");
            assert!(short.untouched_from(0), "option {option}, room for {room}");
        }
        let long = s.acme.probe(accepted, SOL_HOPTRAIL, option, 64);
        assert_eq!((long.errno, long.length as usize), (None, size));
        assert!(long.untouched_from(size));
    }
    let version = s.acme.get(accepted, REDIRECT_VERSION).unwrap();
    assert_eq!(version[..8], [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(version[8..], 1u64.to_ne_bytes());
    s.lab.load(vec![s.lab.provider("acme", 7)]);
    assert_eq!(s.acme.get(accepted, REDIRECT_VERSION).unwrap()[8..], 2u64.to_ne_bytes());
}

/// Statement 9: never a success with nothing in it.
pub(crate) fn direct_connections_have_no_records() {
    let s = Scene::new();
    let direct = s.app.dial(listener("acme", true)).unwrap();
    let (accepted, _) = s.acme.accept(s.listener).unwrap();
    for option in [1, 2, 3, 4] {
        for room in [0, 4, 4096] {
            let probe = s.acme.probe(accepted, SOL_HOPTRAIL, option, room);
            assert_eq!(probe.errno, Some(libc::ENODATA), "option {option}");
            assert!(probe.untouched_from(0));
        }
        assert_eq!(errno(s.app.get(direct, option)), libc::ENODATA);
    }
    let redirected = s.connect();
    assert_eq!(errno(s.app.records(redirected.client)), libc::ENODATA, "the application's own end");
    // Another server in the engine's scope, which has nothing to do with providers.
    let at = "127.0.0.1:9999".parse().unwrap();
    let server = s.acme.listen(at, 1).unwrap();
    let _client = s.app.dial(at).unwrap();
    let (other, _) = s.acme.accept(server).unwrap();
    assert_eq!(errno(s.acme.records(other)), libc::ENODATA);
}

/// Statement 10.
pub(crate) fn unconnected_sockets_are_told_apart() {
    let s = Scene::new();
    let fresh = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    for socket in [s.listener, fresh] {
        for option in [1, 2, 3, 4] {
            assert_eq!(errno(s.acme.get(socket, option)), libc::ENOTCONN, "option {option}");
        }
        s.acme.get(socket, REDIRECT_VERSION).unwrap();
    }
    assert_eq!(errno(s.acme.get(fresh, REDIRECT_PEER)), libc::ENOPROTOOPT);
    for option in [0, 7, 60, 70, 220, -1, i32::MAX] {
        let no = errno(s.acme.get(fresh, option));
        assert!(unsupported(no), "option {option} gives {no}");
    }
}

/// Statements 11 and 12.
pub(crate) fn other_descriptors_have_no_such_option() {
    let s = Scene::new();
    let unix = s.acme.run((), |()| Ok(Fd(keep(UnixStream::pair()?.0))));
    let file = s.acme.run((), |()| Ok(Fd(keep(std::fs::File::open("/dev/null")?))));
    let (unix, file) = (unix.unwrap(), file.unwrap());
    for option in 1..=6 {
        assert_eq!(errno(s.acme.get(file, option)), libc::ENOTSOCK);
        let no = errno(s.acme.get(unix, option));
        assert!(unsupported(no), "option {option} of a Unix socket gives {no}");
        let no = errno(s.acme.set(unix, option, &[0; 240]));
        assert!(unsupported(no), "setting option {option} of a Unix socket gives {no}");
    }
}

/// Statement 13: who holds the socket may ask, without any privilege.
pub(crate) fn asking_needs_no_privilege() {
    let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
    let acme = lab.person(&Person { cgroup: "acme", uid: Some(4711), exe: None });
    let listening = acme.listen(listener("acme", true), 8).unwrap();
    let origin = lab.origin("192.0.2.10:80".parse().unwrap());
    let app = lab.actor("app");
    let client = app.dial(origin.at()).unwrap();
    let (accepted, _) = acme.accept(listening).unwrap();
    let blob = acme.records(accepted).unwrap();
    acme.context(accepted).unwrap();
    let upstream = acme.socket(origin.at(), Kind::Tcp).unwrap();
    acme.set_records(upstream, &blob).unwrap();
    acme.connect(upstream, origin.at()).unwrap();
    app.close(client);
}

/// No engine acts on sockets of other cgroups.
pub(crate) fn outside_of_the_scope_there_are_no_options() {
    let s = Scene::new();
    let blob = s.blob();
    let outsider = s.lab.outsider();
    let direct = outsider.dial(s.origin.at()).unwrap();
    for option in 1..=6 {
        let no = errno(outsider.get(direct, option));
        assert!(unsupported(no), "option {option} gives {no}");
    }
    let fresh = outsider.socket(s.origin.at(), Kind::Tcp).unwrap();
    assert!(unsupported(errno(outsider.set(fresh, RECORDS, &blob))));
}

/// Statements 19 and 41 to 47: the states of a chain for each handle, and each hop's own context.
pub(crate) fn a_chain_of_two_and_its_states() {
    let s = Scene::of(Lab::two);
    let beta = s.lab.actor("beta");
    let beta_listener = beta.listen(listener("beta", true), 8).unwrap();
    let first = s.connect();
    let blob = s.acme.records(first.accepted).unwrap();
    let upstream = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.set_records(upstream, &blob).unwrap();
    s.acme.connect(upstream, s.origin.at()).unwrap();
    let (accepted, peer) = beta.accept(beta_listener).unwrap();
    assert_eq!(peer, s.acme.local(upstream).unwrap());
    let [one, two] = [trail(&blob), trail(&beta.records(accepted).unwrap())];
    let [a, b, c] = ["acme", "beta", "gamma"].map(|name| handle_of(guid(name)));
    let state = |trail: &hoptrail_core::Trail, handle| {
        RedirectState::of(trail.hops().iter().map(|hop| hop.handle), handle)
    };
    assert_eq!(state(&one, a), RedirectState::RedirectedBySelf);
    assert_eq!(state(&one, b), RedirectState::RedirectedByOther);
    assert_eq!(state(&two, a), RedirectState::PreviouslyRedirectedBySelf);
    assert_eq!(state(&two, b), RedirectState::RedirectedBySelf);
    assert_eq!(state(&two, c), RedirectState::RedirectedByOther);
    assert_eq!(one.header.id, two.header.id, "it is one trail");
    assert_eq!(two.hops()[1].pid, s.acme.pid());
    assert_eq!(two.hops()[0].pid, s.app.pid());
    assert_eq!(two.header.pid, s.app.pid());
    let context = hoptrail::Context::parse(&beta.context(accepted).unwrap()).unwrap();
    assert_eq!(context.provider().0, b, "beta's context, not acme's");
    assert_eq!(context.hop(), 2);
    assert_eq!(context.local(), peer);
    // The first hop's answer has not changed.
    assert_eq!(s.acme.records(first.accepted).unwrap(), blob);
}

/// Statement 21: flows at the same time, each with its own records.
pub(crate) fn flows_are_not_confused() {
    let s = Scene::new();
    let targets: Vec<_> =
        (0..40u16).map(|i| format!("192.0.2.10:{}", 1000 + i).parse().unwrap()).collect();
    let all: Vec<_> = targets.iter().map(|to| s.connect_to(*to)).collect();
    for (to, redirected) in targets.iter().zip(&all) {
        let trail = trail(&s.acme.records(redirected.accepted).unwrap());
        assert_eq!(trail.header.destination(), (*to).into());
        assert_eq!(trail.header.local(), s.app.local(redirected.client).unwrap().into());
        let context = s.acme.context(redirected.accepted).unwrap();
        assert_eq!(hoptrail::Context::parse(&context).unwrap().destination(), *to);
    }
}

/// The answer stays until the accepted socket is closed, also after the client has gone.
pub(crate) fn records_outlive_the_client() {
    let s = Scene::new();
    let redirected = s.connect();
    let blob = s.acme.records(redirected.accepted).unwrap();
    s.app.close(redirected.client);
    assert_eq!(s.acme.recv(redirected.accepted).unwrap(), b"");
    assert_eq!(s.acme.records(redirected.accepted).unwrap(), blob);
    let upstream = s.acme.socket(s.origin.at(), Kind::Tcp).unwrap();
    s.acme.close(redirected.accepted);
    s.acme.set_records(upstream, &blob).unwrap();
    s.acme.connect(upstream, s.origin.at()).unwrap();
}
