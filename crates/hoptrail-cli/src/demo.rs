//! `hoptrail demo`: two providers inspect one connection, in a network of their own. It checks what it shows, so it
//! is a test of the machine too.

use crate::args::JsonArgs;
use crate::demo_net;
use crate::demo_parts::{self, Seen};
use crate::engines::EngineChoice;
use crate::failure::Failure;
use crate::output::{self, BAD, DIM, GOOD, paint};
use crate::scope::{Scope, ScopeOptions};
use crate::trail;
use crate::wrap::{self, Signals, Wrapped};
use hoptrail_core::records::Provenance;
use hoptrail_engine::config::Config;
use hoptrail_engine::host::doctor;
use hoptrail_engine::host::process::{Identity, Launch};
use hoptrail_engine::trails::{End, TrailRecord};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Show two providers that inspect one connection, and check that all went well
///
/// Needs root and nothing else: origin, proxies and client are part of hoptrail (curl is used if it is there). They
/// run in a network namespace and cgroup of their own, of which nothing stays.
#[derive(clap::Args, Debug)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    json: JsonArgs,
    /// Let the first proxy be one that never sets records
    #[arg(long)]
    rude: bool,
}

/// A demo that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(15);
const PROVIDERS: [&str; 2] = ["acme", "beta"];

/// What one request came to.
struct Fetched {
    destination: SocketAddr,
    status: u8,
    said: String,
}

pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    match show(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            output::error(failure);
            ExitCode::FAILURE
        }
    }
}

fn show(args: &DemoArgs) -> Result<bool, Failure> {
    doctor::ready()?;
    let signals = Signals::forwarded()?;
    // Before any thread is started: what is started from here on lives in the namespace.
    let addresses = demo_net::enter()?;
    let config = configuration(args.rude)?;
    let seen = demo_parts::origin(&addresses)?;
    let options = ScopeOptions { engine: EngineChoice::Auto, parent: None, signals: &signals };
    let mut scope = Scope::open(&config, &options)?;
    let mut fetched = Vec::new();
    for address in addresses {
        fetched.push(fetch(address, &mut scope, &signals)?);
    }
    let (_, lost) = scope.finish()?;
    let wrong = judge(&fetched, &scope, &seen, args.rude);
    if args.json.json {
        let mut document = trail::document(&scope.book, &scope.names, lost);
        document["demo"] = json!({ "ok": wrong.is_empty(), "rude": args.rude, "wrong": wrong });
        output::json(&document);
    } else {
        output::stdout(&text(&fetched, &scope, &wrong, args.rude));
    }
    scope.close()?;
    Ok(wrong.is_empty())
}

fn configuration(rude: bool) -> Result<Config, Failure> {
    let exe =
        std::env::current_exe().map_err(|e| Failure::os("cannot find this program's file", e))?;
    let exe = toml_string(&exe.to_string_lossy());
    let mut text = String::new();
    for (i, name) in PROVIDERS.into_iter().enumerate() {
        let (rank, port) = (200 - i * 100, 15871 + i);
        let rude = if rude && i == 0 { ", \"--rude\"" } else { "" };
        let listen = format!("\"127.0.0.1:{port}\", \"[::1]:{port}\"");
        text += &format!(
            "[provider.{name}]\nrank = {rank}\nlisten = [{listen}]\non-unavailable = \"block\"\n\
             command = [{exe}, \"__proxy\", \"{name}\", {listen}{rude}]\ncontext = \"{name}/v1\"\n\
             [[provider.{name}.filter]]\naction = \"redirect\"\nprotocol = [\"tcp\"]\nports = [\"80\"]\n"
        );
    }
    Ok(Config::from_texts([(PathBuf::from("demo"), text)])?)
}

fn toml_string(text: &str) -> String {
    Value::from(text).to_string()
}

/// Runs the client, as `run` would.
fn fetch(address: IpAddr, scope: &mut Scope, signals: &Signals) -> Result<Fetched, Failure> {
    let destination = SocketAddr::new(address, 80);
    let file = tempfile()?;
    let copy = file.try_clone().map_err(|e| Failure::os("cannot use a temporary file", e))?;
    let launch = Launch {
        argv: client(destination)?,
        cgroup: scope.app().clone(),
        identity: Identity::invoking()?,
        own_session: false,
        signals: signals.before(),
        stdio: [Stdio::null(), Stdio::from(copy), Stdio::inherit()],
    };
    let mut client = Wrapped::start(launch).map_err(|e| Failure::new(e.to_string()))?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = client.tend(signals) {
            break wrap::exit_code(status);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Failure::new(format!(
                "the client got no answer from {destination} in {} s",
                PATIENCE.as_secs()
            )));
        }
        scope.tick(signals)?;
    };
    Ok(Fetched { destination, status, said: contents(file)? })
}

/// curl if it is there, with nothing of the user's own settings; otherwise the client in this program.
fn client(to: SocketAddr) -> Result<Vec<OsString>, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let curl = std::env::split_paths(&path).map(|dir| dir.join("curl")).find(|file| file.is_file());
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    if let Some(curl) = curl {
        let mut argv = vec![curl.into_os_string()];
        argv.extend(words(&[
            "-q",
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "10",
            &format!("http://{to}/"),
        ]));
        return Ok(argv);
    }
    let exe =
        std::env::current_exe().map_err(|e| Failure::os("cannot find this program's file", e))?;
    let mut argv = vec![exe.into_os_string()];
    argv.extend(words(&["__client", &to.to_string()]));
    Ok(argv)
}

/// Everything that is not as it should be.
fn judge(fetched: &[Fetched], scope: &Scope, seen: &Seen, rude: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let trails: Vec<_> = scope.book.trails().collect();
    for one in fetched {
        if one.status != 0 {
            wrong.push(format!(
                "the client to {} ended with status {}",
                one.destination, one.status
            ));
        }
        let own: Vec<_> =
            trails.iter().filter(|t| t.destination == one.destination.into()).collect();
        match own.as_slice() {
            [trail] => wrong.extend(judge_trail(trail, scope, rude)),
            other => wrong.push(format!(
                "{} trails lead to {} instead of one",
                other.len(),
                one.destination
            )),
        }
    }
    let seen = seen.lock().map(|seen| seen.clone()).unwrap_or_default();
    if seen.len() != fetched.len() {
        wrong.push(format!(
            "the origin had {} connections instead of {}",
            seen.len(),
            fetched.len()
        ));
    }
    let all = |through: &Vec<String>| through.iter().eq(PROVIDERS.iter());
    wrong.extend(
        seen.iter()
            .filter(|through| !all(through))
            .map(|through| format!("a request came through {through:?} instead of {PROVIDERS:?}")),
    );
    wrong
}

fn judge_trail(trail: &TrailRecord, scope: &Scope, rude: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let hops: Vec<_> =
        trail.hops().map(|(leg, handle)| (scope.names.of(handle), leg.provenance)).collect();
    let second = if rude { Provenance::Inferred } else { Provenance::Declared };
    let expected =
        [(PROVIDERS[0].to_owned(), Provenance::Fresh), (PROVIDERS[1].to_owned(), second)];
    if hops != expected {
        wrong.push(format!(
            "the hops to {} are {hops:?} instead of {expected:?}",
            trail.destination
        ));
    }
    match trail.outcome().map(|leg| (leg.end, leg.provenance)) {
        Some((End::Reached, Provenance::Declared)) => {}
        other => wrong.push(format!(
            "{} was not reached with declared records: {other:?}",
            trail.destination
        )),
    }
    wrong
}

fn text(fetched: &[Fetched], scope: &Scope, wrong: &[String], rude: bool) -> String {
    let mut out = String::new();
    for one in fetched {
        out += &format!("{}\n", paint(DIM, one.said.trim_end()));
    }
    out += &format!("\n{}\n", trail::text(&scope.book, &scope.names));
    for wrong in wrong {
        out += &format!("{} {wrong}\n", paint(BAD, "✗"));
    }
    if wrong.is_empty() {
        let how = if rude { ", though acme set no records" } else { "" };
        out += &format!("{} each proxy saw each connection exactly once{how}\n", paint(GOOD, "✓"));
    }
    out
}

/// The client's output goes to a file without a name, since a pipe that nobody reads meanwhile could fill.
fn tempfile() -> Result<std::fs::File, Failure> {
    use nix::sys::memfd::{MFdFlags, memfd_create};
    memfd_create(c"hoptrail-demo", MFdFlags::MFD_CLOEXEC)
        .map(std::fs::File::from)
        .map_err(|e| Failure::os("cannot make a temporary file", e))
}

fn contents(mut file: std::fs::File) -> Result<String, Failure> {
    use std::io::{Read, Seek};
    let mut text = String::new();
    file.rewind()
        .and_then(|()| file.read_to_string(&mut text))
        .map_err(|e| Failure::os("cannot read what the client said", e))?;
    Ok(text)
}
