//! The Rust calls where no engine acts: what they say, on any machine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail::Records;
use hoptrail_winsock::ioctl::{QueryContext, QueryRecords, Request, SetRecords, call, start};
use hoptrail_winsock::{Error, codes};
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// An engine on the machine that acts on these sockets would say otherwise: the tests of it are the
/// kernel's.
fn without_engine(error: Error) -> bool {
    matches!(error, Error::NoEngine | Error::NoRecords | Error::NOT_CONNECTED)
}

fn errors(socket: &impl AsFd) -> [Error; 4] {
    [
        call(socket, QueryRecords).unwrap_err(),
        call(socket, QueryContext).unwrap_err(),
        start(socket, QueryRecords).unwrap().wait().unwrap_err(),
        call(socket, SetRecords(Records::from_bytes(&[1; 240]))).unwrap_err(),
    ]
}

#[test]
fn without_an_engine_nothing_is_known_and_nothing_set() {
    let (_client, accepted) = connected();
    let [records, context, overlapped, set] = errors(&accepted);
    assert!([records, context, overlapped].into_iter().all(without_engine));
    assert!(matches!(set, Error::NoEngine | Error::Invalid(_)), "{set}");
}

#[test]
fn records_are_not_set_on_udp_by_a_control_code() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let error = call(&socket, SetRecords(Records::from_bytes(&[1; 240]))).unwrap_err();
    assert_eq!(error.code(), codes::WSAEINVAL);
    assert!(error.to_string().contains("WSASendMsg"), "{error}");
}

#[test]
fn statements_11_and_12_what_is_no_socket_or_another_kind() {
    let file = File::open("/dev/null").unwrap();
    let (unix, _) = UnixStream::pair().unwrap();
    assert_eq!(errors(&file), [Error::NOT_A_SOCKET; 4]);
    assert_eq!(errors(&unix), [Error::NOT_SUPPORTED; 4]);
}

#[test]
fn empty_records_are_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = call(&socket, SetRecords(Records::from_bytes(&[]))).unwrap_err();
    assert_eq!(error.code(), codes::WSAEINVAL);
}

#[test]
fn each_request_has_its_documented_code() {
    assert_eq!(QueryRecords::CODE, 0x9800_00DC);
    assert_eq!(QueryContext::CODE, 0x9800_00DD);
    assert_eq!(SetRecords::CODE, 0x9800_00DE);
}
