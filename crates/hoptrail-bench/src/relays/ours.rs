//! `hoptrail relay`.

use super::{Leg, Program, Setting};

/// To a fixed destination, as the others have it.
pub(super) fn forward(leg: &Leg, setting: Setting) -> Result<Program, String> {
    let setting: &[&str] = match setting {
        Setting::Shipped => &[],
        Setting::OneThread => &["--threads", "1"],
        Setting::SystemCongestion => &["--congestion", "system"],
        Setting::WithoutSpinning => &["--spin", "never"],
        // They are searched for in every byte, and never there.
        Setting::EveryByte => &[
            "--inspect=all",
            "--watch=a canary token",
            "--watch=-----BEGIN OPENSSH PRIVATE KEY-----",
            "--watch=hex:cafed00d8badf00d",
        ],
    };
    let to = leg.forward.to_string();
    relay(leg, &[&["--protocol", "tcp", "--forward", &to], setting].concat())
}

/// To where the engine says the application wanted.
pub(super) fn provider(leg: &Leg) -> Result<Program, String> {
    relay(leg, &[])
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
