//! P6, P6b, P7: one stream.

use super::{Relays, goal, value};
use crate::Result;
use crate::lab::{BULK, Lab, Place, any};
use crate::policy::Target;
use crate::relays::{EVERY_BYTE, FORWARD, HAPROXIES, Kind, NGINXES, Relay, SYSTEM_CONGESTION};
use crate::report::{Report, Row};
use crate::rounds::{self, Goal, Pace, Series, Unit, median};
use crate::wire::{Metered, Spells, Way};
use hoptrail_engine::EngineError;
use std::cell::RefCell;
use std::net::SocketAddr;

/// What a relay's CPUs may take.
const CPU: Goal = Goal::ValueAtMost(0.05);

/// One table of streams: which relays, over how many hops, and how good ours should be.
struct Plan {
    part: &'static str,
    hops: usize,
    goal: f64,
    kinds: Vec<Kind>,
    /// Against which ours are judged too.
    rivals: &'static [Kind],
}

pub(in crate::measure) fn one_hop(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    let ours = [FORWARD, SYSTEM_CONGESTION, Kind::Provider];
    let others = HAPROXIES.into_iter().chain(NGINXES).chain([Kind::Redsocks, Kind::Mitmproxy]);
    let kinds = ours.into_iter().chain(others).collect();
    Plan { part: "P6", hops: 1, goal: 0.75, kinds, rivals: &HAPROXIES }.measure(lab, pace, report)
}

pub(in crate::measure) fn every_byte(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    let kinds = vec![EVERY_BYTE];
    Plan { part: "P6b", hops: 1, goal: 0.60, kinds, rivals: &[] }.measure(lab, pace, report)
}

pub(in crate::measure) fn three_hops(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    let kinds = [FORWARD, Kind::Provider].into_iter().chain(HAPROXIES).chain(NGINXES).collect();
    Plan { part: "P7", hops: 3, goal: 0.55, kinds, rivals: &HAPROXIES }.measure(lab, pace, report)
}

impl Plan {
    fn measure(self, lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
        lab.relayed()?;
        let relays =
            Relays::start(lab, self.kinds.iter().copied(), self.hops, Target::Apart.at(BULK));
        let costs = RefCell::new(Vec::new());
        let mut series =
            [Way::Up, Way::Down].map(|way| self.series(&relays.running, way, pace, &costs));
        rounds::run(lab, pace, &mut series, |_, _| Ok(()))?;
        let rivals = [Way::Up, Way::Down].into_iter().zip(&series);
        let rivals: Vec<Row> =
            rivals.filter_map(|(way, series)| self.rivals(way, series)).collect();
        report.add(series);
        report.add_rows(rivals);
        report.add_rows(self.cpu(&relays.running, &costs.borrow()));
        report.add_rows(relays.missing(self.part, self.what()));
        Ok(())
    }

    const fn what(&self) -> &'static str {
        if self.hops == 1 { "1 stream" } else { "1 stream, three hops" }
    }

    fn name(&self, way: Way, kind: Kind) -> String {
        format!("{}, {}: {}", self.what(), way_name(way), kind.name())
    }

    fn series<'a>(
        &self,
        relays: &'a [Relay],
        way: Way,
        pace: Pace,
        costs: &'a RefCell<Vec<Cost>>,
    ) -> Series<'a> {
        let spells = spells(pace);
        let direct = move |lab: &mut Lab| {
            lab.generator(Place::Plain)?;
            let metered = stream(lab, Target::Apart.at(BULK), way, spells)?;
            Ok(metered.rates)
        };
        let series =
            Series::new(self.part, Unit::Bytes, direct).slices(if pace.quick { 3 } else { 2 });
        relays.iter().fold(series, |series, relay| {
            let (kind, goal) = (relay.kind, goal(relay.kind, Goal::AtLeast(self.goal)));
            series.through(kind.place(), self.name(way, kind), goal, move |lab| {
                let before = relay.cpu()?;
                let sent = relay.visit(lab, |generator, to| generator.bulk(to, way, spells))?;
                let metered = whole(sent, lab)?;
                let seconds = (relay.cpu()? - before).as_secs_f64();
                let per_gb = seconds / (metered.bytes as f64 / 1e9);
                costs.borrow_mut().push(Cost { kind, way, per_gb });
                Ok(metered.rates)
            })
        })
    }

    /// Ours over the better of the rivals, round by round.
    fn rivals(&self, way: Way, series: &Series<'_>) -> Option<Row> {
        let rivals = self.rivals.iter().map(|kind| series.ratios(&self.name(way, *kind)));
        let rivals: Vec<Vec<f64>> = rivals.filter(|ratios| !ratios.is_empty()).collect();
        let ours = series.ratios(&self.name(way, FORWARD));
        let best = |round: usize| rivals.iter().map(|r| r[round]).fold(f64::MIN, f64::max);
        let ratios: Vec<f64> =
            ours.iter().enumerate().map(|(round, ours)| ours / best(round)).collect();
        let name =
            format!("{}, {}: hoptrail relay over the better HAProxy", self.what(), way_name(way));
        let row = value(self.part, name, Goal::AtLeast(1.0), Unit::Bytes, f64::NAN);
        (!rivals.is_empty() && !ratios.is_empty()).then_some(Row { ratios, ..row })
    }

    /// CPU time of each relay for what it relayed.
    fn cpu(&self, relays: &[Relay], costs: &[Cost]) -> Vec<Row> {
        let row = |(way, relay): (Way, &Relay)| {
            let of_it = |cost: &&Cost| cost.way == way && cost.kind == relay.kind;
            let mut costs: Vec<f64> = costs.iter().filter(of_it).map(|cost| cost.per_gb).collect();
            let judged = self.part == "P6" && relay.kind.is_judged();
            let goal = if judged { CPU } else { Goal::Nothing };
            let name = format!("CPU time of the same: {}", self.name(way, relay.kind));
            (!costs.is_empty())
                .then(|| value(self.part, name, goal, Unit::SecondsPerGb, median(&mut costs)))
        };
        let both = relays.iter().flat_map(|relay| [(Way::Up, relay), (Way::Down, relay)]);
        both.filter_map(row).collect()
    }
}

struct Cost {
    kind: Kind,
    way: Way,
    /// Seconds for 10^9 bytes.
    per_gb: f64,
}

const fn way_name(way: Way) -> &'static str {
    match way {
        Way::Up => "upload",
        Way::Down => "download",
    }
}

const fn spells(pace: Pace) -> Spells {
    Spells { warm_up_millis: 60, count: if pace.quick { 3 } else { 5 }, millis: 20 }
}

fn stream(lab: &mut Lab, to: SocketAddr, way: Way, spells: Spells) -> Result<Metered> {
    let sent = lab.generator.bulk(to, way, spells)?;
    whole(sent, lab)
}

/// What the receiver saw: the generator, or the server.
fn whole(received: Option<Metered>, lab: &mut Lab) -> Result<Metered> {
    let metered = match received {
        Some(metered) => metered,
        None => lab.server.metered(any(BULK))?,
    };
    if metered.rates.is_empty() {
        return Err(EngineError::new(format!(
            "the stream ended after {} bytes, before it could be metered",
            metered.bytes
        )));
    }
    Ok(metered)
}
