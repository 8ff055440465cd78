//! `hoptrail reload`: asks the daemon to switch to the configuration as it is now.

use crate::control::{self, Request};
use crate::output::{self, GOOD, paint};
use crate::rundir::{DEFAULT_RUN_DIR, RunDir};
use std::path::PathBuf;
use std::process::ExitCode;

/// Let the daemon read its configuration again
///
/// Ends with status 1, and the reason, when the new configuration is wrong; the old policy then stays in force.
#[derive(clap::Args, Debug)]
pub(crate) struct ReloadArgs {
    /// The daemon's directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    run_dir: PathBuf,
}

pub(crate) fn run(args: &ReloadArgs) -> ExitCode {
    match control::ask(&RunDir::at(&args.run_dir), Request::Reload) {
        Ok(answer) if answer.ok => {
            let generation = answer.generation.unwrap_or_default();
            output::stdout(&format!(
                "{} generation {generation} is in force\n",
                paint(GOOD, "reloaded:")
            ));
            ExitCode::SUCCESS
        }
        Ok(answer) => {
            let why = answer.error.unwrap_or_default();
            output::error(format!("not reloaded, the old policy stays in force: {why}"));
            ExitCode::FAILURE
        }
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}
