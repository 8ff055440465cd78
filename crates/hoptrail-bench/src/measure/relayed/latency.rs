//! P8: small messages back and forth.

use super::{Relays, goal, value};
use crate::Result;
use crate::lab::{ECHO, Lab, Place};
use crate::policy::Target;
use crate::relays::{FORWARD, HAPROXIES, Kind, NGINXES, Relay, WITHOUT_SPINNING};
use crate::report::{Report, Row};
use crate::rounds::{self, Goal, Pace, Series, Unit, median, samples};
use std::cell::RefCell;

const PING_PONGS: u32 = 400;
const WHAT: [&str; 2] = ["64 bytes back and forth", "64 bytes back and forth, three hops"];

/// Nanoseconds of CPU time that a relay took for one there and back.
type Costs = Vec<(Kind, f64)>;

pub(in crate::measure) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.relayed()?;
    let to = Target::Apart.at(ECHO);
    let both =
        [FORWARD, WITHOUT_SPINNING, Kind::Provider].into_iter().chain(HAPROXIES).chain(NGINXES);
    let alone = [Kind::Redsocks, Kind::Mitmproxy];
    let one = Relays::start(lab, both.clone().chain(alone), 1, to);
    let three = Relays::start(lab, both, 3, to);
    let costs = [RefCell::default(), RefCell::default()];
    let mut series = [
        series(WHAT[0], Goal::AtMost(1.45), &one.running, pace, &costs[0]),
        series(WHAT[1], Goal::AtMost(3.0), &three.running, pace, &costs[1]),
    ];
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    for ((relays, what), costs) in [&one, &three].into_iter().zip(WHAT).zip(&costs) {
        report.add_rows(cpu(what, &relays.running, &costs.borrow()));
        report.add_rows(relays.missing("P8", what));
    }
    Ok(())
}

fn series<'a>(
    what: &str,
    ours: Goal,
    relays: &'a [Relay],
    pace: Pace,
    costs: &'a RefCell<Costs>,
) -> Series<'a> {
    let direct = |lab: &mut Lab| {
        let generator = lab.generator(Place::Plain)?;
        generator.ping_pong(Target::Apart.at(ECHO), PING_PONGS).map(samples)
    };
    let series =
        Series::new("P8", Unit::Nanoseconds, direct).slices(if pace.quick { 3 } else { 5 });
    relays.iter().fold(series, |series, relay| {
        let kind = relay.kind;
        let name = format!("{what}: {}", kind.name());
        series.through(kind.place(), name, goal(kind, ours), move |lab| {
            let before = relay.cpu()?;
            let times = relay.visit(lab, |generator, to| generator.ping_pong(to, PING_PONGS))?;
            let spent = (relay.cpu()? - before).as_nanos() as f64;
            costs.borrow_mut().push((kind, spent / f64::from(PING_PONGS)));
            Ok(samples(times))
        })
    })
}

/// A relay that waits awake is quick, at a price which this shows.
fn cpu(what: &str, relays: &[Relay], costs: &Costs) -> Vec<Row> {
    let row = |relay: &Relay| {
        let of_it = costs.iter().filter(|(kind, _)| *kind == relay.kind);
        let mut costs: Vec<f64> = of_it.map(|(_, cost)| *cost).collect();
        let name = format!("CPU time of the same: {what}: {}", relay.kind.name());
        let median = median(&mut costs);
        (!median.is_nan()).then(|| value("P8", name, Goal::Nothing, Unit::Nanoseconds, median))
    };
    relays.iter().filter_map(row).collect()
}
