//! A relay in an actor, and what it tells.

use hoptrail_relay::config::{File, Source};
use hoptrail_relay::ledger::{End, Ledger, Observer};
use hoptrail_relay::tap::Taps;
use hoptrail_relay::upstream::Upstream;
use hoptrail_relay::watch::Watch;
use hoptrail_relay::{Parts, Relay};
use hoptrail_testkit::lab::{Actor, Lab, eventually, listener};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

/// What a relay has told of a connection that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) peer: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) pid: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) exe: Option<PathBuf>,
    pub(crate) trail: Option<String>,
    pub(crate) hops: u8,
    pub(crate) name: Option<String>,
    pub(crate) rule: Option<u16>,
    pub(crate) watched: Option<u16>,
    pub(crate) bytes: (u64, u64),
    pub(crate) end: String,
}

struct Running {
    told: Arc<Told>,
    _relay: Relay,
}

#[derive(Default)]
struct Told(Mutex<Vec<Line>>);

/// In the actor.
static RELAY: OnceLock<Running> = OnceLock::new();

impl Observer for Told {
    fn opened(&self, _: &Ledger) {}

    fn ended(&self, ledger: &Ledger, end: End) {
        self.0.lock().unwrap().push(line(ledger, end));
    }

    fn accepting_paused(&self, _: bool) {
        panic!("there are descriptors enough");
    }
}

fn line(ledger: &Ledger, end: End) -> Line {
    let application = ledger.application.as_deref();
    Line {
        peer: ledger.peer,
        destination: ledger.destination,
        pid: application.map(|application| application.pid),
        uid: application.map(|application| application.uid),
        exe: application.and_then(|application| application.exe.clone()),
        trail: ledger.trail.map(|trail| trail.to_string()),
        hops: ledger.hops,
        name: ledger.finding.as_ref().and_then(|finding| finding.name.as_deref().map(Into::into)),
        rule: ledger.rule.map(|rule| rule.0),
        watched: ledger.watched,
        bytes: (ledger.from_client, ledger.from_upstream),
        end: format!("{end:?}"),
    }
}

/// The relay of that provider, in its cgroup, with more settings as in a relay's file.
pub(crate) fn start(lab: &Lab, provider: &str, settings: &str) -> Actor {
    let actor = lab.actor(provider);
    let listen = [true, false].map(|v4| listener(provider, v4).to_string());
    let text = format!("listen = {listen:?}\nprotocol = \"tcp\"\n{settings}");
    actor.run(text, begin).expect("the relay starts");
    actor
}

fn begin(text: String) -> io::Result<()> {
    let source = Source::new("relay.toml".as_ref(), text);
    let file = File::parse(source).map_err(io::Error::other)?;
    let config = file.config();
    let watch = (!config.watch.is_empty()).then(|| Watch::new(&config.watch, config.on_match));
    let taps = watch.transpose().map_err(io::Error::other)?;
    let taps = taps.map(|watch| -> Arc<dyn Taps> { Arc::new(watch) });
    let told = Arc::new(Told::default());
    let observer = told.clone();
    let parts = Parts { upstream: Upstream::Direct, rules: file.rules(), observer, taps };
    let relay = Relay::start(config, parts).map_err(io::Error::other)?;
    assert!(RELAY.set(Running { told, _relay: relay }).is_ok(), "one relay for each actor");
    Ok(())
}

/// What the actor's relay has told, when that many connections have ended.
pub(crate) fn ended(actor: &Actor, n: usize) -> Vec<Line> {
    let ask = |()| Ok(RELAY.get().expect("a relay").told.0.lock().unwrap().clone());
    let mut lines: Vec<Line> = Vec::new();
    eventually("the relay tells of an end", || {
        lines = actor.run((), ask).unwrap();
        lines.len() >= n
    });
    assert_eq!(lines.len(), n, "{lines:?}");
    lines
}

/// The only one.
pub(crate) fn end(actor: &Actor) -> Line {
    ended(actor, 1).remove(0)
}
