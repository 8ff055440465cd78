//! What must hold beyond single values: a provider's keys together, and the providers together.

use super::place::Problem;
use super::{Config, Provider};
use hoptrail_core::compile::handle_of;
use hoptrail_core::image::{Action, MAX_FILTERS, MAX_PROVIDERS};

/// What is wrong with a provider's keys together.
pub(super) fn provider(provider: &Provider) -> Vec<String> {
    let name = &provider.name;
    let mut wrong = Vec::new();
    if provider.command.is_some() && provider.has_members {
        wrong.push(format!(
            "provider {name} has both \"command\" and \"members\"; with \"command\" the process that hoptrail starts and its children are the members"
        ));
    }
    if !provider.needs_proxy() {
        return wrong;
    }
    if provider.command.is_none() && !provider.has_members {
        wrong.push(format!(
            "provider {name} has neither \"command\" nor \"members\", so nobody could act as its proxy; give it one of them"
        ));
    }
    if provider.listen_v4.is_none() && provider.listen_v6.is_none() {
        wrong.push(format!(
            "provider {name} has no \"listen\", so nothing could be sent to it; name its proxy's address, such as [\"127.0.0.1:15871\", \"[::1]:15871\"]"
        ));
    }
    wrong
}

/// Adds a provider, unless another file has it.
pub(super) fn add(config: &mut Config, provider: Provider, problems: &mut Vec<Problem>) {
    match config.provider(&provider.name) {
        Some(other) => problems.push(Problem::at(
            &provider.place,
            format!(
                "provider {} is already defined at {}; a provider is written in one file",
                provider.name, other.place
            ),
        )),
        None => config.providers.push(provider),
    }
}

/// Checks the providers together, puts them into the order of asking, and notes what is doubtful.
pub(super) fn whole(config: &mut Config, problems: &mut Vec<Problem>) {
    for (i, a) in config.providers.iter().enumerate() {
        for b in &config.providers[..i] {
            pair(b, a, problems);
        }
    }
    limits(config, problems);
    config.providers.sort_by_key(|provider| std::cmp::Reverse(provider.rank.value));
    config.warnings = config.providers.iter().flat_map(doubts).collect();
    if config.providers.is_empty() && problems.is_empty() {
        let message = "no provider is configured, so nothing is redirected or blocked";
        config.warnings.push(Problem::new(message));
    }
}

fn pair(a: &Provider, b: &Provider, problems: &mut Vec<Problem>) {
    // A rank that was not written has been reported already.
    let written = |p: &Provider| p.rank.place != p.place;
    if a.rank.value == b.rank.value && written(a) && written(b) {
        problems.push(Problem::at(
            &b.rank.place,
            format!(
                "providers {} and {} both have rank {}; the other stands at {}. Give each its own, the higher is asked first",
                a.name, b.name, a.rank.value, a.rank.place
            ),
        ));
    }
    if handle_of(a.guid.into_bytes()) == handle_of(b.guid.into_bytes()) {
        problems.push(Problem::at(
            &b.place,
            format!(
                "providers {} and {} have guids with the same first half; the other stands at {}. Give each its own",
                a.name, b.name, a.place
            ),
        ));
    }
}

fn limits(config: &Config, problems: &mut Vec<Problem>) {
    let providers = config.providers.len();
    if providers > MAX_PROVIDERS {
        problems.push(Problem::new(format!(
            "{providers} providers; at most {MAX_PROVIDERS} are possible"
        )));
    }
    let filters: usize = config.providers.iter().map(|provider| provider.filters.len()).sum();
    if filters > MAX_FILTERS {
        problems.push(Problem::new(format!(
            "{filters} filters in all; at most {MAX_FILTERS} are possible"
        )));
    }
}

fn doubts(provider: &Provider) -> Vec<Problem> {
    let name = &provider.name;
    let mut doubts = Vec::new();
    if provider.filters.is_empty() {
        let message = format!("provider {name} has no filters, so it does nothing");
        doubts.push(Problem::at(&provider.place, message));
    }
    let fate = match provider.on_unavailable {
        super::OnUnavailable::Block => "refused",
        super::OnUnavailable::Bypass => "let past the provider",
    };
    for filter in provider.filters.iter().filter(|f| f.action == Action::Redirect) {
        for (v4, listen, family) in
            [(true, provider.listen_v4, "IPv4"), (false, provider.listen_v6, "IPv6")]
        {
            let reaches =
                filter.remote.is_empty() || filter.remote.iter().any(|p| p.ip.is_v4() == v4);
            if listen.is_none() && reaches {
                let message = format!(
                    "this filter also redirects {family} destinations, but provider {name} listens on no {family} address: they are {fate}"
                );
                doubts.push(Problem::at(&filter.place, message));
            }
        }
    }
    doubts
}
