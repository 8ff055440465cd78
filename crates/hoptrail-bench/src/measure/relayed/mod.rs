//! P6 to P10c: whole relays, ours and others, beside direct connections.

mod bulk;
mod http;
mod idle;
mod latency;
mod promises;
mod rate;

pub(super) use bulk::{every_byte, one_hop, three_hops};
pub(super) use http::measure as http;
pub(super) use idle::measure as idle;
pub(super) use latency::measure as latency;
pub(super) use promises::measure as promises;
pub(super) use rate::measure as rate;

use crate::lab::Lab;
use crate::relays::{Absent, Kind, Relay};
use crate::report::Row;
use crate::rounds::{Goal, Unit};
use std::net::SocketAddr;

/// Those that run, and those that do not.
struct Relays {
    running: Vec<Relay>,
    absent: Vec<Absent>,
}

impl Relays {
    fn start(
        lab: &mut Lab,
        kinds: impl IntoIterator<Item = Kind>,
        hops: usize,
        destination: SocketAddr,
    ) -> Self {
        let (mut running, mut absent) = (Vec::new(), Vec::new());
        for kind in kinds {
            match Relay::start(lab, kind, hops, destination) {
                Ok(relay) => running.push(relay),
                Err(missing) => absent.push(missing),
            }
        }
        Self { running, absent }
    }

    /// A line for each that is missing, so that none is missed silently.
    fn missing(&self, part: &'static str, what: &str) -> Vec<Row> {
        self.absent.iter().map(|absent| missing(part, what, absent)).collect()
    }
}

fn missing(part: &'static str, what: &str, absent: &Absent) -> Row {
    Row {
        remark: Some(absent.why.clone()),
        ..value(
            part,
            format!("{what}: {}", absent.kind.name()),
            Goal::Nothing,
            Unit::Bytes,
            f64::NAN,
        )
    }
}

/// A row without a ratio.
fn value(part: &'static str, name: String, goal: Goal, unit: Unit, value: f64) -> Row {
    Row { part, name, goal, unit, plain: f64::NAN, value, ratios: Vec::new(), remark: None }
}

/// The goal is ours; the others are there to compare with.
fn goal(kind: Kind, goal: Goal) -> Goal {
    if kind.is_judged() { goal } else { Goal::Nothing }
}
