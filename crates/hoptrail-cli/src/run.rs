//! `hoptrail run`: a policy for one command and everything it starts.

use crate::args::ConfigArgs;
use crate::engines::EngineChoice;
use crate::failure::Failure;
use crate::output;
use crate::scope::{Scope, ScopeOptions};
use crate::trail::{self, TrailFormat};
use crate::wrap::{self, Signals, Wrapped};
use hoptrail_engine::config::Config;
use hoptrail_engine::host::process::{Identity, Launch};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

/// Run a command under a configuration, which acts on its process tree only
///
/// The exit status is the command's own; 128 + n when signal n killed it, 125 when hoptrail failed, 126 when the
/// command cannot be executed, 127 when it is not there. Under sudo the command runs as the user who called sudo.
#[derive(clap::Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The engine
    #[arg(long, value_enum, default_value_t)]
    engine: EngineChoice,
    /// How the trails are printed to standard error when the command has ended
    #[arg(long, value_enum, default_value = "text")]
    trail: TrailFormat,
    /// Run the command as this user (name or number)
    #[arg(long, value_name = "USER", value_hint = clap::ValueHint::Username)]
    user: Option<String>,
    /// Make the run's cgroup below this one instead of below hoptrail's own
    #[arg(long, value_name = "CGROUP")]
    cgroup_parent: Option<PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &RunArgs) -> ExitCode {
    match execute(args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::error(failure);
            ExitCode::from(wrap::FAILED)
        }
    }
}

fn execute(args: &RunArgs) -> Result<u8, Failure> {
    let signals = Signals::forwarded()?;
    let identity = args
        .user
        .as_deref()
        .map_or_else(Identity::invoking, |user| Identity::named(user).map(Some))?;
    let config = Config::load(&args.config.config)?;
    let options = ScopeOptions {
        engine: args.engine,
        parent: args.cgroup_parent.as_deref(),
        signals: &signals,
    };
    let mut scope = Scope::open(&config, &options)?;
    let launch = Launch {
        argv: args.command.clone(),
        cgroup: scope.app().clone(),
        identity,
        own_session: false,
        signals: signals.before(),
        stdio: [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()],
    };
    let code = match Wrapped::start(launch) {
        Ok(wrapped) => {
            let code = accompany(wrapped, &mut scope, &signals)?;
            report(&mut scope, args.trail)?;
            code
        }
        Err(error) => {
            output::error(&error);
            wrap::start_code(&error)
        }
    };
    scope.close()?;
    Ok(code)
}

fn accompany(mut wrapped: Wrapped, scope: &mut Scope, signals: &Signals) -> Result<u8, Failure> {
    loop {
        if let Some(status) = wrapped.tend(signals) {
            return Ok(wrap::exit_code(status));
        }
        scope.tick(signals)?;
    }
}

fn report(scope: &mut Scope, format: TrailFormat) -> Result<(), Failure> {
    let (left, lost) = scope.finish()?;
    if left > 0 {
        let what = if left == 1 { "a process" } else { "processes" };
        output::warning(format!(
            "{what} that the command left running ({left}): ended, since nothing would be redirected any more"
        ));
    }
    match format {
        TrailFormat::None => {}
        TrailFormat::Json => {
            output::stderr(&format!("{}\n", trail::document(&scope.book, &scope.names, lost)))
        }
        TrailFormat::Text => {
            output::stderr(&trail::text(&scope.book, &scope.names));
            if lost > 0 {
                output::warning(format!(
                    "{lost} events came too fast to be read; trails may be missing"
                ));
            }
        }
    }
    Ok(())
}
