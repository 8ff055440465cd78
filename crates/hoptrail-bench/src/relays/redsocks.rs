//! redsocks, behind nftables' REDIRECT.

use super::process::find;
use super::{Leg, Program};
use std::fs;

/// More than are held.
const CONNECTIONS: u32 = 60_000;

pub(super) fn program(leg: &Leg) -> Result<Program, String> {
    if !crate::nft::installed() {
        return Err("`nft`, which redirects to it, is not installed".into());
    }
    let path = find("redsocks").ok_or("not installed")?;
    let config = leg.dir.join("redsocks.conf");
    fs::write(&config, configuration(leg)).map_err(|e| e.to_string())?;
    Ok(Program { path, args: vec!["-c".into(), config.display().to_string()] })
}

fn configuration(leg: &Leg) -> String {
    let Leg { listen, forward, .. } = leg;
    // The SOCKS server is the destination itself.
    format!(
        "base {{ log_debug = off; log_info = off; log = stderr; daemon = off; redirector = iptables; \
         redsocks_conn_max = {CONNECTIONS}; }}\n\
         redsocks {{ local_ip = {lip}; local_port = {lport}; ip = {ip}; port = {port}; type = socks5; \
         listenq = 4096; }}\n",
        lip = listen.ip(),
        lport = listen.port(),
        ip = forward.ip(),
        port = forward.port(),
    )
}
