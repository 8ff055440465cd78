//! `hoptrail flows`: the redirected connections that are open, from the pinned maps. Needs no daemon.

use crate::args::JsonArgs;
use crate::failure::Failure;
use crate::output::{self, ACTED, DIM, NAME, paint};
use crate::rundir::{DEFAULT_RUN_DIR, RunDir};
use crate::trail::{Names, user};
use hoptrail_core::records::Provenance;
use hoptrail_engine::kernel::{self, DEFAULT_PINS, LiveLink};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// List the redirected connections that are open
#[derive(clap::Args, Debug)]
pub(crate) struct FlowsArgs {
    #[command(flatten)]
    json: JsonArgs,
    /// Where the kernel side is pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS, value_hint = clap::ValueHint::DirPath)]
    pins: PathBuf,
    /// The daemon's directory, which knows the providers' names
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    run_dir: PathBuf,
}

pub(crate) fn run(args: &FlowsArgs) -> ExitCode {
    match list(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}

fn list(args: &FlowsArgs) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new("hoptrail needs root to read its kernel side: run it with sudo"));
    }
    let mut names = Names::default();
    if let Some(state) = RunDir::at(&args.run_dir).state()? {
        names.add_state(&state);
    }
    let mut links = kernel::pinned_links(&args.pins)?;
    links.sort_by_key(|link| (link.trail.header.id, link.trail.header.hops));
    if args.json.json {
        output::json(
            &json!({ "flows": links.iter().map(|link| value(link, &names)).collect::<Vec<_>>() }),
        );
    } else {
        output::stdout(&links.iter().map(|link| text(link, &names)).collect::<String>());
    }
    Ok(())
}

/// One line per leg: who, from where through whom to where.
fn text(link: &LiveLink, names: &Names) -> String {
    let header = &link.trail.header;
    let mut line = format!(
        "{}{} {} → {}",
        paint(NAME, header.name()),
        paint(DIM, format!("[{}]", header.pid)),
        paint(DIM, format!("({})", user(header.uid))),
        header.destination(),
    );
    for hop in link.trail.hops() {
        let how = match hop.provenance() {
            Provenance::Fresh => String::new(),
            other => format!(" {}", paint(DIM, other.name())),
        };
        let _ = write!(line, "  {} {}{how}", paint(ACTED, names.of(hop.handle)), hop.to());
    }
    line + "\n"
}

fn value(link: &LiveLink, names: &Names) -> Value {
    let header = &link.trail.header;
    let hops: Vec<Value> = link
        .trail
        .hops()
        .iter()
        .map(|hop| {
            json!({
                "provider": names.of(hop.handle),
                "filter": hop.filter + 1,
                "from": hop.from().to_string(),
                "to": hop.to().to_string(),
                "provenance": hop.provenance().name(),
                "pid": hop.pid,
            })
        })
        .collect();
    json!({
        "id": link.id,
        "trail": format!("{:016x}{:016x}", header.id[0], header.id[1]),
        "protocol": header.protocol().map(|protocol| protocol.name()),
        "application": { "pid": header.pid, "uid": header.uid, "name": header.name() },
        "destination": header.destination().to_string(),
        "hops": hops,
    })
}
