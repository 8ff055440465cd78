//! The two queries.

use super::scene::{CONTEXT, RECORDS, Scene, UNTOUCHED, ioctl, nowhere, query};
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Actor, Fd, PORT, V4};
use hoptrail_winsock::ioctl::{QueryContext, QueryRecords, call};
use hoptrail_winsock::{Error, codes};
use std::ptr::null_mut;

/// Statements 1, 2, 7, 8, 16 and 22.
pub(crate) fn records_and_context_are_those_of_the_options() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let (blob, bytes) =
        (scene.acme.records(accepted).unwrap(), scene.acme.context(accepted).unwrap());
    for _ in 0..2 {
        for (code, value) in [(RECORDS, &blob), (CONTEXT, &bytes)] {
            let done = query(&scene.acme, accepted, code, 1024);
            assert_eq!((done.error, done.count as usize), (0, value.len()));
            assert_eq!(&done.buffer[..value.len()], value);
            assert!(done.buffer[value.len()..].iter().all(|&b| b == UNTOUCHED));
        }
    }
    let typed = scene
        .acme
        .run(accepted.0, |fd| {
            let records = call(&held(fd)?, QueryRecords).map_err(std::io::Error::other)?;
            let context = call(&held(fd)?, QueryContext).map_err(std::io::Error::other)?;
            Ok((records.as_bytes().to_vec(), context.destination()))
        })
        .unwrap();
    assert_eq!(typed, (blob, (V4, PORT).into()));
}

/// Statement 9.
pub(crate) fn no_records_is_an_error_of_its_own() {
    let scene = Scene::new();
    let address = scene.acme.local(scene.listener).unwrap();
    scene.app.dial(address).unwrap();
    let (direct, _) = scene.acme.accept(scene.listener).unwrap();
    assert_eq!(error_of_call(&scene.acme, direct), Error::NoRecords.to_string());
    for room in [0, 4, 1024] {
        let done = query(&scene.acme, direct, RECORDS, room);
        assert_eq!((done.error, done.count), (codes::WSAEINVAL, 0), "{room}");
    }
}

/// Statements 3 to 6, 10 and 17.
pub(crate) fn sizes_as_documented() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    for (code, value) in [
        (RECORDS, scene.acme.records(accepted).unwrap()),
        (CONTEXT, scene.acme.context(accepted).unwrap()),
    ] {
        let size = value.len();
        for (room, error, count) in [
            (0, codes::ERROR_INSUFFICIENT_BUFFER, size),
            (1, codes::WSAEINVAL, 0),
            (3, codes::WSAEINVAL, 0),
            (4, codes::ERROR_INSUFFICIENT_BUFFER, size),
            (size - 1, codes::ERROR_INSUFFICIENT_BUFFER, size),
            (size, 0, size),
            (8192, 0, size),
        ] {
            let done = query(&scene.acme, accepted, code, room);
            assert_eq!((done.error, done.count as usize), (error, count), "{room}");
            let written = if error == 0 { size } else { 0 };
            assert!(done.buffer[written..].iter().all(|&b| b == UNTOUCHED), "{room}");
        }
    }
    let new = scene.acme.socket((V4, PORT).into(), Kind::Tcp).unwrap();
    for socket in [new, scene.listener] {
        for room in [0, 4, 1024] {
            let done = query(&scene.acme, socket, RECORDS, room);
            assert_eq!((done.error, done.count), (codes::WSAENOTCONN, 0), "{room}");
        }
    }
}

/// Statements 11, 12, 14 and 15; reference 7.5.
pub(crate) fn what_is_wrong_with_the_socket_comes_first() {
    let scene = Scene::new();
    let accepted = scene.accepted();
    let errors = |fd: Fd| {
        let work = |fd| {
            let _started = super::scene::Started::new();
            let (mut count, mut buffer) = (0, [0u8; 1024]);
            let out = (buffer.as_mut_ptr().cast(), 1024);
            let at = &raw mut count;
            let ask = |out, at| ioctl(fd, RECORDS, &mut [], out, at, null_mut());
            Ok([
                ask((nowhere(), 1024), at),
                ask((null_mut(), 1024), at),
                ask(out, nowhere()),
                ask(out, null_mut()),
            ])
        };
        scene.acme.run(fd.0, work).unwrap()
    };
    assert_eq!(errors(accepted), [codes::WSAEFAULT; 4]);
    assert_eq!(errors(Fd(9999)), [codes::WSAENOTSOCK; 4]);
    let file = scene
        .acme
        .run((), |()| Ok(hoptrail_testkit::lab::stage::keep(std::fs::File::open("/dev/null")?)));
    assert_eq!(errors(Fd(file.unwrap())), [codes::WSAENOTSOCK; 4]);
    let unix = scene.acme.run((), |()| {
        Ok(hoptrail_testkit::lab::stage::keep(std::os::unix::net::UnixDatagram::unbound()?))
    });
    assert_eq!(errors(Fd(unix.unwrap())), [codes::WSAEOPNOTSUPP; 4]);
}

/// WSAENETDOWN.
pub(crate) fn a_socket_outside_of_the_scope_has_no_engine() {
    let scene = Scene::new();
    let outsider = scene.lab.outsider();
    let socket = outsider.dial(scene.origin.at()).unwrap();
    let done = query(&outsider, socket, RECORDS, 1024);
    assert_eq!((done.error, done.count), (codes::WSAENETDOWN, 0));
    assert_eq!(error_of_call(&outsider, socket), Error::NoEngine.to_string());
}

fn error_of_call(actor: &Actor, socket: Fd) -> String {
    let work = |fd| Ok(call(&held(fd)?, QueryRecords).map(|_| ()).map_err(|e| e.to_string()));
    actor.run(socket.0, work).unwrap().unwrap_err()
}
