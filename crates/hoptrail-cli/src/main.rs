//! The `hoptrail` command: one file per verb, dispatched here.

mod args;
mod check;
mod completions;
mod explain;
mod output;
mod policy;

use args::{Cli, Verb};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match &Cli::parse().verb {
        Verb::Check(args) => check::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::Completions(args) => completions::run(args),
        // Another verb: one line here, one in `args::Verb`, and its own file with `XArgs` and `run`.
    }
}
