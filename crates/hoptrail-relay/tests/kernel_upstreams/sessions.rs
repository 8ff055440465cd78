//! The relay's UDP thread in an actor, what it tells, and the two sides that talk through it.

use hoptrail::UdpProxySocket;
use hoptrail_relay::config::{File, Source};
use hoptrail_relay::counters::Counters;
use hoptrail_relay::drain::Drain;
use hoptrail_relay::ledger::{End, Ledger, Observer};
use hoptrail_relay::udp::{Lost, Served, UdpConfig, UdpCounts, UdpError, serve};
use hoptrail_relay::upstream::Upstream;
use hoptrail_testkit::lab::stage::keep;
use hoptrail_testkit::lab::{Actor, Lab, eventually, listener};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long an answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How a relay is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) upstream: String,
    pub(crate) forward: Option<SocketAddr>,
    pub(crate) most_flows: usize,
    pub(crate) idle_ms: u64,
    /// As in a relay's file.
    pub(crate) rules: String,
}

/// What a relay has told of a flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) destination: SocketAddr,
    pub(crate) pid: Option<u32>,
    pub(crate) hops: u8,
    pub(crate) name: Option<String>,
    pub(crate) rule: Option<u16>,
    pub(crate) from_client: u64,
    pub(crate) from_upstream: u64,
    pub(crate) end: String,
}

/// What it has told of all, and counted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) opened: Vec<Line>,
    pub(crate) ended: Vec<Line>,
    pub(crate) lost: HashMap<String, u64>,
    pub(crate) datagrams: (u64, u64),
    pub(crate) bytes: (u64, u64),
    pub(crate) evicted: u64,
    pub(crate) open: u64,
}

/// In the actor.
struct Running {
    told: Arc<Told>,
    counters: Arc<Counters>,
    counts: Arc<UdpCounts>,
    drain: Arc<Drain>,
    thread: Mutex<Option<JoinHandle<Result<Served, UdpError>>>>,
}

static RELAY: OnceLock<Running> = OnceLock::new();

#[derive(Default)]
struct Told {
    opened: Mutex<Vec<Line>>,
    ended: Mutex<Vec<Line>>,
}

impl Observer for Told {
    fn opened(&self, ledger: &Ledger) {
        self.opened.lock().unwrap().push(line(ledger, String::new()));
    }

    fn ended(&self, ledger: &Ledger, end: End) {
        self.ended.lock().unwrap().push(line(ledger, format!("{end:?}")));
    }

    fn accepting_paused(&self, _: bool) {
        panic!("UDP never pauses");
    }
}

fn line(ledger: &Ledger, end: String) -> Line {
    Line {
        destination: ledger.destination,
        pid: ledger.application.as_ref().map(|application| application.pid),
        hops: ledger.hops,
        name: ledger.finding.as_ref().and_then(|finding| finding.name.as_deref().map(Into::into)),
        rule: ledger.rule.map(|rule| rule.0),
        from_client: ledger.from_client,
        from_upstream: ledger.from_upstream,
        end,
    }
}

impl Settings {
    /// Acme's relay.
    pub(crate) fn acme() -> Self {
        Self {
            listen: vec![listener("acme", true), listener("acme", false)],
            upstream: "direct".into(),
            forward: None,
            most_flows: 4096,
            idle_ms: 60_000,
            rules: String::new(),
        }
    }
}

/// Starts a relay in the actor.
pub(crate) fn start(actor: &Actor, settings: &Settings) {
    actor.run(settings.clone(), begin).expect("the relay listens");
}

fn begin(settings: Settings) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let many = Rlimit { current: Some(20_000), maximum: Some(20_000) };
    setrlimit(Resource::Nofile, many)?;
    let bind = |at: &SocketAddr| UdpProxySocket::bind(at).map_err(io::Error::from);
    let listeners = settings.listen.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
    let file = Source::new("relay.toml".as_ref(), settings.rules);
    let rules = File::parse(file).map_err(io::Error::other)?.rules();
    let config = UdpConfig {
        upstream: Upstream::of(&settings.upstream).map_err(io::Error::other)?,
        forward: settings.forward,
        most_flows: settings.most_flows,
        idle: Duration::from_millis(settings.idle_ms),
        patience: Duration::from_secs(10),
        inspect: true,
        rules: Box::new(move || Arc::clone(&rules)),
    };
    let (told, counters, counts) = (Arc::default(), Arc::default(), Arc::default());
    let drain = Arc::new(Drain::new()?);
    let running = Running { told, counters, counts, drain, thread: Mutex::default() };
    let relay = RELAY.get_or_init(|| running);
    *relay.thread.lock().unwrap() = Some(std::thread::spawn(move || {
        let (counters, counts) = (&relay.counters, &relay.counts);
        serve(&config, &listeners, &*relay.told, counters, counts, &relay.drain)
    }));
    Ok(())
}

/// What the actor's relay has told so far.
pub(crate) fn report(actor: &Actor) -> Report {
    actor.run((), |()| Ok(RELAY.get().expect("a relay").report())).unwrap()
}

impl Running {
    fn report(&self) -> Report {
        let (counters, counts) = (&self.counters, &self.counts);
        let lost = Lost::ALL.map(|why| (why.name().to_owned(), counts.lost(why)));
        Report {
            opened: self.told.opened.lock().unwrap().clone(),
            ended: self.told.ended.lock().unwrap().clone(),
            lost: lost.into_iter().filter(|(_, n)| *n > 0).collect(),
            datagrams: (counts.from_client.load(Relaxed), counts.from_upstream.load(Relaxed)),
            bytes: (counters.from_client.load(Relaxed), counters.from_upstream.load(Relaxed)),
            evicted: counts.evicted.load(Relaxed),
            open: counters.open.load(Relaxed),
        }
    }
}

/// Waits until what the relay has told is as it should be.
pub(crate) fn told(actor: &Actor, what: &str, is: impl Fn(&Report) -> bool) -> Report {
    let mut last = report(actor);
    eventually(&format!("{what}; it is {last:?}"), || {
        last = report(actor);
        is(&last)
    });
    last
}

/// Tells it to stop within so many milliseconds.
pub(crate) fn drain(actor: &Actor, within_ms: u64) {
    let begin = |ms| {
        RELAY.get().expect("a relay").drain.begin(Duration::from_millis(ms));
        Ok(())
    };
    actor.run(within_ms, begin).unwrap();
}

/// Waits for its end: flows that finished, and that were cut.
pub(crate) fn stopped(actor: &Actor) -> (usize, usize) {
    let wait = |()| {
        let thread = RELAY.get().expect("a relay").thread.lock().unwrap().take();
        let served =
            thread.expect("it runs").join().expect("no panic").map_err(io::Error::other)?;
        Ok((served.finished, served.cut))
    };
    actor.run((), wait).unwrap()
}

/// A server outside that sends every datagram back as it is.
pub(crate) fn echo(lab: &Lab, at: SocketAddr) {
    let socket = lab.inside(|| UdpSocket::bind(at)).unwrap();
    std::thread::spawn(move || {
        let mut datagram = vec![0; 1 << 16];
        while let Ok((n, from)) = socket.recv_from(&mut datagram) {
            socket.send_to(&datagram[..n], from).expect("an answer");
        }
    });
}

/// In a client: opens sockets that stay open, and asks each destination from each; every answer must
/// come from where it was asked, and be the question.
pub(crate) fn ask((sockets, destinations): (usize, Vec<SocketAddr>)) -> io::Result<Vec<i32>> {
    let any = if destinations[0].is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let mut kept = vec![];
    for number in 0..sockets {
        let socket = UdpSocket::bind(any)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        for to in &destinations {
            ask_once(&socket, *to, format!("{} {number} {to}", std::process::id()).as_bytes())?;
        }
        kept.push(keep(socket));
    }
    Ok(kept)
}

/// One question and its answer.
pub(crate) fn ask_once(socket: &UdpSocket, to: SocketAddr, question: &[u8]) -> io::Result<()> {
    assert_eq!(socket.send_to(question, to)?, question.len());
    let mut answer = vec![0; 1 << 16];
    let (n, from) = socket.recv_from(&mut answer)?;
    assert_eq!(from, to);
    assert!(answer[..n] == *question, "{n} bytes for {}", question.len());
    Ok(())
}

/// In a client: asks once more from a socket that was kept.
pub(crate) fn ask_again((fd, to): (i32, SocketAddr)) -> io::Result<()> {
    let socket = UdpSocket::from(hoptrail_testkit::lab::stage::held(fd)?.try_clone()?);
    ask_once(&socket, to, b"again")
}
