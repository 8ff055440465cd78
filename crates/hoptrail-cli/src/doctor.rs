//! `hoptrail doctor`: every check with its stable id.

use crate::args::JsonArgs;
use crate::cleanup::dead_runs;
use crate::engines::{EngineChoice, open_engine};
use crate::failure::Failure;
use crate::output::{self, ACTED, BAD, DIM, GOOD, paint};
use crate::reaper::Reaper;
use crate::rundir::{DEFAULT_RUN_DIR, RunDir};
use crate::scope::PREFIX;
use hoptrail_engine::host::cgroup2::{Mount, OwnedCgroup};
use hoptrail_engine::host::doctor::{self, Check, Status, check};
use hoptrail_engine::kernel::DEFAULT_PINS;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check what hoptrail needs of this machine, and what else is on the hooks that it uses
///
/// Ends with status 1 when a check fails; warnings are no failure.
#[derive(clap::Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    json: JsonArgs,
    /// Where the kernel side is pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS, value_hint = clap::ValueHint::DirPath)]
    pins: PathBuf,
    /// The daemon's directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    run_dir: PathBuf,
}

pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let mut checks = doctor::machine();
    let (foreign, programs) = doctor::foreign();
    checks.push(foreign);
    checks.push(trial());
    checks.push(leftovers(&args.pins, &RunDir::at(&args.run_dir)));
    let good = checks.iter().all(|check| check.status != Status::Failure);
    if args.json.json {
        output::json(&json!({ "ok": good, "checks": checks, "foreign_programs": programs }));
    } else {
        output::stdout(&checks.iter().map(line).collect::<String>());
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line(check: &Check) -> String {
    let (mark, style) = match check.status {
        Status::Ok => ("ok     ", GOOD),
        Status::Warning => ("warning", ACTED),
        Status::Failure => ("failure", BAD),
    };
    format!(
        "{} {}  {:<17} {}\n",
        paint(DIM, check.id),
        paint(style, mark),
        check.name,
        check.message
    )
}

/// HT-D010: the real thing, in a cgroup of its own that is removed again.
fn trial() -> Check {
    let found = match doctor::ready() {
        Err(_) => Ok("not tried: see the failed checks".to_owned()),
        Ok(()) => attach()
            .map(|()| "the BPF programs load and attach".to_owned())
            .map_err(|failure| (Status::Failure, failure.to_string())),
    };
    check("HT-D010", "engine", found)
}

fn attach() -> Result<(), Failure> {
    let mount = Mount::find()?;
    let own = mount
        .of_process(std::process::id())
        .map_err(|e| Failure::os("cannot read the cgroup of this process", e))?;
    let path = own.path().join(format!("{PREFIX}{}", std::process::id()));
    let _reaper = Reaper::start(&path)?;
    let cgroup = OwnedCgroup::create(path)?;
    open_engine(EngineChoice::Kernel)?.attach(cgroup.dir().path())?;
    Ok(cgroup.end()?)
}

/// HT-D011: what a killed hoptrail left.
fn leftovers(pins: &Path, dir: &RunDir) -> Check {
    let runs = dead_runs();
    let pinned = pins.exists() && dir.daemon().is_none();
    let mut left: Vec<String> = runs.iter().map(|path| path.display().to_string()).collect();
    if pinned {
        left.push(format!("{} (no daemon runs for {DEFAULT_RUN_DIR})", pins.display()));
    }
    let found = if left.is_empty() {
        Ok("nothing".to_owned())
    } else {
        Err((
            Status::Warning,
            format!(
                "{}: start the daemon again, or remove them with `hoptrail cleanup`",
                left.join(", ")
            ),
        ))
    };
    check("HT-D011", "leftovers", found)
}
