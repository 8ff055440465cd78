//! Trails from events in order, out of order, lost, branched and too many.

use super::*;
use hoptrail_core::records::{Exe, Trail};
use std::net::SocketAddr;

const START_NS: u64 = 1_000_000_000;

fn at(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

fn wall(after_us: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(1_000_000 + after_us)
}

/// A trail with one hop per handle, 900 µs apart.
fn trail(id: u64, handles: &[u64]) -> Trail {
    let mut trail = Trail::default();
    trail.header.id = [id, 7];
    trail.header.hops = handles.len() as u8;
    trail.header.protocol = 6;
    trail.header.pid = 4100;
    trail.header.name[..4].copy_from_slice(b"curl");
    let to = at("192.0.2.10:80");
    (trail.header.destination, trail.header.destination_port) =
        (to.ip, hoptrail_core::addr::Port::new(80));
    for (i, &handle) in handles.iter().enumerate() {
        let hop = &mut trail.hops[i];
        hop.handle = handle;
        hop.time_ns = START_NS + i as u64 * 900_000;
        hop.to = at("127.0.0.1:1").ip;
        hop.to_port = hoptrail_core::addr::Port::new(15871 + i as u16);
        hop.flags = u16::from(i > 0);
        hop.pid = 4100 + i as u32;
    }
    trail
}

fn event(kind: EventKind, trail: Trail, after_us: u64) -> Event {
    let mut name = [0; 16];
    name[..5].copy_from_slice(b"proxy");
    Event {
        kind,
        time: wall(after_us),
        protocol: Protocol::Tcp,
        by: Connector { pid: 5012, uid: 0, exe: Exe::default(), name },
        asked: at("192.0.2.10:80"),
        to: at("192.0.2.10:80"),
        provenance: Provenance::Declared,
        reason: Reason::NoFilter,
        handle: 0,
        filter: 0,
        generation: 1,
        trail,
        exe_path: Some("/usr/bin/curl".into()),
    }
}

#[test]
fn two_providers_and_the_destination_make_one_trail_of_three_legs() {
    let mut book = TrailBook::new(8);
    book.add(&event(EventKind::Redirected, trail(1, &[10]), 0));
    book.add(&event(EventKind::Redirected, trail(1, &[10, 20]), 900));
    let whole = book.add(&event(EventKind::Reached, trail(1, &[10, 20]), 1400)).clone();
    assert_eq!(book.trails().count(), 1);
    assert_eq!(whole.application.exe.as_deref(), Some("/usr/bin/curl"));
    assert_eq!((whole.application.pid, whole.application.name.as_str()), (4100, "curl"));
    assert_eq!(whole.legs.iter().map(|leg| leg.depth).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(whole.hops().map(|(_, handle)| handle).collect::<Vec<_>>(), [10, 20]);
    let after: Vec<_> = whole.legs.iter().map(|leg| leg.after.unwrap().as_micros()).collect();
    assert_eq!(after, [0, 900, 1400]);
    assert_eq!(whole.legs[1].provenance, Provenance::Declared);
    assert_eq!(whole.outcome().map(|leg| leg.end), Some(End::Reached));
}

#[test]
fn a_lost_event_is_filled_in_from_the_next() {
    let mut book = TrailBook::new(8);
    let whole = book.add(&event(EventKind::Redirected, trail(1, &[10, 20]), 900));
    assert_eq!(whole.legs.len(), 2);
    assert_eq!(whole.legs[0].by, (4100, None));
    assert_eq!(whole.legs[1].by, (5012, Some("proxy".into())));
    assert_eq!(whole.began, Some(wall(0)), "reckoned back from the second hop");
}

#[test]
fn a_port_that_becomes_known_later_is_filled_in() {
    let mut book = TrailBook::new(8);
    assert_eq!(book.add(&event(EventKind::Redirected, trail(1, &[10]), 0)).legs[0].from, None);
    let mut later = trail(1, &[10, 20]);
    later.hops[0].from = at("127.0.0.1:1").ip;
    later.hops[0].from_port = hoptrail_core::addr::Port::new(40112);
    let known = book.add(&event(EventKind::Redirected, later, 900));
    assert_eq!(known.legs[0].from, Some(at("127.0.0.1:40112")));
    assert_eq!(known.legs.len(), 2, "the hop is the same one");
}

#[test]
fn a_proxy_that_dials_twice_makes_two_branches_of_one_trail() {
    let mut book = TrailBook::new(8);
    book.add(&event(EventKind::Redirected, trail(1, &[10]), 0));
    book.add(&event(EventKind::Reached, trail(1, &[10]), 100));
    let both = book.add(&event(EventKind::Reached, trail(1, &[10]), 200));
    assert_eq!(both.legs.iter().map(|leg| leg.depth).collect::<Vec<_>>(), [1, 2, 2]);
}

#[test]
fn refusals_without_a_trail_are_each_their_own() {
    let mut book = TrailBook::new(8);
    let mut refused = event(EventKind::Refused, trail(0, &[]), 0);
    refused.trail.header.id = [0, 0];
    refused.reason = Reason::FilterBlock;
    refused.handle = 10;
    book.add(&refused);
    book.add(&refused);
    assert_eq!(book.trails().count(), 2);
    let end = book.trails().next().and_then(TrailRecord::outcome).map(|leg| leg.end);
    assert_eq!(end, Some(End::Refused { reason: Reason::FilterBlock, handle: 10, filter: 0 }));
}

#[test]
fn the_oldest_is_forgotten_when_there_are_too_many() {
    let mut book = TrailBook::new(2);
    for id in 1..=5 {
        book.add(&event(EventKind::Redirected, trail(id, &[10]), id));
    }
    assert_eq!(book.trails().map(|trail| trail.id[0]).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(book.forgotten(), 3);
}
