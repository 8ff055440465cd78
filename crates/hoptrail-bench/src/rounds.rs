//! Rounds: plain and every variant in turn, in short slices; a ratio per round, and the median of them.

use crate::Result;
use crate::lab::Lab;
use crate::report::Row;
use std::mem::take;

/// Into how many slices a round is cut.
const SLICES: usize = 10;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    /// Nanoseconds of one operation.
    Nanoseconds,
    /// Operations per second.
    PerSecond,
    /// Bytes per second.
    Bytes,
}

/// What the ratio to plain should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
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
}

/// One plain measurement and its variants.
pub(crate) struct Series<'a> {
    part: &'static str,
    unit: Unit,
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
        Self { part, unit, plain: Box::new(plain), plains, noise, variants }
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

    fn add(
        mut self,
        name: impl Into<String>,
        goal: Goal,
        when: When,
        measure: impl Fn(&mut Lab) -> Result<Vec<f64>> + 'a,
    ) -> Self {
        let (name, measure) = (name.into(), Box::new(measure));
        let (samples, values, ratios) = (Vec::new(), Vec::new(), Vec::new());
        self.variants.push(Variant { name, goal, when, measure, samples, values, ratios });
        self
    }

    /// One round: in every slice plain, then each variant. Slices are short against whatever else
    /// happens on a machine, so that it happens to all alike.
    pub(crate) fn round(&mut self, lab: &mut Lab) -> Result<()> {
        let mut plain = [Vec::new(), Vec::new()];
        for slice in 0..SLICES {
            plain[slice % 2].extend((self.plain)(lab)?);
            self.variants(lab, When::Detached)?;
            lab.attach()?;
            self.variants(lab, When::Attached)?;
            lab.detach();
        }
        self.noise.push(self.value(&mut plain[0]) / self.value(&mut plain[1]));
        let plain = self.value(&mut plain.concat());
        self.plains.push(plain);
        for variant in &mut self.variants {
            let value = value(self.unit, &mut take(&mut variant.samples));
            variant.values.push(value);
            variant.ratios.push(value / plain);
        }
        Ok(())
    }

    fn variants(&mut self, lab: &mut Lab, when: When) -> Result<()> {
        for variant in self.variants.iter_mut().filter(|variant| variant.when == when) {
            variant.samples.extend((variant.measure)(lab)?);
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
        };
        let noise = take(&mut self.noise);
        let noise = row("plain over plain: the noise".into(), Goal::Nothing, plain, noise);
        let rest = self.variants.into_iter().map(|mut variant| {
            let value = median(&mut variant.values);
            row(variant.name, variant.goal, value, variant.ratios)
        });
        let rows: Vec<Row> = rest.collect();
        let judged = rows.iter().any(|row| row.goal != Goal::Nothing);
        rows.into_iter().chain(judged.then_some(noise)).collect()
    }
}

/// All rounds of some series, interleaved; `before` prepares the lab for each.
pub(crate) fn run(
    lab: &mut Lab,
    rounds: usize,
    series: &mut [Series<'_>],
    before: impl Fn(&mut Lab, usize) -> Result<()>,
) -> Result<()> {
    for round in 0..=rounds {
        for (number, series) in series.iter_mut().enumerate() {
            before(lab, number)?;
            series.round(lab)?;
            if round == 0 {
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
