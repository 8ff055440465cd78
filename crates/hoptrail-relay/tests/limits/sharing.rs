//! Workers share what comes, whichever of them has accepted it.

use crate::route::{Buffers, Route, address, connect, listener};
use crate::stream::{Seen, receive_all, receive_exactly, send};
use hoptrail_relay::config::{Config, File, Source};
use hoptrail_relay::ledger::{End, Ledger, Observer};
use hoptrail_relay::rules::Rules;
use hoptrail_relay::upstream::Upstream;
use hoptrail_relay::{Parts, Relay};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

const WORKERS: u64 = 3;
const CONNECTIONS: u64 = 30;

/// How many connections each worker has, once all of them are open.
fn shares(route: &Route) -> Vec<u64> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let counters = route.relay.as_ref().unwrap().relay().counters();
        let open: Vec<_> = counters.iter().map(|worker| worker.open.load(Relaxed)).collect();
        if open.iter().sum::<u64>() == CONNECTIONS {
            return open;
        }
        assert!(Instant::now() < deadline, "{open:?}");
        sleep(Duration::from_millis(5));
    }
}

/// Connections that nobody has ended, and an equal share of them for each worker, but for two.
fn open_and_compare(route: &Route) -> Vec<(TcpStream, TcpStream)> {
    let pairs = (0..CONNECTIONS).map(|_| route.pair()).collect();
    let shares = shares(route);
    let (most, least) = (shares.iter().max().unwrap(), shares.iter().min().unwrap());
    assert!(most - least <= 2, "{shares:?}");
    pairs
}

#[test]
fn no_worker_has_many_more_than_another() {
    let route = Route::relayed_by(|config| config.threads = NonZeroUsize::new(WORKERS as usize));
    for _ in 0..3 {
        drop(open_and_compare(&route));
        let ends = route.record().ends(CONNECTIONS as usize);
        assert!(ends.iter().all(|(_, end)| *end == End::Closed));
    }
}

/// Otherwise whoever has refused more than others would be given less for ever.
#[test]
fn refused_connections_count_for_nobody() {
    let route = Route::relayed_by(|config| config.threads = NonZeroUsize::new(WORKERS as usize));
    let relay = route.relay.as_ref().unwrap().relay();
    relay.set_rules(rules("deny"));
    for _ in 0..3 * CONNECTIONS {
        let client = connect(route.to, Buffers::default());
        assert_eq!(receive_all(&client, 0), (0, Seen::Reset));
    }
    relay.set_rules(rules("allow"));
    open_and_compare(&route);
}

/// One that panics when a connection opens, once.
#[derive(Default)]
struct Fragile {
    broken: AtomicBool,
}

impl Observer for Fragile {
    fn opened(&self, _: &Ledger) {
        assert!(self.broken.swap(true, Relaxed), "the first connection ends its worker");
    }

    fn ended(&self, _: &Ledger, _: End) {}

    fn accepting_paused(&self, _: bool) {}
}

#[test]
fn a_worker_that_has_panicked_is_given_nothing_and_keeps_nobody_waiting() {
    let server = listener(Buffers::default());
    let text = format!(
        "listen = \"127.0.0.1:0\"\nforward = \"{}\"\nprotocol = \"tcp\"\n",
        address(&server)
    );
    let file = File::parse(Source::new("relay.toml".as_ref(), text)).unwrap();
    let config = Config { threads: NonZeroUsize::new(WORKERS as usize), ..file.config() };
    let (observer, rules) = (Arc::new(Fragile::default()), file.rules());
    let parts = Parts { upstream: Upstream::Direct, rules, observer, taps: None };
    let relay = Relay::start(config, parts).unwrap();
    let to = relay.addresses()[0];
    let lost = connect(to, Buffers::default());
    // It was dialled before it was told.
    drop(server.accept().unwrap());
    assert_eq!(receive_all(&lost, 0).0, 0);
    let pairs: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let client = connect(to, Buffers::default());
            (client, TcpStream::from(server.accept().unwrap().0))
        })
        .collect();
    for (client, server) in &pairs {
        send(client, 0, 100).unwrap();
        receive_exactly(server, 0, 100);
    }
    assert_eq!(relay.working(), WORKERS as usize - 1);
    let mut shares: Vec<_> = relay.counters().iter().map(|it| it.open.load(Relaxed)).collect();
    shares.sort_unstable();
    assert!(shares[0] == 0 && shares[2] - shares[1] <= 2, "{shares:?}");
    drop(pairs);
    relay.drain(Duration::ZERO);
    assert_eq!(relay.wait().unwrap_err().to_string(), "a worker has panicked");
}

fn rules(action: &str) -> Arc<Rules> {
    let text = format!("listen = \"127.0.0.1:1\"\ndefault = \"{action}\"\n");
    File::parse(Source::new("relay.toml".as_ref(), text)).unwrap().rules()
}
