//! mitmproxy as a relay of TCP.

use super::process::find;
use super::{Leg, Program};

pub(super) fn program(leg: &Leg) -> Result<Program, String> {
    let path = find("mitmdump").ok_or("not installed (`mitmdump`)")?;
    let Leg { listen, forward, dir, .. } = leg;
    let args = [
        "--quiet".to_owned(),
        "--mode".to_owned(),
        format!("reverse:tcp://{forward}"),
        "--listen-host".to_owned(),
        listen.ip().to_string(),
        "--listen-port".to_owned(),
        listen.port().to_string(),
        "--set".to_owned(),
        // Certificates and the like.
        format!("confdir={}", dir.display()),
    ];
    Ok(Program { path, args: args.into() })
}
