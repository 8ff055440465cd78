//! `hoptrail-bench`: what Hoptrail costs, measured against the same work without it.
//!
//! Everything happens in a network namespace and below a cgroup of its own, and ends with the
//! process. docs/performance.md has the method and the figures.

mod args;
mod host;
mod lab;
mod launch;
mod measure;
mod netns;
mod nft;
mod policy;
mod relays;
mod report;
mod rounds;
mod scratch;
mod wire;
mod work;
mod worker;

use args::{Args, Format};
use hoptrail_engine::EngineError;
use report::Report;
use std::process::ExitCode;

pub(crate) type Result<T> = std::result::Result<T, EngineError>;

fn main() -> ExitCode {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.first().is_some_and(|first| first == worker::ARGUMENT) {
        work::run();
        return ExitCode::SUCCESS;
    }
    if given.first().is_some_and(|first| first == launch::ARGUMENT) {
        eprintln!("hoptrail-bench: cannot launch: {}", launch::run(&given[1..]));
        return ExitCode::from(126);
    }
    let args = match Args::parse(&given) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("hoptrail-bench: {problem}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        // The workers were killed to clean up, of which the error tells.
        Err(_) if lab::interrupted() => loop {
            std::thread::park();
        },
        Err(error) => {
            eprintln!("hoptrail-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut lab = lab::Lab::open(args.relay_cpus.clone())?;
    let mut report = Report::new(host::describe(), args.pace.rounds);
    measure::all(&mut lab, args, &mut report)?;
    match args.format {
        Format::Text => print!("{}", report.text()),
        Format::Markdown => print!("{}", report.markdown()),
        Format::Json => println!("{}", report.json()),
    }
    Ok(())
}
