//! More connections than there is room for: they wait, none is lost, and one notice says so.

use crate::child::Scarce;
use crate::route::{Buffers, RunningRelay, address, connect, listener};
use crate::stream::{Seen, receive_all, receive_exactly, send};
use socket2::Socket;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

const CLIENTS: u64 = 120;

/// Clients that have connected and said something, whether they were accepted or not.
fn clients(to: SocketAddr) -> Vec<TcpStream> {
    let client = |n| {
        let client = connect(to, Buffers::default());
        send(&client, n, 100).unwrap();
        client
    };
    (0..CLIENTS).map(client).collect()
}

/// Answers everyone who gets through, until all have.
fn serve(listener: &Socket) {
    for _ in 0..CLIENTS {
        let server: TcpStream = listener.accept().unwrap().0.into();
        thread::spawn(move || {
            std::io::copy(&mut (&server), &mut (&server)).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
    }
}

/// Each has its own bytes back, and an end.
fn finish(clients: Vec<TcpStream>) {
    for (n, client) in (0..).zip(clients) {
        client.shutdown(Shutdown::Write).unwrap();
        receive_exactly(&client, n, 100);
        assert_eq!(receive_all(&client, n + 100), (0, Seen::End));
    }
}

#[test]
fn descriptors_run_out() {
    // With an odd number the last is enough to accept, and not to dial.
    for left in [20, 21, 1, 0] {
        let server = listener(Buffers::default());
        let mut relay = Scarce::start(address(&server), left);
        let clients = clients(relay.at);
        relay.wait_for_pauses(1);
        if left < 2 {
            // There is never room for one.
            assert_eq!(relay.end(), "[true]");
            continue;
        }
        let serving = thread::spawn(move || serve(&server));
        finish(clients);
        serving.join().unwrap();
        relay.wait_for_pauses(2);
        assert_eq!(relay.end(), "[true, false]");
    }
}

#[test]
fn the_most_connections_are_there_already() {
    let server = listener(Buffers::default());
    let five = std::num::NonZeroUsize::new(5);
    let relay = RunningRelay::to(address(&server), |config| config.max_connections = five);
    let clients = clients(relay.at);
    relay.record.pauses(1);
    let serving = thread::spawn(move || serve(&server));
    finish(clients);
    serving.join().unwrap();
    assert_eq!(relay.record.pauses(2), [true, false]);
    assert_eq!(relay.record.opened(), CLIENTS);
}
