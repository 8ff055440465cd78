//! P10c: what TCP promises.

use super::{Relays, goal, value};
use crate::Result;
use crate::lab::{Lab, PROMISES, Place, any};
use crate::policy::Target;
use crate::relays::{EVERY_BYTE, FORWARD, HAPROXIES, Kind, NGINXES, Relay};
use crate::report::{Kept, Report};
use crate::rounds::{Goal, Pace, Unit};
use crate::wire::Promise;

const PROMISED: [(Promise, &str); 10] = [
    (Promise::HalfCloseOfClient, "client's half-close"),
    (Promise::HalfCloseOfServer, "server's half-close"),
    (Promise::ResetOfClient, "client's reset"),
    (Promise::ResetOfServer, "server's reset"),
    (Promise::BackPressureUp, "back-pressure up"),
    (Promise::BackPressureDown, "back-pressure down"),
    (Promise::Content, "order and content"),
    (Promise::LastBytes, "bytes before a close"),
    (Promise::ServerFirst, "server speaks first"),
    (Promise::Peek, "FIONREAD, MSG_PEEK"),
];

pub(in crate::measure) fn measure(lab: &mut Lab, _: Pace, report: &mut Report) -> Result<()> {
    lab.relayed()?;
    report.promises(&PROMISED.map(|(_, name)| name));
    let to = Target::Apart.at(PROMISES);
    let direct = |lab: &mut Lab, promise| {
        lab.generator(Place::Plain)?.promise(promise, to, any(PROMISES), false)
    };
    let kept = PROMISED.map(|(promise, _)| direct(lab, promise).into());
    report.kept("direct", kept.into());

    let ours = [FORWARD, EVERY_BYTE, Kind::Provider].into_iter();
    let kinds = ours.chain(HAPROXIES).chain(NGINXES).chain([Kind::Redsocks, Kind::Mitmproxy]);
    let relays = Relays::start(lab, kinds, 1, to);
    for relay in &relays.running {
        one(lab, relay, report)?;
    }
    report.add_rows(relays.missing("P10c", "promises of TCP"));
    Ok(())
}

fn one(lab: &mut Lab, relay: &Relay, report: &mut Report) -> Result<()> {
    let kind = relay.kind;
    if kind.place() == Place::Lab {
        lab.attach()?;
    }
    let kept = PROMISED.map(|(promise, _)| {
        let tried = relay.visit(lab, |generator, to| {
            generator.promise(promise, to, any(PROMISES), kind.speaks_socks())
        });
        Kept::from(tried)
    });
    lab.detach();
    let count = kept.iter().filter(|kept| kept.kept).count();
    let all = goal(kind, Goal::ValueAtLeast(PROMISED.len() as f64));
    let name = format!("promises of TCP kept: {}", kind.name());
    report.add_rows(vec![value("P10c", name, all, Unit::Count, count as f64)]);
    report.kept(kind.name(), kept.into());
    Ok(())
}
