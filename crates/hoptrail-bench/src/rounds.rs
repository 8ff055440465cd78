//! Rounds: plain and every variant in turn, in short slices; a ratio per round, and the median of them.

use crate::Result;
use crate::lab::{Lab, Place};
use crate::report::Row;
use std::mem::take;

/// Into how many slices a round is cut, if nothing else is said.
const SLICES: usize = 10;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    /// No round to warm up, less of everything: to look at while something is changed.
    pub(crate) quick: bool,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Nanoseconds of one operation.
    Nanoseconds,
    /// Operations per second.
    PerSecond,
    /// Bytes per second.
    Bytes,
    /// CPU seconds for 10^9 bytes.
    SecondsPerGb,
    /// Bytes of memory.
    Memory,
    Count,
}

/// What the ratio to plain should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Of the value itself, not of its ratio.
    ValueAtMost(f64),
    ValueAtLeast(f64),
    /// So much more, and as many nanoseconds on top.
    AtMostPlus {
        ratio: f64,
        nanoseconds: f64,
    },
    /// To compare with.
    Nothing,
}

/// When a variant is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    /// While nothing is attached.
    Detached,
    Attached,
}

/// Gives samples in the series' raw unit: nanoseconds, or bytes per second.
type Measure<'a> = Box<dyn Fn(&mut Lab) -> Result<Vec<f64>> + 'a>;

struct Variant<'a> {
    name: String,
    goal: Goal,
    when: When,
    measure: Measure<'a>,
    /// Of the round that is under way.
    samples: Vec<f64>,
    values: Vec<f64>,
    ratios: Vec<f64>,
    /// Whether the others go on when it fails, and how it did.
    may_fail: bool,
    failed: Option<String>,
}

/// One plain measurement and its variants.
pub(crate) struct Series<'a> {
    part: &'static str,
    unit: Unit,
    slices: usize,
    plain: Measure<'a>,
    plains: Vec<f64>,
    /// Of even slices over odd ones: what a ratio of 1 looks like.
    noise: Vec<f64>,
    variants: Vec<Variant<'a>>,
}

impl<'a> Series<'a> {
    pub(crate) fn new(
        part: &'static str,
        unit: Unit,
        plain: impl Fn(&mut Lab) -> Result<Vec<f64>> + 'a,
    ) -> Self {
        let (plains, noise, variants) = (Vec::new(), Vec::new(), Vec::new());
        Self { part, unit, slices: SLICES, plain: Box::new(plain), plains, noise, variants }
    }

    /// Cuts a round into that many slices.
    pub(crate) fn slices(mut self, slices: usize) -> Self {
        self.slices = slices;
        self
    }

    /// Adds a variant that is measured with the engine attached.
    pub(crate) fn with(
        self,
        name: impl Into<String>,
        goal: Goal,
        measure: impl Fn(&mut Lab) -> Result<Vec<f64>> + 'a,
    ) -> Self {
        self.add(name, goal, When::Attached, measure)
    }

    /// Adds a variant that is measured while nothing is attached.
    pub(crate) fn without(
        self,
        name: impl Into<String>,
        goal: Goal,
        measure: impl Fn(&mut Lab) -> Result<Vec<f64>> + 'a,
    ) -> Self {
        self.add(name, goal, When::Detached, measure)
    }

    /// Adds one by way of a program that is not ours alone to keep from failing.
    pub(crate) fn through(
        self,
        place: Place,
        name: impl Into<String>,
        goal: Goal,
        measure: impl Fn(&mut Lab) -> Result<Vec<f64>> + 'a,
    ) -> Self {
        let when = if place == Place::Lab { When::Attached } else { When::Detached };
        let mut series = self.add(name, goal, when, measure);
        if let Some(variant) = series.variants.last_mut() {
            variant.may_fail = true;
        }
        series
    }

    fn add(
        mut self,
        name: impl Into<String>,
        goal: Goal,
        when: When,
        measure: impl Fn(&mut Lab) -> Result<Vec<f64>> + 'a,
    ) -> Self {
        let (name, measure) = (name.into(), Box::new(measure));
        let (samples, values, ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (may_fail, failed) = (false, None);
        let variant =
            Variant { name, goal, when, measure, samples, values, ratios, may_fail, failed };
        self.variants.push(variant);
        self
    }

    /// One round: in every slice plain, then each variant. Slices are short against whatever else
    /// happens on a machine, so that it happens to all alike.
    pub(crate) fn round(&mut self, lab: &mut Lab) -> Result<()> {
        let mut plain = [Vec::new(), Vec::new()];
        for slice in 0..self.slices {
            plain[slice % 2].extend((self.plain)(lab)?);
            self.variants(lab, When::Detached)?;
            if self.variants.iter().any(|variant| variant.when == When::Attached) {
                lab.attach()?;
                self.variants(lab, When::Attached)?;
                lab.detach();
            }
        }
        if self.slices > 1 {
            self.noise.push(self.value(&mut plain[0]) / self.value(&mut plain[1]));
        }
        let plain = self.value(&mut plain.concat());
        self.plains.push(plain);
        for variant in self.variants.iter_mut().filter(|variant| variant.failed.is_none()) {
            let value = value(self.unit, &mut take(&mut variant.samples));
            variant.values.push(value);
            variant.ratios.push(value / plain);
        }
        Ok(())
    }

    fn variants(&mut self, lab: &mut Lab, when: When) -> Result<()> {
        for variant in self.variants.iter_mut().filter(|variant| variant.when == when) {
            if variant.failed.is_some() {
                continue;
            }
            match (variant.measure)(lab) {
                Ok(samples) => variant.samples.extend(samples),
                Err(e) if variant.may_fail => variant.failed = Some(e.to_string()),
                Err(e) => return Err(e),
            }
            lab.drain()?;
        }
        Ok(())
    }

    fn value(&self, samples: &mut [f64]) -> f64 {
        value(self.unit, samples)
    }

    /// The first round warms up and does not count.
    pub(crate) fn forget(&mut self) {
        self.plains.clear();
        self.noise.clear();
        for variant in &mut self.variants {
            variant.values.clear();
            variant.ratios.clear();
        }
    }

    /// The ratios of a variant, round by round.
    pub(crate) fn ratios(&self, variant: &str) -> Vec<f64> {
        let found = self.variants.iter().find(|v| v.name == variant);
        found.map(|v| v.ratios.clone()).unwrap_or_default()
    }

    pub(crate) fn rows(mut self) -> Vec<Row> {
        let plain = median(&mut self.plains);
        let row = |name: String, goal, value, ratios| Row {
            part: self.part,
            name,
            goal,
            unit: self.unit,
            plain,
            value,
            ratios,
            remark: None,
        };
        let noise = take(&mut self.noise);
        let noise = row("plain over plain: the noise".into(), Goal::Nothing, plain, noise);
        let rest = self.variants.into_iter().map(|mut variant| {
            let value = median(&mut variant.values);
            let remark = variant.failed.map(|why| format!("failed: {why}"));
            Row { remark, ..row(variant.name, variant.goal, value, variant.ratios) }
        });
        let rows: Vec<Row> = rest.collect();
        let judged = self.slices > 1 && rows.iter().any(|row| row.goal != Goal::Nothing);
        rows.into_iter().chain(judged.then_some(noise)).collect()
    }
}

/// All rounds of some series, interleaved; `before` prepares the lab for each.
pub(crate) fn run(
    lab: &mut Lab,
    pace: Pace,
    series: &mut [Series<'_>],
    before: impl Fn(&mut Lab, usize) -> Result<()>,
) -> Result<()> {
    let warm_up = usize::from(!pace.quick);
    for round in 0..pace.rounds + warm_up {
        for (number, series) in series.iter_mut().enumerate() {
            before(lab, number)?;
            series.round(lab)?;
            if round < warm_up {
                series.forget();
            }
        }
    }
    Ok(())
}

/// The middle one, or the mean of the two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The median of samples, in the unit in which it is reported.
fn value(unit: Unit, samples: &mut [f64]) -> f64 {
    let p50 = median(samples);
    if unit == Unit::PerSecond { 1e9 / p50 } else { p50 }
}

/// Nanoseconds as samples.
pub(crate) fn samples(times: Vec<u32>) -> Vec<f64> {
    times.into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut samples(vec![9, 1, 5])), 5.0);
        assert_eq!(median(&mut samples(vec![9, 1, 5, 6])), 5.5);
        assert!(median(&mut []).is_nan());
    }

    #[test]
    fn rates_are_of_the_median_time() {
        let mut times = samples(vec![1000, 4000, 2000]);
        assert_eq!(value(Unit::PerSecond, &mut times), 500_000.0);
        assert_eq!(value(Unit::Nanoseconds, &mut times), 2000.0);
    }
}
