//! Configuration file to compiled policy, for the verbs that only look at it.

use crate::output;
use hoptrail_core::compile::{Compiled, compile};
use hoptrail_engine::config::{Config, ConfigError, Host, Place, Problem, resolve_on};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A configuration with what it compiles to at this moment on this host. Members of providers that
/// hoptrail runs itself are not among it.
pub(crate) struct Policy {
    pub(crate) config: Config,
    pub(crate) compiled: Compiled,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) host: Host,
}

/// Reads, resolves and compiles.
pub(crate) fn load(file: &Path) -> Result<Policy, ConfigError> {
    let mut config = Config::load(file)?;
    let host = Host::current()?;
    let resolution = resolve_on(&host, &config, &BTreeMap::new())?;
    let compiled = compile(&resolution.resolved.policy, 0)
        .map_err(|error| Problem::new(format!("{}: {error}", file.display())))?;
    let mut warnings = std::mem::take(&mut config.warnings);
    warnings.extend(resolution.warnings);
    Ok(Policy { config, compiled, warnings, host })
}

/// Prints every problem to standard error, and how many they are.
pub(crate) fn print_errors(file: &Path, error: &ConfigError) {
    for problem in &error.problems {
        output::error(problem);
    }
    let count = error.problems.len();
    let s = if count == 1 { "" } else { "s" };
    output::error(format!("{count} error{s} in the configuration {}", file.display()));
}

/// A place for machines.
pub(crate) fn place_json(place: &Place) -> Value {
    json!({ "file": place.file.as_path(), "line": place.line, "column": place.column })
}

/// A problem for machines.
pub(crate) fn problem_json(problem: &Problem) -> Value {
    json!({ "message": problem.message, "place": problem.place.as_ref().map(place_json) })
}
