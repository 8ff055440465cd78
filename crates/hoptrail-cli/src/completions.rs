//! `hoptrail completions`: completion scripts, generated from the command line itself.

use crate::args::Cli;
use crate::output;
use clap::{CommandFactory, ValueEnum};
use std::process::ExitCode;

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl From<Shell> for clap_complete::Shell {
    fn from(shell: Shell) -> Self {
        match shell {
            Shell::Bash => Self::Bash,
            Shell::Zsh => Self::Zsh,
            Shell::Fish => Self::Fish,
        }
    }
}

pub(crate) fn run(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    let shell = clap_complete::Shell::from(args.shell);
    clap_complete::generate(shell, &mut Cli::command(), "hoptrail", &mut script);
    output::stdout(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
