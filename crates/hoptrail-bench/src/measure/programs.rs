//! Where the time goes: nanoseconds and runs of each BPF program per operation, from the kernel's own
//! statistics. They cost time themselves, so nothing else is measured while they are on.

use crate::Result;
use crate::lab::{ECHO, INSIDE, Lab, ORIGIN, PROXY, Place, RELAY, SERVED, any, local};
use crate::policy::{self, Target};
use crate::report::{Program, Report};
use crate::wire::Dial;
use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use hoptrail_engine::EngineError;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Operations of each kind; their events must find room.
const BATCH: u32 = 1000;

type Act = fn(&mut Lab) -> Result<()>;

/// Name, what must be there before, and what is counted.
type Operation = (&'static str, Act, Act);

const FEW: [Operation; 7] = [
    ("connect() and close, no filter matches", nothing, |lab| {
        connect(lab, Target::Apart.at(SERVED))
    }),
    ("the same, the listener's side too", nothing, |lab| {
        connect(lab, Target::Apart.at(SERVED + INSIDE))
    }),
    ("connect(), accept and close, redirected", nothing, |lab| {
        connect(lab, Target::Redirected.at(SERVED))
    }),
    ("relay: accept, records, context, SET, dial, close", fill, |lab| {
        lab.proxy.relay(local(RELAY), Dial::Records, BATCH).map(drop)
    }),
    ("64-byte request and response, both sides", nothing, |lab| {
        let to = Target::Apart.at(ECHO + INSIDE);
        lab.generator(Place::Lab)?.ping_pong(to, BATCH).map(drop)
    }),
    ("UDP sendto(), no filter matches", nothing, |lab| {
        datagrams(lab, Target::Apart)?;
        lab.server.received(any(SERVED)).map(drop)
    }),
    ("UDP sendto() and recvfrom(), redirected", nothing, |lab| {
        datagrams(lab, Target::Redirected)?;
        lab.proxy.received(local(PROXY)).map(drop)
    }),
];

const MANY: [Operation; 4] = [
    ("connect() and close, 4096 filters: apart", nothing, |lab| {
        connect(lab, Target::Apart.at(SERVED))
    }),
    ("connect() and close, 4096 filters: none both", nothing, |lab| {
        connect(lab, Target::Crossed.at(SERVED))
    }),
    ("connect() and close, 4096 filters: other executable", nothing, |lab| {
        connect(lab, Target::OtherExe.at(SERVED))
    }),
    ("connect() and close, 4096 filters: permitted", nothing, |lab| {
        connect(lab, Target::Permitted.at(SERVED))
    }),
];

pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> Result<()> {
    let _on = enable_stats(Stats::RunTime)
        .map_err(|e| EngineError::new(format!("cannot have BPF statistics: {e}")))?;
    lab.few()?;
    lab.attach()?;
    each(lab, &FEW, report)?;
    let policy = policy::many(4096, 64, &lab.members);
    lab.load(&policy)?;
    each(lab, &MANY, report)?;
    lab.detach();
    Ok(())
}

fn each(lab: &mut Lab, operations: &[Operation], report: &mut Report) -> Result<()> {
    for (name, prepare, act) in operations {
        // Once without counting: caches and tables are as they will be.
        prepare(lab)?;
        act(lab)?;
        lab.drain()?;
        prepare(lab)?;
        lab.drain()?;
        let before = totals()?;
        act(lab)?;
        let after = totals()?;
        lab.drain()?;
        report.programs(difference(name, &before, &after));
    }
    Ok(())
}

/// What ran in an operation; what ran less than once in fifty only set it up.
fn difference(operation: &'static str, before: &Totals, after: &Totals) -> Vec<Program> {
    let ran = after.iter().filter_map(|(program, (time, runs))| {
        let (time_before, runs_before) = before.get(program).copied().unwrap_or_default();
        let runs = runs - runs_before;
        (runs > u64::from(BATCH) / 50).then(|| Program {
            operation,
            program: program.clone(),
            runs: runs as f64 / f64::from(BATCH),
            nanoseconds: (time - time_before) as f64 / runs as f64,
        })
    });
    let ran: Vec<Program> = ran.collect();
    if ran.is_empty() {
        return vec![Program { operation, program: "none".into(), runs: 0.0, nanoseconds: 0.0 }];
    }
    ran
}

/// Nanoseconds and runs of each program.
type Totals = BTreeMap<String, (u64, u64)>;

fn totals() -> Result<Totals> {
    let failed =
        |e: &dyn std::error::Error| EngineError::new(format!("cannot list BPF programs: {e}"));
    let ours = our_programs().map_err(|e| failed(&e))?;
    let mut totals = BTreeMap::new();
    for program in loaded_programs() {
        let program = program.map_err(|e| failed(&e))?;
        if ours.contains(&program.id()) {
            let name = program.name_as_str().unwrap_or("?").to_owned();
            totals.insert(name, (program.run_time().as_nanos() as u64, program.run_count()));
        }
    }
    Ok(totals)
}

/// The programs of which this process has descriptors: another Hoptrail may be at work.
fn our_programs() -> std::io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo")?.flatten() {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let fields = info.lines().filter_map(|line| line.strip_prefix("prog_id:"));
        ids.extend(fields.filter_map(|id| id.trim().parse::<u32>().ok()));
    }
    Ok(ids)
}

fn connect(lab: &mut Lab, to: std::net::SocketAddr) -> Result<()> {
    lab.generator(Place::Lab)?.connect(to, BATCH).map(drop)
}

fn datagrams(lab: &mut Lab, target: Target) -> Result<()> {
    lab.generator(Place::Lab)?.datagrams(target.at(SERVED), BATCH).map(drop)
}

fn nothing(_: &mut Lab) -> Result<()> {
    Ok(())
}

/// Connections that wait for the relay.
fn fill(lab: &mut Lab) -> Result<()> {
    lab.generator(Place::Lab)?.fill(Target::Relayed.at(ORIGIN), BATCH)
}
