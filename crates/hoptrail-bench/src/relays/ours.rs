//! `hoptrail relay`.

use super::{Inspect, Leg, Program};

/// To a fixed destination, as the others have it.
pub(super) fn forward(leg: &Leg, threads: u8, inspect: Inspect) -> Result<Program, String> {
    let inspect: &[&str] = match inspect {
        Inspect::First => &[],
        // It is searched for in every byte, and never there.
        Inspect::All => &["--inspect", "all", "--watch", "a canary token"],
    };
    let (threads, to) = (threads.to_string(), leg.forward.to_string());
    let forward = ["--protocol", "tcp", "--forward", &to, "--threads", &threads];
    relay(leg, &[&forward, inspect].concat())
}

/// To where the engine says the application wanted.
pub(super) fn provider(leg: &Leg) -> Result<Program, String> {
    relay(leg, &["--threads", "1"])
}

fn relay(leg: &Leg, more: &[&str]) -> Result<Program, String> {
    // Both are built into the same directory.
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let path = exe.with_file_name("hoptrail");
    if !path.is_file() {
        return Err(format!("{} is missing: cargo build --release --bin hoptrail", path.display()));
    }
    let listen = leg.listen.to_string();
    let first = ["relay", "--listen", &listen, "--log", "none"];
    let args = first.iter().chain(more).map(ToString::to_string).collect();
    Ok(Program { path, args })
}
