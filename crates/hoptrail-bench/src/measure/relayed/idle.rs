//! P10: connections that are held and do nothing.

use super::{goal, missing, value};
use crate::Result;
use crate::lab::{ANSWER, Lab, Place};
use crate::policy::{Target, one_hop};
use crate::relays::{FORWARD, HAPROXIES, Kind, NGINXES, Objects, Relay};
use crate::report::{Report, Row};
use crate::rounds::{Goal, Pace, Unit};
use crate::worker::Worker;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many are held; fewer for a look, and by what takes milliseconds for each.
const HELD: u32 = 50_000;
/// By what dials a single destination: beyond half of the ports the kernel takes ever longer to find another.
const HELD_TO_ONE: u32 = 30_000;
const FEW: u32 = 2_000;
/// Whatever else a process has open.
const OTHER_FILES: u64 = 2048;
/// Opened and closed before, so that a relay has what it needs but once.
const FIRST: u32 = 500;

const USER: Goal = Goal::ValueAtMost(512.0);
const WHOLE: Goal = Goal::ValueAtMost(6144.0);

/// What the connections took.
#[derive(Clone, Copy)]
struct Held {
    /// That answered again when all were open.
    count: u64,
    /// Bytes for each: the relay's own, and the kernel's for the whole machine.
    user: f64,
    unreclaimable: f64,
    objects: f64,
}

pub(in crate::measure) fn measure(lab: &mut Lab, pace: Pace, report: &mut Report) -> Result<()> {
    lab.relayed()?;
    let most = count(lab, Kind::Provider, pace);
    if most < HELD && !pace.quick {
        report.note(format!(
            "P10: a process may have no more than {} descriptors here, and root may not raise that; so {most} \
             connections were held instead of {HELD}.",
            lab.files
        ));
    }
    let count = count(lab, FORWARD, pace);
    let generator = lab.generator(Place::Plain)?;
    let direct = hold(generator, &[Target::Apart.at(ANSWER)], count, || Ok(0))?;
    let ours = [FORWARD, Kind::Provider].into_iter();
    let kinds = ours.chain(HAPROXIES).chain(NGINXES).chain([Kind::Redsocks, Kind::Mitmproxy]);
    for kind in kinds {
        report.add_rows(one(lab, kind, pace, direct));
    }
    Ok(())
}

/// A relay has two descriptors for each; redsocks has two pipes besides.
fn count(lab: &Lab, kind: Kind, pace: Pace) -> u32 {
    let few = pace.quick || kind == Kind::Mitmproxy;
    let each = if kind == Kind::Redsocks { 6 } else { 2 };
    let possible = (lab.files.saturating_sub(OTHER_FILES) / each) as u32;
    let wanted = match kind {
        _ if few => FEW,
        Kind::Provider => HELD,
        _ => HELD_TO_ONE,
    };
    possible.min(wanted)
}

fn one(lab: &mut Lab, kind: Kind, pace: Pace, direct: Held) -> Vec<Row> {
    let count = count(lab, kind, pace);
    let what = format!("{count} idle connections");
    let relay = match Relay::start(lab, kind, 1, Target::Apart.at(ANSWER)) {
        Ok(relay) => relay,
        Err(absent) => return vec![missing("P10", &what, &absent)],
    };
    match through(lab, &relay, count) {
        Ok(held) => rows(kind, &what, count, pace, held, direct),
        Err(e) => {
            let name = format!("{what}: {}", kind.name());
            let row = value("P10", name, Goal::Nothing, Unit::Count, f64::NAN);
            vec![Row { remark: Some(format!("failed: {e}")), ..row }]
        }
    }
}

fn through(lab: &mut Lab, relay: &Relay, count: u32) -> Result<Held> {
    if relay.kind.place() == Place::Lab {
        lab.attach()?;
    }
    let held = relay.visit(lab, |generator, to| {
        let to = match relay.kind {
            Kind::Provider => one_hop().map(|ip| (ip, to.port()).into()).to_vec(),
            _ => vec![to],
        };
        hold(generator, &to, count, || relay.memory())
    });
    let closed = lab.generator.empty();
    lab.detach();
    closed.and(held)
}

fn hold(
    generator: &mut Worker,
    to: &[SocketAddr],
    count: u32,
    memory: impl Fn() -> Result<u64>,
) -> Result<Held> {
    generator.hold(to.to_vec(), FIRST)?;
    generator.empty()?;
    let (kernel_before, user_before) = (settled()?, memory()?);
    generator.hold(to.to_vec(), count)?;
    let (kernel, user) = (settled()?, memory()?);
    let answered = generator.probe()?;
    generator.empty()?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / f64::from(count);
    Ok(Held {
        count: answered,
        user: each(user, user_before),
        unreclaimable: each(kernel.unreclaimable, kernel_before.unreclaimable),
        objects: each(kernel.all, kernel_before.all),
    })
}

/// When closed sockets are gone, or on a machine that never rests after a while.
fn settled() -> Result<Objects> {
    const CALM: u64 = 256 << 10;
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut before = Objects::in_use()?;
    loop {
        sleep(Duration::from_millis(200));
        let now = Objects::in_use()?;
        if now.all.abs_diff(before.all) < CALM || Instant::now() > deadline {
            return Ok(now);
        }
        before = now;
    }
}

fn rows(kind: Kind, what: &str, count: u32, pace: Pace, held: Held, direct: Held) -> Vec<Row> {
    let row = |text: &str, ours: Goal, unit, figure| {
        value("P10", format!("{what}, {text}: {}", kind.name()), goal(kind, ours), unit, figure)
    };
    let sockets = held.user + held.unreclaimable - direct.unreclaimable;
    let objects = held.user + held.objects - direct.objects;
    let wanted = if pace.quick { FEW } else { HELD };
    let all = Goal::ValueAtLeast(f64::from(wanted));
    let whole = held.count == u64::from(count);
    // That no more were tried says nothing about the relay.
    let limited = kind.is_ours() && whole && count < wanted;
    let why = if count == HELD_TO_ONE { "no more were tried" } else { "no more descriptors" };
    let remark = limited.then(|| why.to_owned());
    vec![
        row("user space for each", USER, Unit::Memory, held.user),
        row("with the kernel's two sockets", WHOLE, Unit::Memory, sockets),
        row("with these, their inodes and names", Goal::Nothing, Unit::Memory, objects),
        Row { remark, ..row("of which answer", all, Unit::Count, held.count as f64) },
    ]
}
