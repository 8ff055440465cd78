//! P8: small messages back and forth.

use super::{Relays, goal};
use crate::Result;
use crate::lab::{ECHO, Lab, Place};
use crate::policy::Target;
use crate::relays::{FORWARD, HAPROXIES, Kind, NGINXES, Relay};
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit, samples};

const PING_PONGS: u32 = 400;

pub(in crate::measure) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.relayed()?;
    let to = Target::Apart.at(ECHO);
    let both = [FORWARD, Kind::Provider].into_iter().chain(HAPROXIES).chain(NGINXES);
    let alone = [Kind::Redsocks, Kind::Mitmproxy];
    let one = Relays::start(lab, both.clone().chain(alone), 1, to);
    let three = Relays::start(lab, both, 3, to);
    let mut series = [
        series("64 bytes back and forth", Goal::AtMost(1.45), &one.running, pace),
        series("the same, three hops", Goal::AtMost(3.0), &three.running, pace),
    ];
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    report.add_rows(one.missing("P8", "64 bytes back and forth"));
    report.add_rows(three.missing("P8", "the same, three hops"));
    Ok(())
}

fn series<'a>(what: &str, ours: Goal, relays: &'a [Relay], pace: Pace) -> Series<'a> {
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
            relay.visit(lab, |generator, to| generator.ping_pong(to, PING_PONGS)).map(samples)
        })
    })
}
