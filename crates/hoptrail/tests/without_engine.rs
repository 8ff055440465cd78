//! Every call on a machine where no engine acts on this process: errors that say so, and nothing
//! that could be taken for an answer. On Windows the engine is the Filtering Platform; Wine has none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail::{Error, ErrorKind, Listener, Records, UdpProxySocket};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
#[cfg(unix)]
use std::os::fd::AsFd as AsSock;
#[cfg(windows)]
use std::os::windows::io::AsSocket as AsSock;

/// What every such error advises.
const ADVICE: &str =
    if cfg!(windows) { "Windows' Filtering Platform does not answer" } else { "hoptrail daemon" };

/// A listener's, a client's and an accepted socket.
fn tcp(address: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    (listener, client, accepted)
}

fn no_engine<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error =
        result.expect_err("an engine acts on this process; run the tests outside its cgroup");
    assert_eq!(error.kind(), ErrorKind::NoEngine, "{error}");
    assert!(error.to_string().contains(ADVICE), "{error}");
}

fn every_query(socket: &impl AsSock) {
    no_engine(hoptrail::records(socket));
    no_engine(hoptrail::context(socket));
    no_engine(hoptrail::context_bytes(socket));
    no_engine(hoptrail::Redirect::of(socket));
    if cfg!(windows) {
        let error = hoptrail::version(socket).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    } else {
        no_engine(hoptrail::version(socket));
    }
    no_engine(hoptrail::set_records(socket, &Records::from_bytes(b"HTR1")));
}

#[test]
fn every_socket_says_that_there_is_no_engine() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (listener, client, accepted) = tcp(address);
        every_query(&listener);
        every_query(&client);
        every_query(&accepted);
        every_query(&UdpSocket::bind(address).unwrap());
    }
}

#[cfg(unix)]
#[test]
fn a_socket_without_this_support_is_refused_too() {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    no_engine(hoptrail::records(&one));
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = hoptrail::records(&file).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSocket);
    assert_eq!(hoptrail::original_destination(&file).unwrap_err().kind(), ErrorKind::NotSocket);
}

#[test]
fn a_direct_connection_has_no_original_destination() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (_listener, _client, accepted) = tcp(address);
        assert_eq!(hoptrail::original_destination(&accepted).unwrap(), None);
    }
}

fn sees_reset(client: &mut TcpStream) {
    match client.read(&mut [0; 1]) {
        // Wine takes the error for itself; after an orderly end one could still write.
        Ok(0) if cfg!(windows) => assert!(client.write(b"x").is_err()),
        other => assert_eq!(other.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset),
    }
}

/// It resets what it cannot explain, says why, and goes on.
#[test]
fn a_listener_refuses_what_it_cannot_explain() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.as_std().local_addr().unwrap();
    for _ in 0..3 {
        let mut client = TcpStream::connect(address).unwrap();
        no_engine(listener.accept());
        sees_reset(&mut client);
    }
    listener.as_std().set_nonblocking(true).unwrap();
    assert!(listener.try_accept().unwrap().is_none());
    let mut client = TcpStream::connect(address).unwrap();
    let accepted = loop {
        match listener.try_accept() {
            Ok(None) => std::thread::yield_now(),
            other => break other,
        }
    };
    no_engine(accepted);
    sees_reset(&mut client);
}

#[test]
fn tokios_listener_too() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(hoptrail::tokio::Listener::bind("127.0.0.1:0")).unwrap();
    let mut client = TcpStream::connect(listener.as_tokio().local_addr().unwrap()).unwrap();
    no_engine(runtime.block_on(listener.accept()));
    sees_reset(&mut client);
}

#[test]
fn udp_flows_cannot_be_asked_for() {
    let socket = UdpProxySocket::bind("127.0.0.1:0").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"ping", socket.as_std().local_addr().unwrap()).unwrap();
    let mut buffer = [0; 16];
    let (length, peer) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], peer), (&b"ping"[..], client.local_addr().unwrap()));
    no_engine(socket.redirect_of(peer));
    assert_eq!(socket.send_to(b"pong", peer).unwrap(), 4);
    assert_eq!(client.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn tokios_udp_flows_neither() {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let socket = hoptrail::tokio::UdpProxySocket::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ours = socket.as_tokio().local_addr().unwrap();
        let mut buffer = [0; 16];
        for _ in 0..3 {
            let received = socket.recv_from(&mut buffer);
            let sent = async {
                // The other side waits already.
                tokio::task::yield_now().await;
                client.send_to(b"ping", ours).await.unwrap();
            };
            let ((length, peer), ()) = tokio::join!(async { received.await.unwrap() }, sent);
            assert_eq!((length, peer), (4, client.local_addr().unwrap()));
            no_engine(socket.redirect_of(peer));
            assert_eq!(socket.send_to(b"pong", peer).await.unwrap(), 4);
            assert_eq!(client.recv(&mut buffer).await.unwrap(), 4);
        }
    });
}
