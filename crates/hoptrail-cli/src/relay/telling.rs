//! Everything that a relay tells while it runs: log, metrics, live line, and sentences on standard error.

use super::settings::Reloaded;
use crate::failure::Failure;
use crate::output;
use hoptrail_engine::host::users;
use hoptrail_relay::config::{Config, Live as WantsLive, LogFormat};
use hoptrail_relay::counters::Counters;
use hoptrail_relay::observe::Observation;
use hoptrail_relay::observe::live::{Live, Screen, TerminalSink};
use hoptrail_relay::observe::log::{Log, Users, text_line};
use hoptrail_relay::observe::metrics::{Metrics, Server};
use hoptrail_relay::{Ended, Relay};
use std::io::{self, IsTerminal};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long the last lines of the log are waited for.
const LAST_LINES: Duration = Duration::from_secs(2);
/// Pauses may come and go many times a second.
const BETWEEN_PAUSES: Duration = Duration::from_secs(30);
/// Of the connections that had to be reset, so many are named.
const NAMED: usize = 20;

/// All of it.
pub(super) struct Telling {
    observation: Arc<Observation>,
    screen: Option<Arc<Screen>>,
    live: Option<Live>,
    server: Option<Server>,
    /// Pauses of which the user knows, and since when.
    pauses: u64,
    told_pause: Option<Instant>,
    /// What keeps the log from being written, as far as the user knows.
    told_trouble: Option<io::ErrorKind>,
}

impl Telling {
    /// Starts the log, before there is anything to tell.
    pub(super) fn start(config: &Config) -> Result<Self, Failure> {
        let wants = config.live == WantsLive::Auto;
        let screen = wants.then(Screen::of_stderr).flatten().map(Arc::new);
        let log = log(config.log, screen.as_ref())
            .map_err(|error| Failure::os("cannot start the log", error))?;
        Ok(Self {
            observation: Arc::new(Observation::new(log)),
            screen,
            live: None,
            server: None,
            pauses: 0,
            told_pause: None,
            told_trouble: None,
        })
    }

    /// The relay's observer.
    pub(super) fn observation(&self) -> Arc<Observation> {
        Arc::clone(&self.observation)
    }

    /// Starts what also tells of the relay's counters.
    pub(super) fn follow(
        &mut self,
        config: &Config,
        relay: &Relay,
        metrics: Option<TcpListener>,
    ) -> Result<(), Failure> {
        let counters = relay.counters();
        if let Some(listener) = metrics {
            let mut metrics = Metrics::new(self.observation(), counters);
            if let Some(counts) = relay.udp_counts() {
                metrics = metrics.with_udp(Arc::clone(counts));
            }
            let server = Server::start(listener, metrics)
                .map_err(|error| Failure::os("cannot start the metrics server", error))?;
            self.server = Some(server);
        }
        if let Some(at) = config.metrics.filter(|at| !at.ip().is_loopback()) {
            self.warn(&format!(
                "metrics are served at {at}, which is not loopback: everyone who reaches it can read them"
            ));
        }
        if let Some(screen) = &self.screen {
            let live = Live::start(Arc::clone(screen), self.observation(), counters.to_vec())
                .map_err(|error| Failure::os("cannot start the live line", error))?;
            self.live = Some(live);
        }
        Ok(())
    }

    /// Where metrics are served.
    pub(super) fn metrics_at(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::address)
    }

    /// A sentence.
    pub(super) fn say(&self, text: &str) {
        self.above(|| output::stderr(&format!("hoptrail: {text}\n")));
    }

    /// A sentence that is worth a look.
    pub(super) fn warn(&self, text: &str) {
        self.above(|| output::warning(text));
    }

    /// Tells what has happened since the last look.
    pub(super) fn look(&mut self) {
        self.look_at_log();
        self.look_at_pauses();
    }

    fn look_at_log(&mut self) {
        let trouble = self.observation.log.as_ref().and_then(Log::trouble);
        let kind = trouble.as_ref().map(io::Error::kind);
        let known = std::mem::replace(&mut self.told_trouble, kind);
        match trouble {
            Some(error) if known != kind && error.kind() == io::ErrorKind::BrokenPipe => {
                self.warn("standard output was closed, so the log ends here; the relay goes on");
            }
            Some(error) if known != kind => self.warn(&format!(
                "the log cannot be written to standard output: {error}; it goes on when that is over"
            )),
            _ => {}
        }
    }

    fn look_at_pauses(&mut self) {
        let pauses = self.observation.tally.pauses();
        let recently = self.told_pause.is_some_and(|told| told.elapsed() < BETWEEN_PAUSES);
        if pauses > self.pauses && !recently {
            self.warn(&format!(
                "accepting was paused {}: open files, memory or --max-connections have been used up; what connects \
                 waits meanwhile",
                times(pauses - self.pauses)
            ));
            self.pauses = pauses;
            self.told_pause = Some(Instant::now());
        }
    }

    /// What became of a reload.
    pub(super) fn reloaded(&self, result: &Result<Reloaded, Failure>) {
        self.observation.tally.reloaded(result.is_ok());
        match result {
            Ok(reloaded) => {
                self.say("the rules were read again and are in force");
                if !reloaded.differences.is_empty() {
                    self.warn(&format!(
                        "these settings have been changed in the file and count after a restart: {}",
                        reloaded.differences.join(", ")
                    ));
                }
            }
            Err(failure) => self.above(|| {
                output::error(format!("not reloaded, the rules before stay in force: {failure}"));
            }),
        }
    }

    /// The relay was told to stop.
    pub(super) fn stopping(&self, counters: &[Arc<Counters>], drain: Duration) {
        self.observation.drain();
        let open: u64 = counters.iter().map(|worker| worker.open.load(Relaxed)).sum();
        if open > 0 {
            self.say(&format!(
                "stopping: {} may finish within {drain:?}; a second signal resets what is open",
                connections(open)
            ));
        }
    }

    /// It has stopped.
    pub(super) fn end(mut self, ended: Ended) {
        drop(self.live.take());
        let written =
            self.observation.log.as_ref().is_none_or(|log| log.finish(Instant::now() + LAST_LINES));
        if !written {
            self.warn("the last lines of the log are missing: nobody reads standard output");
        }
        if ended.reset > 0 {
            self.above(|| output::stderr(&self.reset(ended.reset)));
        }
        match ended.finished + ended.reset {
            0 => self.say("stopped"),
            _ => self.say(&format!(
                "stopped: {} finished, {} reset",
                connections(ended.finished),
                ended.reset
            )),
        }
    }

    /// Who was reset.
    fn reset(&self, count: u64) -> String {
        let mut users = Users::new(users::name);
        let mut text = format!("hoptrail: {} reset at the deadline:\n", connections(count));
        for ended in self.observation.drained.first().iter().take(NAMED) {
            text += &format!("  {}\n", text_line(ended, &mut users));
        }
        let more = count.saturating_sub(NAMED as u64);
        if more > 0 {
            text += &format!("  and {more} more\n");
        }
        text
    }

    fn above(&self, write: impl FnOnce()) {
        match &self.screen {
            Some(screen) => screen.above(write),
            None => write(),
        }
    }
}

/// Standard output, through the screen when it is the same terminal.
fn log(format: LogFormat, screen: Option<&Arc<Screen>>) -> io::Result<Option<Log>> {
    let out = io::stdout();
    let colour = anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never;
    match screen {
        Some(screen) if out.is_terminal() => {
            Log::start(format, colour, TerminalSink(Arc::clone(screen)), users::name)
        }
        _ => {
            let file = std::fs::File::from(out.as_fd().try_clone_to_owned()?);
            Log::start(format, colour, file, users::name)
        }
    }
}

fn connections(count: u64) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
