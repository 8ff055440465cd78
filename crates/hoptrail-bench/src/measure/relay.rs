//! P4: what asking for records and context and setting the records costs a relay.
//!
//! Connections wait in the relay's backlog before it begins: so the rate is the relay's own, and
//! neither the redirect (P3) nor any wake-up is part of it.

use super::CONNECTS;
use crate::Result;
use crate::lab::{Lab, ORIGIN, Place, RELAY, local};
use crate::policy::Target;
use crate::report::Report;
use crate::rounds::{self, Goal, Series, Unit, samples};
use crate::wire::Dial;
use std::net::SocketAddr;

pub(super) fn measure(lab: &mut Lab, rounds: usize, report: &mut Report) -> Result<()> {
    lab.few()?;
    let origin = Target::Relayed.at(ORIGIN);
    let plain = Dial::Plain(origin);
    let series = Series::new("P4", Unit::PerSecond, move |lab| {
        relay(lab, Place::Plain, local(RELAY), plain)
    })
    .with("accept, records, context, SET, dial", Goal::AtLeast(0.97), move |lab| {
        relay(lab, Place::Lab, origin, Dial::Records)
    })
    .with("accept, dial, without asking (records adopted)", Goal::Nothing, move |lab| {
        relay(lab, Place::Lab, origin, plain)
    });
    let mut series = [series];
    rounds::run(lab, rounds, &mut series, |_, _| Ok(()))?;
    report.add(series);
    Ok(())
}

fn relay(lab: &mut Lab, place: Place, to: SocketAddr, dial: Dial) -> Result<Vec<f64>> {
    lab.generator(place)?.fill(to, CONNECTS)?;
    let times = lab.proxy.relay(local(RELAY), dial, CONNECTS)?;
    lab.generator.empty()?;
    Ok(samples(times))
}
