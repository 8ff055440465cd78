//! P4: what asking for records and context and setting the records costs a relay.
//!
//! Connections wait in the relay's backlog before it begins: so the rate is the relay's own, and
//! neither the redirect (P3) nor any wake-up is part of it.

use super::CONNECTS;
use crate::Result;
use crate::lab::{Lab, ORIGIN, Place, RELAY, local};
use crate::policy::Target;
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit, samples};
use crate::wire::{Dial, Steps};
use std::net::SocketAddr;

/// Part of relaying a connection.
type Part = fn(Steps) -> u32;

const PARTS: [(&str, Part); 4] = [
    ("of that, accept", |steps| steps.accept),
    ("of that, records and context", |steps| steps.ask),
    ("of that, SET and dial", |steps| steps.dial),
    ("of that, closing both", |steps| steps.close),
];

pub(super) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.few()?;
    let mut series = vec![whole()];
    series.extend(PARTS.map(|(name, part)| one(name, part)));
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    Ok(())
}

fn whole() -> Series<'static> {
    let all: Part = |steps| steps.accept + steps.ask + steps.dial + steps.close;
    Series::new("P4", Unit::PerSecond, move |lab| plain(lab, all))
        .with("accept, records, context, SET, dial, close", Goal::AtLeast(0.97), move |lab| {
            with_records(lab, all)
        })
        .with("accept, dial, close, without asking (records adopted)", Goal::Nothing, move |lab| {
            let dial = Dial::Plain(Target::Relayed.at(ORIGIN));
            relay(lab, Place::Lab, Target::Relayed.at(ORIGIN), dial, all)
        })
}

fn one(name: &'static str, part: Part) -> Series<'static> {
    Series::new("P4", Unit::Nanoseconds, move |lab| plain(lab, part)).with(
        name,
        Goal::Nothing,
        move |lab| with_records(lab, part),
    )
}

/// Accept and dial, connected to directly.
fn plain(lab: &mut Lab, part: Part) -> Result<Vec<f64>> {
    let dial = Dial::Plain(Target::Relayed.at(ORIGIN));
    relay(lab, Place::Plain, local(RELAY), dial, part)
}

fn with_records(lab: &mut Lab, part: Part) -> Result<Vec<f64>> {
    relay(lab, Place::Lab, Target::Relayed.at(ORIGIN), Dial::Records, part)
}

fn relay(lab: &mut Lab, place: Place, to: SocketAddr, dial: Dial, part: Part) -> Result<Vec<f64>> {
    lab.generator(place)?.fill(to, CONNECTS)?;
    let steps = lab.proxy.relay(local(RELAY), dial, CONNECTS)?;
    lab.generator.empty()?;
    Ok(samples(steps.into_iter().map(part).collect()))
}
