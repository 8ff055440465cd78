//! The rows of the table.

mod connects;
mod filters;
mod programs;
mod redirects;
mod relay;
mod relayed;
mod traffic;
mod winsock;

use crate::Result;
use crate::args::Args;
use crate::lab::{Lab, Place};
use crate::report::Report;
use crate::rounds::{Pace, samples};
use std::net::SocketAddr;

/// Connections per slice. What is redirected makes events, which must find room until they are read.
const CONNECTS: u32 = 400;

type Measuring = fn(&mut Lab, Pace, &mut Report) -> Result<()>;

const MEASURING: [(&str, Measuring); 14] = [
    ("p1", connects::measure),
    ("p2", filters::measure),
    ("p3", redirects::measure),
    ("p4", relay::measure),
    ("p5", traffic::measure),
    ("p6", relayed::one_hop),
    ("p6b", relayed::every_byte),
    ("p7", relayed::three_hops),
    ("p8", relayed::latency),
    ("p9", relayed::rate),
    ("p10", relayed::idle),
    ("p10b", relayed::http),
    ("p10c", relayed::promises),
    ("winsock", winsock::measure),
];

pub(crate) fn all(lab: &mut Lab, args: &Args, report: &mut Report) -> Result<()> {
    for (part, measure) in MEASURING {
        if args.wants(part) {
            eprintln!("hoptrail-bench: {part}");
            measure(lab, args.pace, report)?;
        }
    }
    let lost = hoptrail_engine::Engine::counters(&lab.engine)?.events_lost;
    if lost != 0 {
        report.note(format!(
            "{lost} events found no room: some redirected connections cost less than they should have."
        ));
    }
    if args.wants("programs") {
        programs::measure(lab, report)?;
    }
    Ok(())
}

/// connect(2) by the generator at `place`.
fn connect(lab: &mut Lab, place: Place, to: SocketAddr) -> Result<Vec<f64>> {
    lab.generator(place)?.connect(to, CONNECTS).map(samples)
}
