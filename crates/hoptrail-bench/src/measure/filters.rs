//! P2: connect(2) with many filters.

use super::connect;
use crate::Result;
use crate::lab::{Lab, Place, SERVED};
use crate::policy::{self, Target};
use crate::report::{Report, Row};
use crate::rounds::{self, Goal, Pace, Series, Unit};

/// Filters and providers.
const SIZES: [(usize, usize); 4] = [(16, 4), (256, 16), (1024, 32), (4096, 64)];

const CASES: [(Target, &str); 4] = [
    (Target::Apart, "no filter has its address or port"),
    (Target::Crossed, "half have its address or its port, none both"),
    (Target::OtherExe, "a filter has its address, but another executable"),
    (Target::Permitted, "the last filter permits it"),
];

/// What "flat" means: the ratio with the most filters over that with the fewest.
const FLAT: f64 = 1.05;

pub(super) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    let policies = SIZES.map(|(filters, providers)| policy::many(filters, providers, &lab.members));
    let mut series = SIZES.map(|(filters, _)| series(filters));
    rounds::run(lab, pace, &mut series, |lab, number| lab.load(&policies[number]))?;
    let flat: Vec<Row> = CASES.iter().map(|(_, case)| flatness(&series, case)).collect();
    report.add(series);
    report.add_rows(flat);
    Ok(())
}

fn series(filters: usize) -> Series<'static> {
    let to = Target::Apart.at(SERVED);
    let plain = move |lab: &mut Lab| connect(lab, Place::Plain, to);
    CASES.iter().fold(Series::new("P2", Unit::Nanoseconds, plain), |series, (target, case)| {
        let to = target.at(SERVED);
        series
            .with(name(filters, case), Goal::AtMost(1.10), move |lab| connect(lab, Place::Lab, to))
    })
}

fn name(filters: usize, case: &str) -> String {
    format!("connect(), {filters} filters: {case}")
}

fn flatness(series: &[Series<'_>], case: &str) -> Row {
    let of = |number: usize| series[number].ratios(&name(SIZES[number].0, case));
    let last = SIZES.len() - 1;
    let (few, many) = (of(0), of(last));
    let ratios = many.iter().zip(&few).map(|(many, few)| many / few).collect();
    Row {
        part: "P2",
        name: format!("{} over {} filters: {case}", SIZES[last].0, SIZES[0].0),
        goal: Goal::AtMost(FLAT),
        unit: Unit::Nanoseconds,
        plain: f64::NAN,
        value: f64::NAN,
        ratios,
        remark: None,
    }
}
