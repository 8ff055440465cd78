//! Both relays, the blocking one and tokio's, between real TCP connections: bytes, half-close,
//! back-pressure and resets arrive as they were sent.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail::{ErrorKind, Relayed, reset};
use std::io::{ErrorKind as Io, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// A client and a server with a relay between them.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    relay: JoinHandle<Relayed>,
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let far = listener.accept().unwrap().0;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    (near, far)
}

/// What relays.
type Way = fn(TcpStream, TcpStream) -> Relayed;

impl Pair {
    fn new(way: Way) -> Self {
        let (client, down) = connected();
        let (up, server) = connected();
        Self { client, server, relay: spawn(move || way(down, up)) }
    }
}

fn with_tokio(first: TcpStream, second: TcpStream) -> Relayed {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let [first, second] = [first, second].map(|stream| {
            stream.set_nonblocking(true).unwrap();
            tokio::net::TcpStream::from_std(stream).unwrap()
        });
        hoptrail::tokio::relay(first, second).await
    })
}

/// Each function as a test of either relay.
macro_rules! both_ways {
    ($($(#[$when:meta])* $name:ident),* $(,)?) => {
        mod blocking {
            $($(#[$when])* #[test] fn $name() { super::$name(hoptrail::relay); })*
        }
        mod with_tokio {
            $($(#[$when])* #[test] fn $name() { super::$name(super::with_tokio); })*
        }
    };
}

both_ways!(
    both_ways_at_once_byte_for_byte,
    a_half_close_leaves_the_other_half_open,
    a_stalled_reader_stops_the_writer_and_loses_nothing,
    #[cfg_attr(windows, ignore = "Wine hides a reset from who reads")]
    a_reset_of_the_client_reaches_the_server,
    #[cfg_attr(windows, ignore = "Wine hides a reset from who reads")]
    a_reset_of_the_server_in_the_middle_of_sending_reaches_the_client,
    #[cfg(unix)]
    a_reset_after_a_half_close_reaches_the_other_side,
    #[cfg(unix)]
    a_reset_is_noticed_while_the_other_side_stalls,
    both_ends_closing_at_once_is_an_orderly_end,
    an_end_at_any_point_of_a_turn_is_passed_on,
);

fn pattern(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn both_ways_at_once_byte_for_byte(way: Way) {
    let Pair { client, server, relay } = Pair::new(way);
    let sends = |mut stream: TcpStream, bytes: Vec<u8>| {
        spawn(move || {
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        })
    };
    let (up, down) = (pattern(5_000_003, 1), pattern(3_000_001, 2));
    let senders = [
        sends(client.try_clone().unwrap(), up.clone()),
        sends(server.try_clone().unwrap(), down.clone()),
    ];
    let from_client = spawn(move || rest(&server));
    assert!(rest(&client) == down);
    assert!(from_client.join().unwrap() == up);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let relayed = relay.join().unwrap();
    assert_eq!((relayed.from_first, relayed.from_second), (5_000_003, 3_000_001));
    assert!(relayed.error.is_none());
}

fn a_half_close_leaves_the_other_half_open(way: Way) {
    let Pair { mut client, mut server, relay } = Pair::new(way);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&server), b"question");
    for _ in 0..3 {
        sleep(Duration::from_millis(20));
        server.write_all(b"answer ").unwrap();
    }
    drop(server);
    assert_eq!(rest(&client), b"answer answer answer ");
    let relayed = relay.join().unwrap();
    assert_eq!((relayed.from_first, relayed.from_second), (8, 21));
    assert!(relayed.error.is_none());
}

fn a_stalled_reader_stops_the_writer_and_loses_nothing(way: Way) {
    let Pair { client, mut server, relay } = Pair::new(way);
    server.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0usize;
    let block = [7; 65_536];
    while let Ok(n) = server.write(&block) {
        sent += n;
        assert!(sent < 256 << 20, "nothing holds the writer back");
    }
    drop(server);
    assert_eq!(rest(&client).len(), sent);
    drop(client);
    assert_eq!(relay.join().unwrap().from_second, sent as u64);
}

/// The survivor must see a reset, never an orderly end.
fn sees_reset(mut survivor: TcpStream) {
    let mut buffer = [0; 65_536];
    loop {
        match survivor.read(&mut buffer) {
            // Wine takes the error for itself; after an orderly end one could still write.
            Ok(0) if cfg!(windows) && survivor.write(b"x").is_err() => return,
            Ok(0) => panic!("an orderly end instead of a reset"),
            Ok(_) => {}
            Err(error) => {
                let reset = [Io::ConnectionReset, Io::ConnectionAborted];
                return assert!(reset.contains(&error.kind()), "{error}");
            }
        }
    }
}

fn a_reset_of_the_client_reaches_the_server(way: Way) {
    let Pair { client, server, relay } = Pair::new(way);
    reset(client).unwrap();
    sees_reset(server);
    assert_eq!(relay.join().unwrap().error.unwrap().kind(), ErrorKind::Reset);
}

fn a_reset_of_the_server_in_the_middle_of_sending_reaches_the_client(way: Way) {
    let Pair { mut client, mut server, relay } = Pair::new(way);
    client.write_all(&pattern(100_000, 3)).unwrap();
    server.read_exact(&mut [0; 1000]).unwrap();
    reset(server).unwrap();
    sees_reset(client);
    assert!(relay.join().unwrap().error.is_some());
}

#[cfg(unix)]
fn a_reset_after_a_half_close_reaches_the_other_side(way: Way) {
    let Pair { client, server, relay } = Pair::new(way);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&server), b"");
    reset(client).unwrap();
    relay.join().unwrap().error.expect("the relay must notice");
    // The server has read the client's end already: what tells it is that writing fails.
    let mut server = server;
    let failed = (0..100).any(|_| {
        sleep(Duration::from_millis(5));
        server.write_all(b"x").is_err()
    });
    assert!(failed);
}

#[cfg(unix)]
fn a_reset_is_noticed_while_the_other_side_stalls(way: Way) {
    let Pair { mut client, server, relay } = Pair::new(way);
    client.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while client.write(&[7; 65_536]).is_ok() {}
    reset(client).unwrap();
    assert!(relay.join().unwrap().error.is_some());
    sees_reset(server);
}

fn both_ends_closing_at_once_is_an_orderly_end(way: Way) {
    for _ in 0..200 {
        let Pair { client, server, relay } = Pair::new(way);
        drop((client, server));
        assert!(relay.join().unwrap().error.is_none());
    }
}

/// The relay takes turns of eight reads of 64 KiB: an end that is the last read of a turn counts too.
fn an_end_at_any_point_of_a_turn_is_passed_on(way: Way) {
    for reads in 5..=18 {
        let (mut client, down) = connected();
        let (up, server) = connected();
        let sent = pattern(reads * 64 * 1024, 3);
        let sender = spawn({
            let sent = sent.clone();
            move || {
                client.write_all(&sent).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
                client
            }
        });
        // As much as the sockets hold is there before the relay begins to read.
        sleep(Duration::from_millis(20));
        let relay = spawn(move || way(down, up));
        assert!(rest(&server) == sent, "{reads} reads");
        drop((sender.join().unwrap(), server));
        assert!(relay.join().unwrap().error.is_none());
    }
}

/// A task that is cancelled must not look like the end of an answer.
#[test]
fn a_relay_that_is_dropped_resets_both() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build().unwrap();
    let (mut client, down) = connected();
    let (up, mut server) = connected();
    let task = runtime.spawn(async {
        let [down, up] = [down, up].map(|stream| {
            stream.set_nonblocking(true).unwrap();
            tokio::net::TcpStream::from_std(stream).unwrap()
        });
        hoptrail::tokio::relay(down, up).await
    });
    client.write_all(b"half of an answer").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    task.abort();
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    sees_reset(server);
    sees_reset(client);
}

/// More pairs than threads: none waits for another.
#[test]
fn a_hundred_pairs_on_one_thread() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
    let _inside = runtime.enter();
    let pairs: Vec<_> = (0..100)
        .map(|_| {
            let (client, down) = connected();
            let (up, server) = connected();
            let [down, up] = [down, up].map(|stream| {
                stream.set_nonblocking(true).unwrap();
                tokio::net::TcpStream::from_std(stream).unwrap()
            });
            (client, server, runtime.spawn(hoptrail::tokio::relay(down, up)))
        })
        .collect();
    for (i, (mut client, mut server, _)) in pairs.iter().map(|(c, s, t)| (c, s, t)).enumerate() {
        client.write_all(&i.to_be_bytes()).unwrap();
        let mut got = [0; 8];
        server.read_exact(&mut got).unwrap();
        assert_eq!(got, i.to_be_bytes());
    }
    for (client, server, task) in pairs {
        drop((client, server));
        let relayed = runtime.block_on(task).unwrap();
        assert_eq!((relayed.from_first, relayed.from_second), (8, 0));
        assert!(relayed.error.is_none());
    }
}
