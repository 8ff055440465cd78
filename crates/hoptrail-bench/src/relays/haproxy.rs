//! HAProxy in TCP mode.

use super::process::find;
use super::{Leg, Program, Tuning};
use std::fs;

/// Descriptors for anything but connections: pipes above all, two each.
const PIPES: u64 = 512;
const OTHER: u64 = 2 * PIPES + 256;
/// More than are held.
const MOST: u64 = 60_000;

pub(super) fn program(leg: &Leg, tuning: Tuning) -> Result<Program, String> {
    let path = find("haproxy").ok_or("not installed")?;
    let config = leg.dir.join("haproxy.cfg");
    fs::write(&config, configuration(leg, tuning)).map_err(|e| e.to_string())?;
    // -db: in the foreground.
    Ok(Program { path, args: vec!["-db".into(), "-f".into(), config.display().to_string()] })
}

fn configuration(leg: &Leg, tuning: Tuning) -> String {
    let Leg { listen, forward, files, .. } = leg;
    // It refuses to start with more than the limit of descriptors allows.
    let max = (files.saturating_sub(OTHER) / 2).min(MOST);
    let splicing = format!(
        "    nbthread 1\n    maxpipes {PIPES}\n    tune.pipesize 1048576\n    tune.bufsize 65536\n"
    );
    let (global, defaults) = match tuning {
        Tuning::Shipped => ("", ""),
        Tuning::Tuned => {
            (splicing.as_str(), "    option splice-request\n    option splice-response\n")
        }
    };
    format!(
        "global\n    maxconn {max}\n{global}\ndefaults\n    mode tcp\n    maxconn {max}\n    backlog 8192\n{defaults}    \
         timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\nlisten relay\n    bind {listen}\n    \
         server destination {forward}\n"
    )
}
