//! The options of `hoptrail relay`, made from the table of a relay's settings.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, ValueHint};
use hoptrail_relay::config::{Config, FIELDS, Field, Set};
use std::path::PathBuf;

/// What was given on the command line.
#[derive(Debug, Default)]
pub(crate) struct RelayArgs {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--check`.
    pub(crate) check: bool,
    /// Settings and their values, which count instead of the file's.
    pub(crate) given: Vec<(&'static Field, Vec<String>)>,
}

const ABOUT: &str = "Inspect and pass on redirected connections: a provider's proxy";

const LONG_ABOUT: &str = "Inspect and pass on redirected connections: a provider's proxy

Each connection is dialled on to where the application wanted to go, with its records, and one line is written to \
standard output when it ends. With --forward it is a plain forwarder and needs no engine.

SIGTERM and SIGINT stop it: nothing more is accepted, open connections may finish for the --drain time and are then \
reset; a second signal resets them at once. SIGHUP reads the rules of --config again; wrong ones change nothing.

The exit status is 0 after a stop, 1 when it could not start or has failed, 2 when an option is wrong.";

impl clap::Args for RelayArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_hint(ValueHint::FilePath)
            .value_parser(clap::value_parser!(PathBuf))
            .help("Settings and rules, as in docs/relay.md; options count instead of its settings");
        let check = Arg::new("check")
            .long("check")
            .action(ArgAction::SetTrue)
            .help("Only say whether settings and rules are right, and end with status 0 or 1");
        let command = command.about(ABOUT).long_about(LONG_ABOUT).args([config, check]);
        command.args(FIELDS.iter().map(option))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RelayArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let config = matches.get_one("config").cloned();
        let mut args = Self { config, check: matches.get_flag("check"), given: Vec::new() };
        for field in FIELDS {
            if let Some(values) = matches.get_many::<String>(field.name) {
                args.given.push((field, values.cloned().collect()));
            }
        }
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn option(field: &'static Field) -> Arg {
    let arg = Arg::new(field.name)
        .long(field.name)
        .value_name(field.value)
        .help_heading(field.group.title())
        .help(help(field));
    let arg = match field.set {
        Set::One(_) => arg.action(ArgAction::Set),
        Set::Many(_) => arg.action(ArgAction::Append).value_delimiter(','),
    };
    let words = field.words();
    if !words.is_empty() {
        return arg.value_parser(PossibleValuesParser::new(words));
    }
    // Clap repeats a value that is wrong; this one is checked with the others later.
    if field.is_secret() {
        return arg;
    }
    // Checked one by one, for a message that names the value; together when all are known.
    arg.value_parser(move |text: &str| {
        field.read(&mut Config::default(), &[text]).map(|()| text.to_owned())
    })
}

fn help(field: &Field) -> String {
    format!("{} [{}]", field.doc.trim_end_matches('.').replace('`', ""), default(field))
}

fn default(field: &Field) -> String {
    match field.default {
        "required" => "required, here or in the file".to_owned(),
        value => format!("default: {value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use clap::Parser;

    fn parse(args: &[&str]) -> Result<RelayArgs, String> {
        let all = ["hoptrail", "relay"].iter().chain(args);
        match Cli::try_parse_from(all).map_err(|error| error.to_string())?.verb {
            Verb::Relay(args) => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_setting_is_an_option() {
        for field in FIELDS {
            let value = match field.name {
                "listen" | "forward" | "metrics" => "127.0.0.1:5",
                _ => field.default.split(", ").next().unwrap(),
            };
            let args = parse(&[&format!("--{}", field.name), value]).unwrap();
            assert_eq!(args.given.len(), 1, "{}", field.name);
            assert_eq!(args.given[0].1, [value], "{}", field.name);
        }
    }

    #[test]
    fn lists_are_repeated_or_written_with_commas() {
        let args = parse(&["--listen", "127.0.0.1:5,[::1]:5", "--listen", "127.0.0.1:6"]).unwrap();
        assert_eq!(args.given[0].1, ["127.0.0.1:5", "[::1]:5", "127.0.0.1:6"]);
        assert!(parse(&["--idle", "1s", "--idle", "2s"]).is_err());
    }

    #[test]
    fn a_wrong_value_is_named_with_its_option() {
        let said = parse(&["--idle", "30"]).unwrap_err();
        assert!(said.contains("--idle <TIME>") && said.contains("\"30\" is no duration"), "{said}");
        let said = parse(&["--log", "txt"]).unwrap_err();
        assert!(said.contains("--log <FORMAT>") && said.contains("text, json, none"), "{said}");
    }
}
