//! What pends, in Rust.

use super::scene::{RECORDS, Scene, connecting, let_in, query_here};
use hoptrail_testkit::lab::socket::Kind;
use hoptrail_testkit::lab::stage::held;
use hoptrail_testkit::lab::{Fd, PORT, V4, listener};
use hoptrail_winsock::ioctl::{QueryRecords, call, live, start};
use hoptrail_winsock::{Error, codes};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;

/// The application's own address, so that a proxy can be connected to it before it sends.
pub(crate) const APPLICATION: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);

/// A UDP socket of acme's at its listener (beside the one that takes new peers), connected to an
/// application that has sent nothing, and the application's socket.
pub(crate) fn udp_pair(scene: &Scene) -> (Fd, Fd) {
    let at = listener("acme", true);
    let main = scene.acme.socket(at, Kind::Udp).unwrap();
    scene.acme.bind(main, at).unwrap();
    let proxy = scene.acme.socket(at, Kind::Udp).unwrap();
    scene.acme.bind(proxy, at).unwrap();
    scene.acme.connect(proxy, APPLICATION).unwrap();
    let application = scene.app.socket(APPLICATION, Kind::Udp).unwrap();
    scene.app.bind(application, (Ipv4Addr::UNSPECIFIED, APPLICATION.port()).into()).unwrap();
    (proxy, application)
}

pub(crate) fn a_connect_under_way_pends() {
    let scene = Scene::new();
    let outcome = scene.acme.run((), |()| {
        let (socket, kept) = connecting()?;
        assert_eq!(call(&socket, QueryRecords).err(), Some(Error::WOULD_BLOCK));
        let pending = start(&socket, QueryRecords).unwrap();
        assert!(!pending.is_ready());
        assert_eq!(live().operations, 1);
        let _accepted = let_in(&kept)?;
        let outcome = pending.wait().map(|_| ());
        assert_eq!(live().operations, 0);
        Ok(outcome.unwrap_err().to_string())
    });
    assert_eq!(outcome.unwrap(), Error::NoRecords.to_string());
}

pub(crate) fn a_connect_under_way_blocks_a_synchronous_call() {
    let scene = Scene::new();
    let error = scene.acme.run((), |()| {
        let (socket, kept) = connecting()?;
        socket.set_nonblocking(false)?;
        let fd = socket.as_raw_fd();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || query_here(fd, RECORDS, 1024));
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!waiting.is_finished());
            let _accepted = let_in(&kept)?;
            Ok(waiting.join().unwrap().error)
        })
    });
    assert_eq!(error.unwrap(), codes::WSAEINVAL);
}

/// Statements 83 and 84.
pub(crate) fn a_udp_flow_that_has_not_begun_pends_and_succeeds() {
    let scene = Scene::new();
    let (proxy, application) = udp_pair(&scene);
    let task = scene.acme.begin(proxy.0, |fd| {
        let socket = held(fd)?;
        let pending = start(&socket, QueryRecords).unwrap();
        assert!(!pending.is_ready());
        io::Write::write_all(&mut std::fs::File::create("/proc/self/comm")?, b"pends")?;
        Ok(pending.wait().unwrap().as_bytes().to_vec())
    });
    let comm = format!("/proc/{}/comm", scene.acme.pid());
    hoptrail_testkit::lab::eventually("the query pends", || {
        std::fs::read_to_string(&comm).is_ok_and(|name| name.trim() == "pends")
    });
    scene.app.send_to(application, b"hello", (V4, PORT).into()).unwrap();
    let records = task.wait().unwrap();
    let (bytes, from) = scene.acme.recv_from(proxy).unwrap();
    assert_eq!((&bytes[..], from), (&b"hello"[..], APPLICATION));
    let trail = hoptrail::Records::from_bytes(&records).trail().unwrap();
    assert_eq!(trail.destination(), (V4, PORT).into());
}

pub(crate) fn a_synchronous_query_of_udp_never_waits() {
    let scene = Scene::new();
    let (proxy, _application) = udp_pair(&scene);
    let work = |fd| Ok(call(&held(fd)?, QueryRecords).unwrap_err().to_string());
    assert_eq!(scene.acme.run(proxy.0, work).unwrap(), Error::NoRecords.to_string());
    let unconnected = scene.acme.socket(APPLICATION, Kind::Udp).unwrap();
    assert_eq!(scene.acme.run(unconnected.0, work).unwrap(), Error::NOT_CONNECTED.to_string());
}

pub(crate) fn closing_behind_the_back_ends_it() {
    let scene = Scene::new();
    let error = scene.acme.run((), |()| {
        let (socket, _kept) = connecting()?;
        let fd = socket.try_clone()?;
        // The future is of one descriptor, the connection of two: closing one is enough.
        let pending = start(&fd, QueryRecords).unwrap();
        let number = fd.as_raw_fd();
        #[expect(unsafe_code, reason = "the test closes a descriptor behind the library's back")]
        // SAFETY: the number is open, and its owner is forgotten below.
        let closed = unsafe { libc::close(number) };
        assert_eq!(closed, 0);
        let error = pending.wait().unwrap_err().to_string();
        std::mem::forget(fd);
        drop(socket);
        Ok(error)
    });
    assert_eq!(error.unwrap(), Error::ABORTED.to_string());
}
