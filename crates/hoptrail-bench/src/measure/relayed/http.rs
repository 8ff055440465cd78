//! P10b: HTTP, by wrk.

use super::{Relays, goal};
use crate::Result;
use crate::lab::{HTTP, Lab, Place, any};
use crate::policy::Target;
use crate::relays::{
    FORWARD, HAPROXIES, Kind, NGINXES, ONE_THREAD, Origin, Program, Relay, find, output,
};
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit};
use hoptrail_engine::EngineError;
use hoptrail_engine::host::cgroup2::CgroupDir;
use std::net::SocketAddr;
use std::path::Path;

const GOAL: Goal = Goal::AtLeast(0.55);
const CONNECTIONS: u32 = 16;
/// A round takes twenty seconds.
const MOST_ROUNDS: usize = 5;
/// The shortest that wrk can.
const SECONDS: u32 = 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    KeepAlive,
    /// One request for each connection.
    Close,
}

pub(in crate::measure) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    let (Some(wrk), true) = (find("wrk"), find("nginx").is_some()) else {
        report.note("P10b was not measured: it needs `wrk`, and `nginx` for a destination.".into());
        return Ok(());
    };
    lab.relayed()?;
    let _origin = Origin::start(lab, any(HTTP))?;
    let ours = [FORWARD, ONE_THREAD, Kind::Provider].into_iter();
    let kinds = ours.chain(HAPROXIES).chain(NGINXES).chain([Kind::Mitmproxy]);
    let relays = Relays::start(lab, kinds, 1, Target::Apart.at(HTTP));
    let mut series =
        [Manner::KeepAlive, Manner::Close].map(|manner| series(manner, &wrk, &relays.running));
    // A second each is enough to warm up.
    let pace = Pace { rounds: pace.rounds.min(MOST_ROUNDS), quick: true };
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    report.add_rows(relays.missing("P10b", "HTTP"));
    report.note(
        "redsocks has no part in P10b: with an HTTP server for a destination it would need a SOCKS server, a \
         second relay, before it."
            .into(),
    );
    Ok(())
}

fn series<'a>(manner: Manner, wrk: &'a Path, relays: &'a [Relay]) -> Series<'a> {
    let direct = move |lab: &mut Lab| run(lab, Place::Plain, manner, wrk, Target::Apart.at(HTTP));
    let series = Series::new("P10b", Unit::PerSecond, direct).slices(1);
    relays.iter().fold(series, |series, relay| {
        let kind = relay.kind;
        let name = format!("HTTP, {}: {}", manner.name(), kind.name());
        series.through(kind.place(), name, goal(kind, GOAL), move |lab| {
            let home = lab.app(kind.place()).clone();
            relay.visit(lab, |_, to| requests(&home, manner, wrk, to))
        })
    })
}

impl Manner {
    const fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "16 connections kept alive",
            Self::Close => "16 clients, one request per connection",
        }
    }
}

fn run(lab: &Lab, place: Place, manner: Manner, wrk: &Path, to: SocketAddr) -> Result<Vec<f64>> {
    requests(lab.app(place), manner, wrk, to)
}

/// Nanoseconds for one request.
fn requests(home: &CgroupDir, manner: Manner, wrk: &Path, to: SocketAddr) -> Result<Vec<f64>> {
    let mut args = vec![
        "--threads=1".to_owned(),
        format!("--connections={CONNECTIONS}"),
        format!("--duration={SECONDS}s"),
        format!("http://{to}/"),
    ];
    if manner == Manner::Close {
        args.push("--header=Connection: close".into());
    }
    let program = Program { path: wrk.to_owned(), args };
    let text = output(&program, home, &[0]).map_err(|e| EngineError::os("wrk failed", e))?;
    rate(&text).map(|rate| vec![1e9 / rate]).map_err(EngineError::new)
}

/// Requests per second; errors are not for counting.
fn rate(text: &str) -> std::result::Result<f64, String> {
    let line = |start: &str| text.lines().map(str::trim).find(|line| line.starts_with(start));
    if let Some(errors) = line("Socket errors:").or_else(|| line("Non-2xx")) {
        return Err(format!("wrk saw errors: {errors}"));
    }
    let rate = line("Requests/sec:").and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    rate.filter(|rate| *rate > 0.0).ok_or_else(|| format!("wrk gave no rate: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says() {
        let good = "Running 1s test\n  1000 requests in 1.00s\nRequests/sec:  52341.17\nTransfer/sec: 1MB\n";
        assert_eq!(rate(good), Ok(52341.17));
        let errors = format!("  Socket errors: connect 0, read 3, write 0, timeout 0\n{good}");
        assert!(rate(&errors).unwrap_err().contains("read 3"));
        assert!(rate("").unwrap_err().contains("no rate"));
        assert!(rate("Requests/sec:      0.00\n").is_err());
    }
}
