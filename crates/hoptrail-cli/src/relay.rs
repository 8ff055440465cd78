//! `hoptrail relay`: the inspecting relay, from its start to its end.

mod args;
mod listening;
mod settings;
mod telling;

pub(crate) use args::RelayArgs;

use crate::failure::Failure;
use crate::notify;
use crate::output;
use crate::wrap::Signals;
use hoptrail_relay::{Ended, Relay};
use nix::sys::signal::Signal;
use settings::Settings;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telling::Telling;

/// How often it is looked whether anything is to be told or has failed, and, once it stops, whether all has ended.
const WORKING: Duration = Duration::from_secs(1);
const STOPPING: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &RelayArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &RelayArgs) -> Result<(), Failure> {
    let mut settings = Settings::of(args)?;
    if args.check {
        output::stdout("settings and rules are right\n");
        return Ok(());
    }
    // Before any thread is started, so that all have the mask.
    let signals = Signals::take(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])?;
    listening::allow_many_files();
    let metrics = listening::metrics(&settings.config)?;
    let mut telling = Telling::start(&settings.config)?;
    let relay = listening::relay(&settings, telling.observation())?;
    telling.follow(&settings.config, &relay, metrics)?;
    if settings.config.forward.is_none() && !listening::engine_acts_here() {
        telling.warn(listening::NO_ENGINE);
    }
    let summary = settings.summary(&relay, telling.metrics_at());
    telling.say(&summary);
    notify::ready(&summary);
    work(&relay, &signals, &mut settings, &mut telling);
    let ended = stop(relay, &signals, &settings, &telling)?;
    telling.end(ended);
    Ok(())
}

/// Until a signal says to stop, or a worker fails.
fn work(relay: &Relay, signals: &Signals, settings: &mut Settings, telling: &mut Telling) {
    let workers = relay.working();
    loop {
        signals.wait(&[], WORKING);
        while let Some(received) = signals.next() {
            match received.signal {
                // From the kernel: the terminal is gone, and with it whoever ran the relay there.
                Signal::SIGHUP if received.code > 0 => return,
                Signal::SIGHUP => reload(relay, settings, telling),
                Signal::SIGTERM | Signal::SIGINT => return,
                _ => {}
            }
        }
        telling.look();
        if relay.working() < workers {
            return;
        }
    }
}

fn reload(relay: &Relay, settings: &mut Settings, telling: &Telling) {
    notify::reloading();
    let result = settings.reload();
    if let Ok(reloaded) = &result {
        relay.set_rules(Arc::clone(&reloaded.rules));
    }
    // Afterwards: whoever waits for this relies on it.
    telling.reloaded(&result);
    notify::ready(&settings.summary(relay, telling.metrics_at()));
}

/// Lets open connections finish; a second signal resets them at once.
fn stop(
    relay: Relay,
    signals: &Signals,
    settings: &Settings,
    telling: &Telling,
) -> Result<Ended, Failure> {
    notify::stopping();
    telling.stopping(relay.counters(), settings.config.drain);
    relay.drain(settings.config.drain);
    while relay.working() > 0 {
        signals.wait(&[], STOPPING);
        while let Some(received) = signals.next() {
            if matches!(received.signal, Signal::SIGTERM | Signal::SIGINT) {
                relay.drain(Duration::ZERO);
            }
        }
    }
    relay.wait().map_err(|error| Failure::os("a worker of the relay has failed", error))
}
