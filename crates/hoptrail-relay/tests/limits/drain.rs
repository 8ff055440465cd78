//! The order to stop: no new connections, time for the open ones, and then a reset.

use crate::route::{Buffers, Route, connect};
use crate::stream::{Seen, receive_all, receive_exactly, send};
use hoptrail_relay::Ended;
use hoptrail_relay::ledger::End;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const MANY: usize = 200;

fn stop(route: &mut Route, within: Duration) -> Ended {
    route.relay.take().unwrap().drain(within)
}

#[test]
fn without_connections_it_ends_at_once() {
    assert_eq!(stop(&mut Route::relayed(), HOUR), Ended { finished: 0, reset: 0 });
}

#[test]
fn who_is_in_the_queue_is_served_and_later_ones_are_refused() {
    let mut route = Route::relayed();
    let clients: Vec<_> = (0..MANY).map(|_| connect(route.to, Buffers::default())).collect();
    route.relay.as_ref().unwrap().relay().drain(HOUR);
    for client in &clients {
        send(client, 0, 100).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    let servers: Vec<_> = (0..MANY).map(|_| route.accept()).collect();
    let refused = TcpStream::connect(route.to).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for server in servers {
        assert_eq!(receive_all(&server, 0), (100, Seen::End));
        send(&server, 7, 1000).unwrap();
    }
    assert!(clients.iter().all(|client| receive_all(client, 7) == (1000, Seen::End)));
    assert_eq!(stop(&mut route, HOUR), Ended { finished: MANY as u64, reset: 0 });
}

#[test]
fn at_the_deadline_the_rest_is_reset() {
    let mut route = Route::relayed();
    let record = route.relay.as_ref().unwrap().record.clone();
    let pairs: Vec<_> = (0..10).map(|_| route.pair()).collect();
    for (client, server) in &pairs {
        send(client, 0, 10).unwrap();
        receive_exactly(server, 0, 10);
    }
    let relay = route.relay.as_ref().unwrap().relay();
    relay.drain(HOUR);
    for (client, server) in &pairs[..4] {
        client.shutdown(Shutdown::Write).unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(client, 0), (0, Seen::End));
    }
    assert!(record.ends(4).iter().all(|(_, end)| *end == End::Closed));
    assert_eq!(stop(&mut route, Duration::ZERO), Ended { finished: 4, reset: 6 });
    for (client, server) in &pairs[4..] {
        assert_eq!(receive_all(client, 0), (0, Seen::Reset));
        assert_eq!(receive_all(server, 10), (0, Seen::Reset));
    }
    assert!(record.ends(6).iter().all(|(_, end)| *end == End::Drained));
}

#[test]
fn an_earlier_deadline_comes_by_itself() {
    let mut route = Route::relayed();
    let (client, server) = route.pair();
    route.relay.as_ref().unwrap().relay().drain(HOUR);
    assert_eq!(stop(&mut route, Duration::from_millis(100)), Ended { finished: 0, reset: 1 });
    assert_eq!(receive_all(&client, 0), (0, Seen::Reset));
    assert_eq!(receive_all(&server, 0), (0, Seen::Reset));
}

/// A client that nobody serves must not keep the relay from ending.
#[test]
fn blocked_and_unconnected_ones_are_reset_too() {
    let mut route = Route::relayed();
    let (client, server) = route.pair();
    client.set_nonblocking(true).unwrap();
    let full = (0..).find_map(|at| send(&client, at, 1 << 16).err());
    assert_eq!(full.unwrap().kind(), ErrorKind::WouldBlock);
    assert_eq!(stop(&mut route, Duration::ZERO), Ended { finished: 0, reset: 1 });
    drop(server);
}
