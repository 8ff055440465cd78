//! The `hoptrail` command: one file per verb, dispatched here.

mod args;
mod check;
mod cleanup;
mod completions;
mod control;
mod daemon;
mod demo;
mod demo_http;
mod demo_net;
mod demo_parts;
mod doctor;
mod engines;
mod explain;
mod failure;
mod flows;
mod log;
mod members;
mod notify;
mod output;
mod pinlock;
mod policy;
mod providers;
mod proxies;
mod reaper;
mod relay;
mod reload;
mod run;
mod rundir;
mod scope;
mod steward;
mod trail;
mod wrap;

use args::{Cli, Verb};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match &Cli::parse().verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Run(args) => run::run(args),
        Verb::Daemon(args) => daemon::run(args),
        Verb::Reload(args) => reload::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Providers(args) => providers::run(args),
        Verb::Flows(args) => flows::run(args),
        Verb::Relay(args) => relay::run(args),
        Verb::Doctor(args) => doctor::run(args),
        Verb::Cleanup(args) => cleanup::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Reaper(args) => reaper::run(args),
        Verb::Proxy(args) => demo_parts::run_proxy(args),
        Verb::Client(args) => demo_parts::run_client(args),
        // Another verb: one line here, one in `args::Verb`, and its own file with `XArgs` and `run`.
    }
}
