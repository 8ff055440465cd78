//! Workers share what comes, whichever of them has accepted it.

use crate::route::{Buffers, Route, connect};
use crate::stream::{Seen, receive_all};
use hoptrail_relay::config::{File, Source};
use hoptrail_relay::ledger::End;
use hoptrail_relay::rules::Rules;
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
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

fn rules(action: &str) -> Arc<Rules> {
    let text = format!("listen = \"127.0.0.1:1\"\ndefault = \"{action}\"\n");
    File::parse(Source::new("relay.toml".as_ref(), text)).unwrap().rules()
}
