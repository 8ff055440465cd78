//! P5: established traffic that is not redirected, and UDP.

use crate::Result;
use crate::lab::{ECHO, INSIDE, Lab, PROXY, Place, SERVED, SINK, any, local};
use crate::policy::Target;
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit, samples};
use crate::worker::Worker;
use hoptrail_engine::EngineError;
use std::net::SocketAddr;

const PING_PONGS: u32 = 400;
const DATAGRAMS: u32 = 400;
/// Samples of a stream, each that long.
const SPELLS: u32 = 5;
const SPELL_MILLIS: u64 = 10;

pub(super) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.few()?;
    let mut series = [stream(), ping_pong(), unmatched(), redirected()];
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    Ok(())
}

const SAME: Goal = Goal::AtLeast(0.99);

fn stream() -> Series<'static> {
    let measure = |lab: &mut Lab, place, port| {
        lab.generator(place)?.stream(Target::Apart.at(port), SPELLS, SPELL_MILLIS)
    };
    Series::new("P5", Unit::Bytes, move |lab| measure(lab, Place::Plain, SINK)).with(
        "throughput, 1 stream, both ends under the engine",
        SAME,
        move |lab| measure(lab, Place::Lab, SINK + INSIDE),
    )
}

fn ping_pong() -> Series<'static> {
    let measure = |lab: &mut Lab, place, port| {
        lab.generator(place)?.ping_pong(Target::Apart.at(port), PING_PONGS).map(samples)
    };
    Series::new("P5", Unit::PerSecond, move |lab| measure(lab, Place::Plain, ECHO)).with(
        "64-byte requests, both ends under the engine",
        SAME,
        move |lab| measure(lab, Place::Lab, ECHO + INSIDE),
    )
}

fn unmatched() -> Series<'static> {
    let to = Target::Apart.at(SERVED);
    let measure =
        move |lab: &mut Lab, place| datagrams(lab, place, to, |lab| &mut lab.server, any(SERVED));
    Series::new("P5", Unit::Nanoseconds, move |lab| measure(lab, Place::Plain))
        .with("UDP sendto(), no filter matches", Goal::AtMost(1.05), move |lab| {
            measure(lab, Place::Lab)
        })
        .with("UDP sendto() outside, engine attached elsewhere", Goal::Nothing, move |lab| {
            measure(lab, Place::Plain)
        })
}

fn redirected() -> Series<'static> {
    let measure =
        |lab: &mut Lab, place, to| datagrams(lab, place, to, |lab| &mut lab.proxy, local(PROXY));
    Series::new("P5", Unit::Nanoseconds, move |lab| measure(lab, Place::Plain, local(PROXY))).with(
        "UDP sendto(), redirected",
        Goal::AtMost(1.15),
        move |lab| measure(lab, Place::Lab, Target::Redirected.at(SERVED)),
    )
}

/// Datagrams, which must all arrive at `at`.
fn datagrams(
    lab: &mut Lab,
    place: Place,
    to: SocketAddr,
    receiver: fn(&mut Lab) -> &mut Worker,
    at: SocketAddr,
) -> Result<Vec<f64>> {
    let times = lab.generator(place)?.datagrams(to, DATAGRAMS)?;
    let (sent, received) = (u64::from(DATAGRAMS) + 1, receiver(lab).received(at)?);
    if received != sent {
        return Err(EngineError::new(format!(
            "{received} of {sent} datagrams arrived at {at}: the measurement would not be of what it says"
        )));
    }
    Ok(samples(times))
}
