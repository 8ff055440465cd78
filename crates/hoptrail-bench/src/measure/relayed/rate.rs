//! P9: new connections, with one request each.

use super::{Relays, goal};
use crate::Result;
use crate::lab::{ANSWER, Lab, Place};
use crate::policy::Target;
use crate::relays::{FORWARD, HAPROXIES, Kind, NGINXES, ONE_THREAD, Relay};
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit};

const MILLIS: u64 = 60;
const GOAL: Goal = Goal::AtLeast(0.50);

pub(in crate::measure) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.relayed()?;
    let ours = [FORWARD, ONE_THREAD, Kind::Provider].into_iter();
    let kinds = ours.chain(HAPROXIES).chain(NGINXES).chain([Kind::Redsocks, Kind::Mitmproxy]);
    let relays = Relays::start(lab, kinds, 1, Target::Apart.at(ANSWER));
    let mut series = [1, 16].map(|clients| series(clients, &relays.running));
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    report.add_rows(relays.missing("P9", "new connections"));
    Ok(())
}

fn series(clients: u32, relays: &[Relay]) -> Series<'_> {
    let direct = move |lab: &mut Lab| {
        let generator = lab.generator(Place::Plain)?;
        Ok(vec![generator.requests(Target::Apart.at(ANSWER), clients, MILLIS)?])
    };
    let series = Series::new("P9", Unit::PerSecond, direct).slices(3);
    relays.iter().fold(series, |series, relay| {
        let kind = relay.kind;
        let plural = if clients == 1 { "client" } else { "clients" };
        let name = format!("new connections, {clients} {plural}: {}", kind.name());
        series.through(kind.place(), name, goal(kind, GOAL), move |lab| {
            relay.visit(lab, |generator, to| Ok(vec![generator.requests(to, clients, MILLIS)?]))
        })
    })
}
