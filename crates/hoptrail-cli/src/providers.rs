//! `hoptrail providers`: who redirects on this host, and whether their proxies are there. Needs no daemon.

use crate::args::JsonArgs;
use crate::failure::Failure;
use crate::output::{self, ACTED, BAD, DIM, GOOD, NAME, paint};
use crate::rundir::{DEFAULT_RUN_DIR, ProviderState, RunDir, State};
use hoptrail_core::{Endpoint, Protocol};
use hoptrail_engine::host::cgroup2::CgroupDir;
use hoptrail_engine::host::listen::{HERE, Listeners};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// List the providers of the daemon's policy and the state of their proxies
#[derive(clap::Args, Debug)]
pub(crate) struct ProvidersArgs {
    #[command(flatten)]
    json: JsonArgs,
    /// The daemon's directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUN_DIR, value_hint = clap::ValueHint::DirPath)]
    run_dir: PathBuf,
}

/// A provider as it is now.
struct Live<'s> {
    state: &'s ProviderState,
    /// Each address of its proxy, and whether something waits there.
    listen: Vec<(std::net::SocketAddr, bool)>,
    /// Processes of the proxy that hoptrail runs.
    processes: Vec<u32>,
}

pub(crate) fn run(args: &ProvidersArgs) -> ExitCode {
    match list(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}

fn list(args: &ProvidersArgs) -> Result<(), Failure> {
    let dir = RunDir::at(&args.run_dir);
    let Some(state) = dir.state()? else {
        return Err(Failure::new(format!(
            "no hoptrail daemon has loaded a policy here ({} is not there); start `hoptrail daemon`, or say --run-dir",
            args.run_dir.display()
        )));
    };
    let listeners = Listeners::read(Path::new(HERE))
        .map_err(|e| Failure::os(format!("cannot read {HERE}"), e))?;
    let live: Vec<Live<'_>> = state.providers.iter().map(|p| Live::of(p, &listeners)).collect();
    if args.json.json {
        output::json(&document(&state, &live, dir.daemon()));
    } else {
        output::stdout(&text(&state, &live, dir.daemon()));
    }
    Ok(())
}

impl<'s> Live<'s> {
    fn of(state: &'s ProviderState, listeners: &Listeners) -> Self {
        let heard = |at: &std::net::SocketAddr| {
            let at = Endpoint::from(*at);
            listeners.has(Protocol::Tcp, at) || listeners.has(Protocol::Udp, at)
        };
        let dir = state.cgroup.as_ref().and_then(|path| CgroupDir::open(path).ok());
        Self {
            state,
            listen: state.listen.iter().map(|at| (*at, heard(at))).collect(),
            processes: dir.map(|dir| dir.subtree_processes()).unwrap_or_default(),
        }
    }
}

fn text(state: &State, live: &[Live<'_>], daemon: Option<u32>) -> String {
    let mut out = String::new();
    let daemon = daemon.map_or_else(|| "no daemon runs".to_owned(), |pid| format!("daemon {pid}"));
    let head = format!("generation {} on {}, {daemon}", state.generation, state.cgroup.display());
    let _ = writeln!(out, "{}", paint(DIM, head));
    let width = live.iter().map(|provider| provider.state.name.chars().count()).max().unwrap_or(0);
    for provider in live {
        let state = provider.state;
        let places: Vec<_> =
            provider
                .listen
                .iter()
                .map(|(at, heard)| {
                    if *heard {
                        paint(GOOD, at)
                    } else {
                        format!("{} {}", at, paint(BAD, "(gone)"))
                    }
                })
                .collect();
        let proxy = match (&state.command, provider.processes.as_slice()) {
            (None, _) => String::new(),
            (Some(_), []) => format!("  {}", paint(BAD, "proxy does not run")),
            (Some(_), pids) => {
                format!(
                    "  {}",
                    paint(
                        DIM,
                        format!(
                            "proxy {}",
                            pids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
                        )
                    )
                )
            }
        };
        let _ = writeln!(
            out,
            "{}  rank {:>5}  {:>3} filters  {}  {}{proxy}",
            paint(NAME, format!("{:<width$}", state.name)),
            state.rank,
            state.filters,
            paint(ACTED, &state.on_unavailable),
            places.join(" "),
        );
    }
    out
}

fn document(state: &State, live: &[Live<'_>], daemon: Option<u32>) -> Value {
    let providers: Vec<Value> = live
        .iter()
        .map(|provider| {
            let listen: Vec<Value> = provider
                .listen
                .iter()
                .map(|(at, heard)| json!({ "address": at.to_string(), "listening": heard }))
                .collect();
            json!({
                "name": provider.state.name,
                "handle": provider.state.handle,
                "guid": provider.state.guid,
                "rank": provider.state.rank,
                "filters": provider.state.filters,
                "on_unavailable": provider.state.on_unavailable,
                "listen": listen,
                "command": provider.state.command,
                "processes": provider.processes,
            })
        })
        .collect();
    json!({
        "generation": state.generation,
        "cgroup": state.cgroup,
        "config": state.config,
        "pins": state.pins,
        "daemon": daemon,
        "providers": providers,
    })
}
