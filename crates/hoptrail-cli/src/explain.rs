//! `hoptrail explain`: what would happen to one connection, and which filter decides it. The answer
//! comes from the same decision that the kernel takes.

mod asked;
mod question;

use crate::args::{ConfigArgs, JsonArgs};
use crate::output::{self, ACTED, BAD, DIM, GOOD, NAME, paint};
use crate::policy::{self, Policy, place_json};
use anstyle::Style;
use asked::{Answer, Asked};
use clap::ValueHint;
use hoptrail_core::Endpoint;
use hoptrail_core::image::Action;
use question::Question;
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Say what would happen to a connection, and which filter decides it
///
/// Needs no privileges and sends nothing. Listeners count as present unless --down names them.
/// Processes of providers that hoptrail runs itself are known only by --as.
#[derive(clap::Args, Debug)]
pub(crate) struct ExplainArgs {
    /// Destination as ADDRESS:PORT, an IPv6 address in brackets
    #[arg(long, value_name = "ADDR:PORT")]
    to: SocketAddr,
    /// Executable of the connecting process: a path, or a name to be found in PATH
    #[arg(long, value_name = "EXE", value_hint = ValueHint::ExecutablePath)]
    exe: Option<PathBuf>,
    /// User of the connecting process, by name or number [default: you]
    #[arg(long, value_hint = ValueHint::Username)]
    user: Option<String>,
    /// Cgroup of the connecting process, as in /proc/PID/cgroup
    #[arg(long, default_value = "/")]
    cgroup: String,
    /// Transport protocol
    #[arg(long, default_value = "tcp")]
    protocol: Transport,
    /// Providers that have redirected the connection already, oldest first
    #[arg(long, value_name = "PROVIDER,…", value_delimiter = ',')]
    trail: Vec<String>,
    /// Executable of the process that first made the connection [default: that of --exe]
    #[arg(long, value_name = "EXE", requires = "trail", value_hint = ValueHint::ExecutablePath)]
    original_exe: Option<PathBuf>,
    /// User of the process that first made the connection [default: that of --user]
    #[arg(long, value_name = "USER", requires = "trail", value_hint = ValueHint::Username)]
    original_user: Option<String>,
    /// The connecting process is this provider's proxy; without --trail it has set no records
    #[arg(long = "as", value_name = "PROVIDER")]
    member_of: Option<String>,
    /// Nothing listens at these providers' addresses
    #[arg(long, value_name = "PROVIDER,…", value_delimiter = ',')]
    down: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Transport {
    Tcp,
    Udp,
}

pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let file = &args.config.config;
    let policy = match policy::load(file) {
        Ok(policy) => policy,
        Err(error) => {
            policy::print_errors(file, &error);
            return ExitCode::FAILURE;
        }
    };
    policy.warnings.iter().for_each(output::warning);
    let question = match Question::new(args, &policy) {
        Ok(question) => question,
        Err(message) => {
            output::error(message);
            return ExitCode::FAILURE;
        }
    };
    let answer = question.ask(&policy);
    if args.json.json {
        output::json(&as_json(&answer, &policy, &question));
    } else {
        output::stdout(&as_text(&answer, &policy, &question));
    }
    ExitCode::SUCCESS
}

const fn style(action: Action) -> Style {
    match action {
        Action::Permit => GOOD,
        Action::Block => BAD,
        Action::Redirect => ACTED,
    }
}

/// Where a redirected connection goes.
fn listener(answer: &Answer, policy: &Policy, question: &Question) -> Option<Endpoint> {
    let provider = &policy.compiled.providers[answer.deciding()?.provider];
    let redirected = answer.action == Action::Redirect;
    let v4 = question.to().ip.is_v4();
    if v4 { provider.listen_v4 } else { provider.listen_v6 }.filter(|_| redirected)
}

fn as_text(answer: &Answer, policy: &Policy, question: &Question) -> String {
    let mut out = paint(style(answer.action), answer.action.name());
    if let Some(listener) = listener(answer, policy, question) {
        let _ = write!(out, " to {listener}");
    }
    let _ = writeln!(out, ": {}", answer.reason.text());
    if let Some(asked) = answer.deciding() {
        let _ = writeln!(
            out,
            "decided by {}, {}",
            paint(NAME, &policy.config.providers[asked.provider].name),
            filter_text(asked, policy)
        );
    }
    for name in question.member_names(policy) {
        let _ = writeln!(
            out,
            "the connecting process is a proxy of {} and sets no records: only providers ranked after it may redirect",
            paint(NAME, name)
        );
    }
    let width = policy.config.providers.iter().map(|p| p.name.len()).max().unwrap_or(0);
    for (i, provider) in policy.config.providers.iter().enumerate() {
        let name = format!("{:<width$}", provider.name);
        let outcome = match answer.asked.iter().find(|asked| asked.provider == i) {
            Some(asked) => {
                let filter = format!("({})", filter_text(asked, policy));
                format!("{} {}", asked.reason.text(), paint(DIM, filter))
            }
            None => paint(DIM, answer.unasked(i).1),
        };
        let _ = writeln!(out, "  {:>6} {}  {outcome}", provider.rank.value, paint(NAME, name));
    }
    out
}

fn filter_text(asked: &Asked, policy: &Policy) -> String {
    let place = &policy.config.providers[asked.provider].filters[asked.filter].place;
    format!("filter {}, {}:{}", asked.filter + 1, place.file.display(), place.line)
}

fn as_json(answer: &Answer, policy: &Policy, question: &Question) -> Value {
    let providers: Vec<Value> = (0..policy.config.providers.len())
        .map(|i| match answer.asked.iter().find(|asked| asked.provider == i) {
            Some(asked) => asked_json(asked, policy),
            None => {
                let (id, text) = answer.unasked(i);
                let provider = &policy.config.providers[i];
                json!({ "provider": provider.name, "rank": provider.rank.value, "outcome": id, "text": text })
            }
        })
        .collect();
    json!({
        "action": answer.action.name(),
        "reason": answer.reason.id(),
        "text": answer.reason.text(),
        "to": listener(answer, policy, question).map(|to| to.to_string()),
        "decided-by": answer.deciding().map(|asked| asked_json(asked, policy)),
        "unrecorded-proxy-of": question.member_names(policy),
        "providers": providers,
    })
}

fn asked_json(asked: &Asked, policy: &Policy) -> Value {
    let provider = &policy.config.providers[asked.provider];
    json!({
        "provider": provider.name,
        "rank": provider.rank.value,
        "outcome": asked.reason.id(),
        "text": asked.reason.text(),
        "filter": asked.filter + 1,
        "place": place_json(&provider.filters[asked.filter].place),
    })
}
