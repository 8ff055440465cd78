//! SET.

use super::scene::{RECORDS, Scene, query, set};
use hoptrail::Records;
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Fd, PORT, V4};
use hoptrail_winsock::codes;
use hoptrail_winsock::ioctl::{SetRecords, call};

fn new_socket(scene: &Scene, kind: Kind) -> Fd {
    scene.acme.socket((V4, PORT).into(), kind).unwrap()
}

/// Statements 25, 33, 34 and 37.
pub(crate) fn with_records_the_way_is_free() {
    let scene = Scene::new();
    let (first, second) = (scene.accepted(), scene.accepted());
    let blob = |socket| scene.acme.records(socket).unwrap();
    let upstream = new_socket(&scene, Kind::Tcp);
    assert_eq!(set(&scene.acme, upstream, &blob(first)), 0);
    let typed = (upstream.0, blob(second));
    let work = |(fd, blob): (i32, Vec<u8>)| {
        call(&held(fd)?, SetRecords(Records::from_bytes(&blob))).map_err(std::io::Error::other)
    };
    scene.acme.run(typed, work).unwrap();
    assert_eq!(blob(upstream), blob(second));
    scene.acme.connect(upstream, scene.origin.at()).unwrap();
    scene.origin.expect(1);
}

/// Statement 28.
pub(crate) fn a_stranger_has_no_right() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let blob = scene.acme.records(accepted).unwrap();
    let socket = scene.app.socket((V4, PORT).into(), Kind::Tcp).unwrap();
    assert_eq!(set(&scene.app, socket, &blob), codes::WSAEACCES);
}

/// Statements 31 and 32.
pub(crate) fn what_is_not_records_changes_nothing() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let blob = scene.acme.records(accepted).unwrap();
    let upstream = new_socket(&scene, Kind::Tcp);
    assert_eq!(set(&scene.acme, upstream, &blob), 0);
    let mut flipped = blob.clone();
    flipped[100] ^= 1;
    for bad in [&blob[..blob.len() - 1], &[], &flipped, &[blob.clone(), vec![0]].concat()] {
        assert_eq!(set(&scene.acme, upstream, bad), codes::WSAEINVAL, "{} bytes", bad.len());
    }
    assert_eq!(set(&scene.acme, upstream, &vec![7; 10_000]), codes::WSAEINVAL);
    assert_eq!(query(&scene.acme, upstream, RECORDS, 2048).buffer[..blob.len()], blob);
}

/// Statement 35.
pub(crate) fn a_connected_socket_is_not_new() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let blob = scene.acme.records(accepted).unwrap();
    assert_eq!(set(&scene.acme, accepted, &blob), codes::WSAEINVAL);
    assert_eq!(set(&scene.acme, scene.listener, &blob), codes::WSAEINVAL);
    assert_eq!(set(&scene.acme, Fd(9999), &blob), codes::WSAENOTSOCK);
}

/// Statement 36.
pub(crate) fn udp_is_refused() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let blob = scene.acme.records(accepted).unwrap();
    assert_eq!(set(&scene.acme, new_socket(&scene, Kind::Udp), &blob), codes::WSAEINVAL);
}
