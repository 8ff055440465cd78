//! Every call on a machine where no engine acts on this process: errors that say so, and nothing
//! that could be taken for an answer.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail::{Error, ErrorKind, Listener, Records, UdpProxySocket};
use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

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
    assert!(error.to_string().contains("hoptrail daemon"), "{error}");
}

fn every_query(socket: &impl AsFd) {
    no_engine(hoptrail::records(socket));
    no_engine(hoptrail::context(socket));
    no_engine(hoptrail::version(socket));
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

#[test]
fn a_socket_without_this_support_is_refused_too() {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    no_engine(hoptrail::records(&one));
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = hoptrail::records(&file).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENOTSOCK));
}

#[test]
fn a_direct_connection_has_no_original_destination() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (_listener, _client, accepted) = tcp(address);
        assert_eq!(hoptrail::original_destination(&accepted).unwrap(), None);
    }
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(hoptrail::original_destination(&file).unwrap_err().errno(), Some(libc::ENOTSOCK));
}

#[test]
fn a_listener_refuses_what_it_cannot_explain() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.as_std().local_addr().unwrap()).unwrap();
    no_engine(listener.accept());
    let error = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
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
