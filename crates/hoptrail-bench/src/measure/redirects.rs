//! P3: connect(2) of what is redirected, until it is established with the proxy's listener.

use super::{CONNECTS, connect};
use crate::Result;
use crate::lab::{Lab, PROXY, Place, SERVED, local};
use crate::nft;
use crate::policy::Target;
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit, samples};
use std::net::SocketAddr;

const GOAL: Goal = Goal::AtMost(1.15);

pub(super) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.few()?;
    let to = Target::Redirected.at(SERVED);
    let mut series =
        Series::new("P3", Unit::Nanoseconds, |lab| through(lab, Place::Plain, local(PROXY)))
            .with("connect(), redirected", GOAL, move |lab| through(lab, Place::Lab, to))
            .with("connect(), redirected, events read as they come", GOAL, move |lab| {
                live(lab, to)
            });
    if nft::installed() {
        series = series
            .without("nftables REDIRECT of the same", Goal::Nothing, |lab| {
                let _rule = nft::Redirect::load(PROXY)?;
                through(lab, Place::Plain, Target::Nftables.at(SERVED))
            })
            .without(
                "nftables REDIRECT, of a connection that it does not match",
                Goal::Nothing,
                |lab| {
                    let _rule = nft::Redirect::load(PROXY)?;
                    connect(lab, Place::Plain, local(PROXY))
                },
            );
    } else {
        report.note("nftables REDIRECT was not measured: `nft` is not installed.".into());
    }
    let mut series = [series];
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    Ok(())
}

/// Connections that must all arrive at the proxy.
fn through(lab: &mut Lab, place: Place, to: SocketAddr) -> Result<Vec<f64>> {
    let before = lab.proxy.accepted(local(PROXY))?;
    let times = connect(lab, place, to)?;
    lab.expect_accepted(before, times.len() as u64)?;
    Ok(times)
}

fn live(lab: &mut Lab, to: SocketAddr) -> Result<Vec<f64>> {
    let before = lab.proxy.accepted(local(PROXY))?;
    let times = lab.reading(|generator| generator.connect(to, CONNECTS))?;
    lab.expect_accepted(before, times.len() as u64)?;
    Ok(samples(times))
}
