//! `hoptrail daemon`: a policy for the whole host or one cgroup. The kernel side is pinned and outlives it.

use crate::args::ConfigArgs;
use crate::control::{Answer, Request, Server};
use crate::failure::Failure;
use crate::log::{Level, LogFormat};
use crate::notify;
use crate::rundir::{DEFAULT_RUN_DIR, RunDir};
use crate::steward::Steward;
use crate::wrap::Signals;
use hoptrail_engine::host::doctor;
use hoptrail_engine::kernel::DEFAULT_PINS;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Act on the whole host, or on one cgroup, until stopped
///
/// SIGHUP or `hoptrail reload` switches to the configuration as it is then; a wrong one changes nothing. When the
/// daemon ends, the kernel side and the proxies stay: `hoptrail cleanup` removes them.
#[derive(clap::Args, Debug)]
pub(crate) struct DaemonArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Act on this cgroup and everything below instead of on the whole host
    #[arg(long, value_name = "CGROUP", default_value = "/")]
    pub(crate) cgroup: PathBuf,
    /// Where the kernel side is pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PINS, value_hint = clap::ValueHint::DirPath)]
    pub(crate) pins: PathBuf,
    /// Where lock, control socket and state are
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    pub(crate) run_dir: PathBuf,
    /// How events are told
    #[arg(long, value_enum, default_value_t)]
    pub(crate) log_format: LogFormat,
}

/// How often the proxies are looked after: those that run, and those that do not listen yet.
const IDLE: Duration = Duration::from_millis(200);
const STARTING: Duration = Duration::from_millis(10);

pub(crate) fn run(args: &DaemonArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            args.log_format.say(Level::Error, failure);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &DaemonArgs) -> Result<(), Failure> {
    doctor::ready()?;
    let signals = Signals::take(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    let dir = RunDir::at(&args.run_dir);
    let _lock = dir.lock()?;
    let mut steward = Steward::open(args, &dir, signals.before())?;
    let control = Server::open(&dir)?;
    notify::ready(&steward.summary());
    args.log_format.say(Level::Info, steward.summary());
    loop {
        let pause = if steward.all_listen() { IDLE } else { STARTING };
        steward.wait(&signals, &control, pause);
        if let Some(signal) = take(&signals, &mut steward) {
            return stop(args, signal);
        }
        control.serve(|request| answer(&mut steward, request));
        steward.tick()?;
    }
}

/// Does what signals ask; gives the one that ends the daemon.
fn take(signals: &Signals, steward: &mut Steward) -> Option<Signal> {
    while let Some(received) = signals.next() {
        match received.signal {
            Signal::SIGHUP => {
                let _ = steward.reload();
            }
            Signal::SIGTERM | Signal::SIGINT => return Some(received.signal),
            _ => {}
        }
    }
    None
}

fn answer(steward: &mut Steward, request: Request) -> Answer {
    Answer::of(match request {
        Request::Reload => steward.reload().map_err(|failure| failure.to_string()),
        Request::Status => Ok(steward.generation()),
    })
}

fn stop(args: &DaemonArgs, signal: Signal) -> Result<(), Failure> {
    notify::stopping();
    args.log_format.say(
        Level::Info,
        format!(
            "stopped by {signal}; connections are redirected as before, since the kernel side stays in {} and the \
             proxies run on: `hoptrail cleanup` removes them",
            args.pins.display()
        ),
    );
    Ok(())
}
