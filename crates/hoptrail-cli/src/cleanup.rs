//! `hoptrail cleanup`: removes what hoptrail left on this machine, and nothing else. It can be repeated.

use crate::args::JsonArgs;
use crate::failure::Failure;
use crate::output::{self, paint};
use crate::pinlock::PinLock;
use crate::rundir::{DEFAULT_RUN_DIR, RunDir};
use crate::scope::PREFIX;
use crate::steward::is_proxies_cgroup;
use hoptrail_engine::host::cgroup2::{CgroupDir, Mount};
use hoptrail_engine::kernel::{self, DEFAULT_PINS};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Remove the kernel side, the proxies and the files that a daemon or a killed run left behind
///
/// Running commands of `hoptrail run` are left alone; a running daemon must be stopped first.
#[derive(clap::Args, Debug)]
pub(crate) struct CleanupArgs {
    #[command(flatten)]
    json: JsonArgs,
    /// Where the kernel side is pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS, value_hint = clap::ValueHint::DirPath)]
    pins: PathBuf,
    /// The daemon's directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    run_dir: PathBuf,
}

pub(crate) fn run(args: &CleanupArgs) -> ExitCode {
    let mut removed = Vec::new();
    let done = clean(args, &mut removed);
    if args.json.json {
        let error = done.as_ref().err().map(ToString::to_string);
        output::json(&json!({ "removed": removed, "error": error }));
    } else {
        for path in &removed {
            output::stdout(&format!("removed {}\n", path.display()));
        }
        if removed.is_empty() && done.is_ok() {
            output::stdout(&format!("{}\n", paint(output::DIM, "nothing of hoptrail was left")));
        }
    }
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}

fn clean(args: &CleanupArgs, removed: &mut Vec<PathBuf>) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(
            "hoptrail needs root to remove its kernel side: run it with sudo",
        ));
    }
    let dir = RunDir::at(&args.run_dir);
    if let Some(pid) = dir.daemon() {
        return Err(Failure::new(format!(
            "a hoptrail daemon runs (process {pid}); stop it first, then nothing of it is in use"
        )));
    }
    let _pins = args.pins.exists().then(|| PinLock::take(&args.pins)).transpose()?;
    // The kernel side goes first: proxies that are gone would otherwise block connections meanwhile.
    removed.extend(kernel::cleanup(&args.pins)?);
    // The file could name anything; only a cgroup with our name is ended.
    if let Some(state) =
        dir.state().unwrap_or(None).filter(|state| is_proxies_cgroup(&state.proxies))
    {
        remove_cgroup(&state.proxies, removed)?;
    }
    for path in dead_runs() {
        remove_cgroup(&path, removed)?;
    }
    removed.extend(dir.remove());
    Ok(())
}

/// Cgroups of runs whose hoptrail is dead and whose reaper was killed too.
pub(crate) fn dead_runs() -> Vec<PathBuf> {
    Mount::find().map(|mount| mount.search(&is_dead_run)).unwrap_or_default()
}

fn is_dead_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !is_hoptrail(pid))
}

/// A process id may have been given to another program since.
fn is_hoptrail(pid: u32) -> bool {
    let own = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == own)
}

fn remove_cgroup(path: &Path, removed: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let Ok(dir) = CgroupDir::open(path) else { return Ok(()) };
    dir.kill()?;
    dir.remove()?;
    removed.push(path.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_of_dead_hoptrails_are_dead() {
        let own = std::process::id();
        assert!(
            !is_dead_run(Path::new(&format!("/g/{PREFIX}{own}"))),
            "this test has this process's name"
        );
        assert!(is_dead_run(Path::new(&format!("/g/{PREFIX}4294967290"))));
        assert!(is_dead_run(Path::new(&format!("/g/{PREFIX}1"))), "process 1 is no hoptrail");
        for other in ["/g/hoptrail", "/g/hoptrail-run-", "/g/hoptrail-run-x", "/g/app"] {
            assert!(!is_dead_run(Path::new(other)), "{other}");
        }
    }
}
