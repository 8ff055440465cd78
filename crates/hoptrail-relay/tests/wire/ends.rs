//! Half-closes, closes and resets, as each side sees them.

use crate::route::{Route, reset};
use crate::stream::{Seen, receive_all, receive_exactly, send};
use hoptrail_relay::ledger::End;
use std::net::{Shutdown, TcpStream};
use std::thread;

const MUCH: u64 = 3 << 20;
/// Races between an end and a reset need some luck to be seen.
const TRIES: usize = 200;

/// Which of the two does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Client,
    Server,
}

const BOTH: [By; 2] = [By::Client, By::Server];

impl By {
    /// The one who does it, and the other.
    fn first(self, (client, server): (TcpStream, TcpStream)) -> (TcpStream, TcpStream) {
        match self {
            Self::Client => (client, server),
            Self::Server => (server, client),
        }
    }

    fn reset(self) -> End {
        match self {
            Self::Client => End::ClientReset,
            Self::Server => End::UpstreamReset,
        }
    }
}

/// What the ledger says: the end, and the bytes from the one who does it and from the other.
fn told(route: &Route, by: By) -> Option<(End, u64, u64)> {
    route.relay.as_ref()?;
    let (ledger, end) = route.record().next_end();
    Some(match by {
        By::Client => (end, ledger.from_client, ledger.from_upstream),
        By::Server => (end, ledger.from_upstream, ledger.from_client),
    })
}

#[test]
fn a_half_close_leaves_the_other_direction_open() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        let (first, other) = by.first(route.pair());
        send(&first, 0, 10).unwrap();
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&other, 0), (10, Seen::End));
        let sender = thread::spawn(move || {
            send(&other, 0, MUCH).unwrap();
            other.shutdown(Shutdown::Write).unwrap();
            other
        });
        assert_eq!(receive_all(&first, 0), (MUCH, Seen::End));
        drop(sender.join().unwrap());
        assert!(told(route, by).is_none_or(|told| told == (End::Closed, 10, MUCH)));
    }
}

#[test]
fn an_end_without_any_byte() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        let (first, other) = by.first(route.pair());
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&other, 0), (0, Seen::End));
        drop(other);
        assert_eq!(receive_all(&first, 0), (0, Seen::End));
        assert!(told(route, by).is_none_or(|told| told == (End::Closed, 0, 0)));
    }
}

#[test]
fn a_reset_of_an_idle_connection_is_no_end() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        for _ in 0..TRIES {
            let (first, other) = by.first(route.pair());
            send(&first, 0, 10).unwrap();
            receive_exactly(&other, 0, 10);
            let reader = thread::spawn(move || receive_all(&other, 10));
            reset(first);
            assert_eq!(reader.join().unwrap(), (0, Seen::Reset));
            assert!(told(route, by).is_none_or(|told| told == (by.reset(), 10, 0)));
        }
    }
}

/// What was cut off must not look complete.
#[test]
fn a_reset_after_the_others_half_close_is_no_end() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        for _ in 0..TRIES {
            let (first, other) = by.first(route.pair());
            other.shutdown(Shutdown::Write).unwrap();
            assert_eq!(receive_all(&first, 0), (0, Seen::End));
            send(&first, 0, 1000).unwrap();
            receive_exactly(&other, 0, 1000);
            let reader = thread::spawn(move || receive_all(&other, 1000));
            reset(first);
            assert_eq!(reader.join().unwrap(), (0, Seen::Reset));
            assert!(told(route, by).is_none_or(|told| told == (by.reset(), 1000, 0)));
        }
    }
}

#[test]
fn a_reset_after_the_own_half_close_reaches_a_writer() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        let (first, other) = by.first(route.pair());
        first.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&other, 0), (0, Seen::End));
        let writer = thread::spawn(move || (0..).find_map(|at| send(&other, at, 1000).err()));
        receive_exactly(&first, 0, 1);
        reset(first);
        assert!(crate::stream::is_reset(&writer.join().unwrap().unwrap()));
        assert!(told(route, by).is_none_or(|told| told.0 == by.reset()));
    }
}

#[test]
fn a_reset_of_the_reader_stops_the_writer() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        let (first, other) = by.first(route.pair());
        let writer = thread::spawn(move || send(&other, 0, u64::MAX >> 1).unwrap_err());
        receive_exactly(&first, 0, MUCH);
        reset(first);
        assert!(crate::stream::is_reset(&writer.join().unwrap()));
        let told = told(route, by);
        assert!(told.is_none_or(|(end, _, bytes)| end == by.reset() && bytes >= MUCH), "{told:?}");
    }
}

#[test]
fn a_reset_of_the_writer_reaches_the_reader_in_the_middle() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        for _ in 0..20 {
            let (first, other) = by.first(route.pair());
            let reader = thread::spawn(move || receive_all(&other, 0));
            send(&first, 0, MUCH).unwrap();
            reset(first);
            let (read, seen) = reader.join().unwrap();
            assert_eq!(seen, Seen::Reset);
            let told = told(route, by);
            let fits = |(end, bytes, _)| end == by.reset() && (read..=MUCH).contains(&bytes);
            assert!(told.is_none_or(fits), "{read} read: {told:?}");
        }
    }
}

/// Closing with unread bytes is a reset too; servers do that which answer before they have read all.
#[test]
fn an_answer_before_a_reset_arrives() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        for _ in 0..TRIES {
            let (first, other) = by.first(route.pair());
            send(&other, 0, 1000).unwrap();
            receive_exactly(&first, 0, 1);
            send(&first, 0, 10_000).unwrap();
            drop(first);
            assert_eq!(receive_all(&other, 0), (10_000, Seen::Reset));
            let told = told(route, by);
            assert!(told.is_none_or(|told| told == (by.reset(), 10_000, 1000)), "{told:?}");
        }
    }
}

/// The other side's bytes have nowhere to go any more; its own still have.
#[test]
fn last_bytes_before_a_reset_arrive_while_the_other_talks() {
    for (route, by) in Route::each().iter().flat_map(|r| BOTH.map(|by| (r, by))) {
        for _ in 0..TRIES {
            let (first, other) = by.first(route.pair());
            let talker = other.try_clone().unwrap();
            let writer = thread::spawn(move || (0..).find_map(|at| send(&talker, at, 100).err()));
            receive_exactly(&first, 0, 1);
            send(&first, 0, 5000).unwrap();
            reset(first);
            let (read, _) = receive_all(&other, 0);
            assert_eq!(read, 5000);
            writer.join().unwrap();
            let told = told(route, by);
            assert!(told.is_none_or(|told| (told.0, told.1) == (by.reset(), 5000)), "{told:?}");
        }
    }
}
