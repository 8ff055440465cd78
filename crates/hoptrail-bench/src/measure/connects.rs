//! P1: connect(2) of what no filter matches, with few filters.

use super::connect;
use crate::Result;
use crate::lab::{INSIDE, Lab, Place, SERVED};
use crate::policy::Target;
use crate::report::Report;
use crate::rounds::{self, Goal, Pace, Series, Unit};

pub(super) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.few()?;
    let outside = Target::Apart.at(SERVED);
    let inside = Target::Apart.at(SERVED + INSIDE);
    let series =
        Series::new("P1", Unit::Nanoseconds, move |lab| connect(lab, Place::Plain, outside))
            .with("connect(), no filter matches, 4 filters", Goal::AtMost(1.05), move |lab| {
                connect(lab, Place::Lab, outside)
            })
            .with("the same, the listener under the engine too", Goal::Nothing, move |lab| {
                connect(lab, Place::Lab, inside)
            })
            .with("connect() outside, engine attached elsewhere", Goal::Nothing, move |lab| {
                connect(lab, Place::Plain, outside)
            });
    let mut series = [series];
    rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
    report.add(series);
    Ok(())
}
