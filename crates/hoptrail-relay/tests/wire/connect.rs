//! Before both ways are open: upstreams that cannot be reached, that are slow, that speak first.

use crate::route::{Buffers, Route, RunningRelay, address, connect, listener};
use crate::stream::{Seen, receive_all, receive_exactly, send};
use hoptrail_relay::ledger::{Cause, End, Step};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The client was connected already, so all that it can be shown is a reset; an end would look like an empty answer.
fn is_unreachable(relay: &RunningRelay, errno: Errno) {
    let client = connect(relay.at, Buffers::default());
    // Sending may fail already.
    let _ = send(&client, 0, 100);
    assert_eq!(receive_all(&client, 0), (0, Seen::Reset));
    let (ledger, end) = relay.record.next_end();
    let cause = Cause { step: Step::Connect, errno: errno.raw_os_error() };
    assert_eq!((end, ledger.from_client), (End::Unreachable(cause), 0));
}

#[test]
fn a_refused_connection_is_a_reset() {
    let closed = address(&listener(Buffers::default()));
    is_unreachable(&RunningRelay::to(closed, |_| {}), Errno::CONNREFUSED);
}

#[test]
fn an_address_that_cannot_be_dialled_is_a_reset() {
    let broadcast = SocketAddr::from(([255, 255, 255, 255], 9));
    // The file would not take it.
    let relay = RunningRelay::to(([127, 0, 0, 1], 9).into(), |c| c.forward = Some(broadcast));
    let client = connect(relay.at, Buffers::default());
    assert_eq!(receive_all(&client, 0), (0, Seen::Reset));
    let (_, end) = relay.record.next_end();
    assert!(matches!(end, End::Unreachable(Cause { step: Step::Connect, .. })), "{end:?}");
}

/// A listener whose queue is full answers nothing at all, until something is accepted.
struct Silent {
    listener: Socket,
    filling: Vec<Socket>,
}

impl Silent {
    fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let mut filling = Vec::new();
        loop {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let to = address(&listener).into();
            let connected = socket.connect_timeout(&to, Duration::from_millis(500));
            if connected.is_err() {
                return Self { listener, filling };
            }
            filling.push(socket);
        }
    }

    /// The next connection that is not one of those that have filled the queue.
    fn accept(&self) -> TcpStream {
        for _ in &self.filling {
            self.listener.accept().unwrap();
        }
        self.listener.accept().unwrap().0.into()
    }
}

#[test]
fn a_connection_that_takes_too_long_is_a_reset() {
    let silent = Silent::new();
    let to = address(&silent.listener);
    let relay = RunningRelay::to(to, |c| c.connect_timeout = Duration::from_millis(300));
    is_unreachable(&relay, Errno::TIMEDOUT);
}

#[test]
fn what_was_sent_and_closed_before_the_upstream_was_there_arrives() {
    let silent = Silent::new();
    let relay = RunningRelay::to(address(&silent.listener), |_| {});
    let client = connect(relay.at, Buffers::default());
    send(&client, 0, 100_000).unwrap();
    drop(client);
    let server = silent.accept();
    assert_eq!(receive_all(&server, 0), (100_000, Seen::End));
    drop(server);
    let (ledger, end) = relay.record.next_end();
    assert_eq!((end, ledger.from_client), (End::Closed, 100_000));
}

#[test]
fn a_client_that_resets_before_the_upstream_is_there() {
    let silent = Silent::new();
    let relay = RunningRelay::to(address(&silent.listener), |_| {});
    let client = connect(relay.at, Buffers::default());
    send(&client, 0, 100).unwrap();
    crate::route::reset(client);
    assert_eq!(relay.record.next_end().1, End::ClientReset);
}

#[test]
fn a_server_that_speaks_first() {
    for route in Route::each() {
        let (client, server) = route.pair();
        send(&server, 0, 3000).unwrap();
        receive_exactly(&client, 0, 3000);
        send(&client, 0, 30).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&server, 0), (30, Seen::End));
        drop(server);
        assert_eq!(receive_all(&client, 3000), (0, Seen::End));
    }
}

/// A rejection: a word and a close, before the relay has had time for anything.
#[test]
fn a_server_that_answers_and_leaves_at_once() {
    for route in Route::each() {
        for n in 0..100 {
            let client = connect(route.to, Buffers::default());
            let server = route.accept();
            send(&server, 0, 500).unwrap();
            if n % 2 == 0 {
                drop(server);
                assert_eq!(receive_all(&client, 0), (500, Seen::End));
            } else {
                crate::route::reset(server);
                assert_eq!(receive_all(&client, 0), (500, Seen::Reset));
            }
        }
    }
}

/// What could be the beginning of something known is not held back until it is clear.
#[test]
fn first_bytes_pass_whatever_they_may_become() {
    for route in Route::each() {
        for first in [&b"G"[..], b"\x16\x03", b"SSH", b"PRI * HTTP", b"\0", b"\0\x20", b"EHLO"] {
            let (client, server) = route.pair();
            rustix::io::write(&client, first).unwrap();
            let mut read = vec![0; first.len()];
            std::io::Read::read_exact(&mut &server, &mut read).unwrap();
            assert_eq!(read, first);
            send(&server, 0, 10).unwrap();
            receive_exactly(&client, 0, 10);
        }
    }
}
