//! `hoptrail check`: is a configuration right, and what does it compile to.

use crate::args::{ConfigArgs, JsonArgs};
use crate::output::{self, ACTED, DIM, GOOD, NAME, paint};
use crate::policy::{self, Policy, place_json, problem_json};
use hoptrail_core::image::{Action, IMAGE_WORDS, intervals};
use hoptrail_engine::config::{Members, Provider};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// Say whether a configuration is right, and what it compiles to
///
/// Needs no privileges and changes nothing. Exit status: 0 when the configuration is right, 1 when
/// it is not.
#[derive(clap::Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: &CheckArgs) -> ExitCode {
    let file = &args.config.config;
    match policy::load(file) {
        Ok(policy) if args.json.json => output::json(&as_json(&policy)),
        Ok(policy) => output::stdout(&as_text(&policy)),
        Err(error) => {
            if args.json.json {
                let errors: Vec<Value> = error.problems.iter().map(problem_json).collect();
                output::json(&json!({ "ok": false, "errors": errors }));
            } else {
                policy::print_errors(file, &error);
            }
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn as_text(policy: &Policy) -> String {
    let providers = &policy.config.providers;
    let filters: usize = providers.iter().map(|p| p.filters.len()).sum();
    let mut out = String::new();
    let counts = format!("{}, {}", count(providers.len(), "provider"), count(filters, "filter"));
    let _ = writeln!(out, "{} {counts}", paint(GOOD, "right:"));
    for provider in providers {
        let _ = write!(out, "\n{}", provider_text(provider));
    }
    let [v4, v6, ports] = intervals(&policy.compiled.words);
    let _ = writeln!(
        out,
        "\ncompiled: {} of {} KiB, {}, intervals: {v4} IPv4, {v6} IPv6, {ports} of ports",
        (policy.compiled.words.len() * 8).div_ceil(1024),
        IMAGE_WORDS * 8 / 1024,
        count(policy.compiled.sets, "set"),
    );
    for warning in &policy.warnings {
        let _ = writeln!(out, "{} {warning}", paint(ACTED, "warning:"));
    }
    out
}

fn provider_text(provider: &Provider) -> String {
    let listeners = listeners(provider).join(", ");
    let gone = format!("when gone: {}", provider.on_unavailable.name());
    let rows = [
        (
            "listens",
            if listeners.is_empty() {
                "nowhere".to_owned()
            } else {
                format!("{listeners}; {gone}")
            },
        ),
        ("members", members_text(provider)),
        ("filters", filters_text(provider)),
        ("guid", provider.guid.to_string()),
    ];
    let mut out = format!(
        "{}  rank {}  {}\n",
        paint(NAME, &provider.name),
        provider.rank.value,
        paint(DIM, &provider.place)
    );
    for (name, text) in rows {
        let _ = writeln!(out, "  {name:<8} {text}");
    }
    out
}

fn listeners(provider: &Provider) -> Vec<String> {
    [provider.listen_v4, provider.listen_v6].iter().flatten().map(ToString::to_string).collect()
}

fn members_text(provider: &Provider) -> String {
    if let Some(command) = &provider.command {
        return format!("the command {}", command.join(" "));
    }
    let Members { cgroups, exes, users } = &provider.members;
    let cgroups = cgroups.iter().map(|cgroup| format!("cgroup {}", cgroup.value));
    let exes = exes.iter().map(|exe| format!("exe {}", exe.value.display()));
    let users = users.iter().map(|user| format!("user {}", user.value));
    let all: Vec<String> = cgroups.chain(exes).chain(users).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}

fn filters_text(provider: &Provider) -> String {
    let with = |action: Action| provider.filters.iter().filter(|f| f.action == action).count();
    let kinds = [Action::Redirect, Action::Block, Action::Permit].map(|a| (a.name(), with(a)));
    let kinds: Vec<String> = kinds
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(action, n)| format!("{n} {action}"))
        .collect();
    if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn as_json(policy: &Policy) -> Value {
    let [v4, v6, ports] = intervals(&policy.compiled.words);
    json!({
        "ok": true,
        "files": policy.config.files,
        "providers": policy.config.providers.iter().map(provider_json).collect::<Vec<_>>(),
        "image": {
            "bytes": policy.compiled.words.len() * 8,
            "limit": IMAGE_WORDS * 8,
            "sets": policy.compiled.sets,
            "intervals": { "ipv4": v4, "ipv6": v6, "ports": ports },
        },
        "warnings": policy.warnings.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

fn provider_json(provider: &Provider) -> Value {
    let Members { cgroups, exes, users } = &provider.members;
    json!({
        "name": provider.name,
        "place": place_json(&provider.place),
        "guid": provider.guid.to_string(),
        "rank": provider.rank.value,
        "listen": listeners(provider),
        "on-unavailable": provider.on_unavailable.name(),
        "command": provider.command,
        "members": {
            "cgroup": cgroups.iter().map(|cgroup| &cgroup.value).collect::<Vec<_>>(),
            "exe": exes.iter().map(|exe| &exe.value).collect::<Vec<_>>(),
            "user": users.iter().map(|user| user.value.to_string()).collect::<Vec<_>>(),
        },
        "filters": provider.filters.len(),
    })
}
