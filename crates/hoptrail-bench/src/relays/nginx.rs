//! nginx: its stream module as a relay, and its HTTP server as the destination of HTTP.

use super::process::{Process, find};
use super::{Leg, Program, Tuning};
use crate::Result;
use crate::lab::Lab;
use hoptrail_engine::EngineError;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Both sides of every held connection; what is shipped (768) could not take part.
const CONNECTIONS: u32 = 131_072;
/// Where distributions put the module; elsewhere it is built in.
const MODULES: [&str; 4] = [
    "/usr/lib/nginx/modules/ngx_stream_module.so",
    "/usr/lib64/nginx/modules/ngx_stream_module.so",
    "/usr/share/nginx/modules/ngx_stream_module.so",
    "/usr/local/lib/nginx/modules/ngx_stream_module.so",
];

pub(super) fn program(leg: &Leg, tuning: Tuning) -> std::result::Result<Program, String> {
    let module = MODULES.iter().find(|path| Path::new(path).is_file());
    let load = module.map(|path| format!("load_module {path};\n")).unwrap_or_default();
    let Leg { listen, forward, .. } = leg;
    let (workers, tuned) = match tuning {
        Tuning::Shipped => ("auto", ""),
        Tuning::Tuned => ("1", "proxy_buffer_size 256k; proxy_half_close on;"),
    };
    let stream = format!(
        "stream {{ server {{ listen {listen} backlog=8192; proxy_timeout 1h; {tuned} proxy_pass {forward}; }} }}"
    );
    configured(&leg.dir, &format!("{load}worker_processes {workers};\n{stream}\n"))
}

/// A fast server with a small answer, on the CPU of the other destinations.
pub(crate) struct Origin {
    #[expect(dead_code, reason = "held for its drop, which ends it")]
    process: Process,
}

impl Origin {
    pub(crate) fn start(lab: &mut Lab, at: SocketAddr) -> Result<Self> {
        let failed = |why: String| EngineError::new(format!("nginx as the HTTP server: {why}"));
        let dir = lab.scratch.sub("origin")?;
        let http = format!(
            "http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1h; \
             client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; \
             scgi_temp_path {dir};\n\
             server {{ listen {at} backlog=8192; location / {{ return 200 \"{body}\"; }} }} }}",
            dir = dir.display(),
            body = "x".repeat(128),
        );
        let program =
            configured(&dir, &format!("worker_processes 1;\n{http}\n")).map_err(failed)?;
        let home = lab.home("origin")?;
        let cpus = [lab.other_cpu];
        let process = Process::start(&program, home, &cpus, &dir.join("log"), at.port());
        Ok(Self { process: process.map_err(failed)? })
    }
}

fn configured(dir: &Path, text: &str) -> std::result::Result<Program, String> {
    let path = find("nginx").ok_or("not installed")?;
    let (config, at) = (dir.join("nginx.conf"), dir.display());
    let whole = format!(
        "daemon off;\npid {at}/pid;\nerror_log {at}/error.log;\n\
         events {{ worker_connections {CONNECTIONS}; }}\n{text}",
    );
    // `load_module` must come before the blocks, `worker_processes` may.
    let (loads, rest): (Vec<&str>, Vec<&str>) =
        whole.lines().partition(|line| line.starts_with("load_module"));
    fs::write(&config, [loads, rest].concat().join("\n") + "\n").map_err(|e| e.to_string())?;
    let args = ["-e", &format!("{at}/error.log"), "-p", &at.to_string(), "-c"];
    let args = args.iter().map(ToString::to_string).chain([config.display().to_string()]);
    Ok(Program { path, args: args.collect() })
}
