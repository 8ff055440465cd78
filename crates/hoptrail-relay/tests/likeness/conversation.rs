//! A random conversation, played over each route, and what must hold of it.

use crate::actor::{Leave, Outcome, Script, Write};
use crate::record::Record;
use crate::route::{Buffers, Route, RunningRelay, address, listener};
use crate::stream::Seen;
use crate::tapped;
use hoptrail_relay::config::Inspect;
use hoptrail_relay::ledger::{End, Ledger};
use proptest::prelude::*;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::thread;

#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    client: Script,
    server: Script,
    /// Of client and server, in KiB; 0 leaves them to the system.
    buffers: [usize; 2],
}

/// Directly, and through relays that copy in different ways.
struct Routes {
    direct: Route,
    relayed: Vec<(&'static str, Route)>,
}

static ROUTES: LazyLock<Mutex<Routes>> = LazyLock::new(|| {
    let throttled = tapped::throttled();
    let all = Routes {
        direct: Route::direct(),
        relayed: vec![
            ("first bytes inspected", Route::relayed()),
            ("not inspected", Route::relayed_by(|c| c.inspect = Inspect::None)),
            ("every byte tapped", tapped::tapped()),
            ("throttled", throttled),
            ("two relays", chain()),
        ],
    };
    Mutex::new(all)
});

fn chain() -> Route {
    let listener = listener(Buffers::default());
    let second = RunningRelay::to(address(&listener), |_| {});
    let first = RunningRelay::to(second.at, |_| {});
    // The second one lives as long as this process.
    std::mem::forget(second);
    Route { listener, to: first.at, relay: Some(first) }
}

impl Conversation {
    pub(crate) fn check(&self) {
        let routes = ROUTES.lock().unwrap_or_else(PoisonError::into_inner);
        self.holds("direct", self.play(&routes.direct));
        for (name, route) in &routes.relayed {
            let outcomes = self.play(route);
            eprintln!("{name}: {outcomes:?} of {self:?}");
            self.holds(name, outcomes);
            self.is_told(name, outcomes, route.record());
        }
    }

    fn play(&self, route: &Route) -> [Outcome; 2] {
        // A conversation that has failed before may have left something.
        route.relay.iter().for_each(|relay| relay.record.forget());
        let [client, server] = self.buffers.map(|kib| {
            let bytes = (kib > 0).then_some(kib << 10);
            Buffers { send: bytes, receive: bytes }
        });
        let (client, server) = route.pair_with(client, server);
        let read = [const { AtomicU64::new(0) }; 2];
        thread::scope(|scope| {
            let server = scope.spawn(|| self.server.play(server, &read[0], &read[1]));
            [self.client.play(client, &read[1], &read[0]), server.join().unwrap()]
        })
    }

    /// What TCP promises, directly as through a relay.
    fn holds(&self, route: &str, [client, server]: [Outcome; 2]) {
        for (script, own, peer, other) in [
            (&self.client, client, &self.server, server),
            (&self.server, server, &self.client, client),
        ] {
            let what = format!("{route}: {own:?}, the other {other:?}, of {self:?}");
            // The order is checked while reading.
            assert!(other.read <= script.bytes(), "{what}");
            match (script.leave, peer.leave) {
                (Leave::HalfClose, Leave::HalfClose) => {
                    assert_eq!((own.sent, own.seen), (script.bytes(), Seen::End), "{what}");
                    assert_eq!(other.read, script.bytes(), "{what}");
                }
                // Who does not reset sees the other's reset, never an end, which would look complete.
                (Leave::HalfClose, _) => assert_eq!(own.seen, Seen::Reset, "{what}"),
                (Leave::ResetWhenRead, Leave::HalfClose) => {
                    assert_eq!(other.read, script.bytes(), "{what}");
                }
                _ => {}
            }
        }
    }

    /// What the ledger says.
    fn is_told(&self, route: &str, [client, server]: [Outcome; 2], record: &Record) {
        let (ledger, end) = record.next_end();
        let what = format!("{route}: {end:?}, {client:?}, {server:?}, {self:?}");
        let resets = [&self.client, &self.server].map(|script| script.leave != Leave::HalfClose);
        match resets {
            [false, false] => assert_eq!(end, End::Closed, "{what}"),
            [true, false] => assert_eq!(end, End::ClientReset, "{what}"),
            [false, true] => assert_eq!(end, End::UpstreamReset, "{what}"),
            [true, true] => assert!(matches!(end, End::ClientReset | End::UpstreamReset), "{what}"),
        }
        let Ledger { from_client, from_upstream, .. } = ledger;
        for (counted, script, reader) in
            [(from_client, &self.client, server), (from_upstream, &self.server, client)]
        {
            assert!((reader.read..=script.bytes()).contains(&counted), "{counted} counted, {what}");
        }
    }
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let write = prop_oneof![
        5 => (1..200u64).prop_map(Write::Send),
        4 => (1..100_000u64).prop_map(Write::Send),
        2 => (100_000..3_000_000u64).prop_map(Write::Send),
        2 => (0..8u64).prop_map(Write::Pause),
    ];
    prop::collection::vec(write, 0..8)
}

fn scripts() -> impl Strategy<Value = Script> {
    let leave = prop_oneof![
        6 => Just(Leave::HalfClose),
        1 => Just(Leave::Reset),
        1 => Just(Leave::ResetWhenRead),
    ];
    let stalls = prop::collection::vec(0..30u64, 0..4);
    (writes(), leave, 1000..100_000usize, stalls)
        .prop_map(|(writes, leave, reads, stalls)| Script { writes, leave, reads, stalls })
}

pub(crate) fn conversations() -> impl Strategy<Value = Conversation> {
    let buffers = || prop_oneof![2 => Just(0usize), 1 => 130..400usize];
    (scripts(), scripts(), buffers(), buffers()).prop_map(|(client, server, one, other)| {
        Conversation { client, server, buffers: [one, other] }
    })
}
