//! Clients of every kind, over loopback.

use super::*;
use crate::observe::Observation;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn server() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start(listener, Metrics::new(Arc::new(Observation::new(None)), &[])).unwrap()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn rest(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

/// A scrape as it should be.
fn scrape(server: &Server) {
    let mut stream = connect(server);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let said = rest(&mut stream);
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(body.contains("hoptrail_relay_open 0\n"), "{body}");
}

#[test]
fn a_scrape() {
    let server = server();
    scrape(&server);
    scrape(&server);
}

#[test]
fn a_request_in_single_bytes() {
    let server = server();
    let mut stream = connect(&server);
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(rest(&mut stream).ends_with("\r\n\r\nok\n"));
}

#[test]
fn more_silent_clients_than_it_keeps_do_not_keep_a_scraper_out() {
    let server = server();
    let mut silent: Vec<TcpStream> = (0..3 * CLIENTS).map(|_| connect(&server)).collect();
    for stream in &mut silent {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nA: ");
    }
    scrape(&server);
    // The oldest have had to go.
    assert_eq!(silent[0].read(&mut [0]).map_err(|error| error.kind()).unwrap_or(0), 0);
}

#[test]
fn clients_that_do_not_read_their_answer() {
    let server = server();
    let mut deaf: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&server)).collect();
    for stream in &mut deaf {
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    }
    scrape(&server);
}

#[test]
fn garbage_long_requests_and_bodies_are_answered() {
    let server = server();
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(20_000));
    let body = format!("POST / HTTP/1.1\r\nContent-Length: 30000\r\n\r\n{}", "b".repeat(30_000));
    let noise: Vec<u8> = (0..5000_u32).map(|i| ((i * 7919) >> 3) as u8).collect();
    for (request, status) in [
        (long.as_bytes(), "HTTP/1.1 431 "),
        (body.as_bytes(), "HTTP/1.1 405 "),
        (&noise, "HTTP/1.1 400 "),
        (b"\x16\x03\x01\x00\xa5\x01\x00", "HTTP/1.1 400 "),
    ] {
        let mut stream = connect(&server);
        stream.write_all(request).unwrap();
        let said = rest(&mut stream);
        assert!(said.starts_with(status), "{said}");
    }
    scrape(&server);
}

#[test]
fn clients_that_leave_at_any_moment() {
    let server = server();
    let request = b"GET /metrics HTTP/1.1\r\n\r\n";
    for cut in 0..=request.len() {
        let mut stream = connect(&server);
        stream.write_all(&request[..cut]).unwrap();
        // Every second one leaves with a reset.
        if cut % 2 == 0 {
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    scrape(&server);
}

#[test]
fn the_end_of_the_server_is_the_end_of_its_port() {
    let server = server();
    let address = server.address();
    let _silent = connect(&server);
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}
