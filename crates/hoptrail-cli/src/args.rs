//! The command line: the list of verbs, and what several of them share.

use crate::{
    check, cleanup, completions, daemon, demo, demo_parts, doctor, explain, flows, providers,
    reaper, relay, reload, run,
};
use clap::{Parser, Subcommand};
use hoptrail_engine::config::DEFAULT_PATH;
use std::path::PathBuf;

/// Connection redirection with redirect records: several inspecting proxies on one connection,
/// without loops.
#[derive(Parser, Debug)]
#[command(name = "hoptrail", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Every verb. Each has its own file with its arguments and `run`.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    Daemon(daemon::DaemonArgs),
    Reload(reload::ReloadArgs),
    Check(check::CheckArgs),
    Explain(Box<explain::ExplainArgs>),
    Providers(providers::ProvidersArgs),
    Flows(flows::FlowsArgs),
    Relay(relay::RelayArgs),
    Doctor(doctor::DoctorArgs),
    Cleanup(cleanup::CleanupArgs),
    Completions(completions::CompletionsArgs),
    #[command(name = "__reaper", hide = true)]
    Reaper(reaper::ReaperArgs),
    #[command(name = "__proxy", hide = true)]
    Proxy(demo_parts::ProxyArgs),
    #[command(name = "__client", hide = true)]
    Client(demo_parts::ClientArgs),
}

/// `--config`, for the verbs that read it.
#[derive(clap::Args, Debug)]
pub(crate) struct ConfigArgs {
    /// The configuration; the files of `conf.d/*.toml` beside it are read too
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH, value_hint = clap::ValueHint::FilePath)]
    pub(crate) config: PathBuf,
}

/// `--json`, for the verbs that print something for machines.
#[derive(clap::Args, Debug)]
pub(crate) struct JsonArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
