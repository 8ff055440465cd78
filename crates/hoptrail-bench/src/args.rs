//! The command line.

use crate::rounds::Pace;

pub(crate) const HELP: &str = "\
usage: hoptrail-bench [--rounds N] [--quick] [--json | --markdown] [PART...]

Measures what Hoptrail costs as ratios to the same work without it: the rows of docs/performance.md,
or the parts that are named. Needs root; uses a network namespace and a cgroup of its own.

  p1 p2 p3 p4 p5 winsock programs the engine and its calls
  p6 p6b p7 p8 p9 p10 p10b p10c   the relay, beside direct connections and other relays
  engine, relay                   all of those

  --rounds N        rounds, each with every variant; the median counts (7, with --quick 1)
  --quick           much less of everything: to look at while changing something, not to keep
  --relay-cpus LIST CPUs of the relays that are measured (all); clients have 0, destinations 1
  --json            everything, for machines
  --markdown        the tables of docs/performance.md";

/// The parts that can be asked for.
pub(crate) const PARTS: [&str; 15] = [
    "p1", "p2", "p3", "p4", "p5", "winsock", "programs", "p6", "p6b", "p7", "p8", "p9", "p10",
    "p10b", "p10c",
];

/// Names of several parts.
const GROUPS: [(&str, std::ops::Range<usize>); 2] = [("engine", 0..7), ("relay", 7..15)];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Markdown,
    Json,
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) pace: Pace,
    pub(crate) format: Format,
    /// In the order of [`PARTS`].
    pub(crate) parts: Vec<&'static str>,
    /// Nothing when all are allowed.
    pub(crate) relay_cpus: Option<Vec<usize>>,
}

impl Args {
    /// Nothing when help is asked for.
    pub(crate) fn parse(given: &[String]) -> Result<Option<Self>, String> {
        let (mut rounds, mut quick, mut relay_cpus) = (None, false, None);
        let (mut format, mut parts) = (Format::Text, Vec::new());
        let mut given = given.iter();
        while let Some(arg) = given.next() {
            match arg.as_str() {
                "-h" | "--help" => return Ok(None),
                "--json" => format = Format::Json,
                "--markdown" => format = Format::Markdown,
                "--quick" => quick = true,
                "--rounds" => rounds = Some(count(given.next())?),
                "--relay-cpus" => relay_cpus = Some(cpus(given.next())?),
                other => parts.extend(named(other)?),
            }
        }
        if parts.is_empty() {
            parts.extend(PARTS);
        }
        let rounds = rounds.unwrap_or(if quick { 1 } else { 7 });
        Ok(Some(Self { pace: Pace { rounds, quick }, format, parts, relay_cpus }))
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.contains(&part)
    }
}

fn count(value: Option<&String>) -> Result<usize, String> {
    value
        .and_then(|value| value.parse().ok())
        .filter(|rounds| (1..=1000).contains(rounds))
        .ok_or_else(|| "--rounds takes a number from 1 to 1000".to_owned())
}

fn cpus(value: Option<&String>) -> Result<Vec<usize>, String> {
    let cpus = value.and_then(|value| value.split(',').map(|cpu| cpu.parse().ok()).collect());
    cpus.ok_or_else(|| "--relay-cpus takes numbers of CPUs, like 0,1".to_owned())
}

fn named(name: &str) -> Result<&'static [&'static str], String> {
    let group = GROUPS.iter().find(|(group, _)| group.eq_ignore_ascii_case(name));
    let part = || PARTS.iter().position(|part| part.eq_ignore_ascii_case(name)).map(|i| i..i + 1);
    let parts = group.map(|(_, parts)| parts.clone()).or_else(part);
    parts.map(|parts| &PARTS[parts]).ok_or_else(|| {
        format!("there is no {name}; give options, engine, relay or some of {}", PARTS.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn parts_and_options() {
        let args = parse("P3 --rounds 9 --markdown p1").unwrap().unwrap();
        assert_eq!((args.pace.rounds, args.format), (9, Format::Markdown));
        assert!(args.wants("p1") && args.wants("p3") && !args.wants("p2"));
        assert_eq!(parse("").unwrap().unwrap().parts, PARTS);
        assert!(parse("-h p9").unwrap().is_none());
    }

    #[test]
    fn groups_of_parts() {
        let args = parse("relay --quick --relay-cpus 0,1").unwrap().unwrap();
        assert_eq!((args.pace.rounds, args.relay_cpus), (1, Some(vec![0, 1])));
        assert_eq!((args.parts.first(), args.parts.last()), (Some(&"p6"), Some(&"p10c")));
        assert_eq!(parse("engine").unwrap().unwrap().parts.last(), Some(&"programs"));
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(parse("p11").unwrap_err().contains("p11"));
        for bad in ["--rounds", "--rounds 0", "--rounds x"] {
            assert!(parse(bad).unwrap_err().contains("--rounds"), "{bad}");
        }
        assert!(parse("--relay-cpus 0,x").unwrap_err().contains("--relay-cpus"));
    }
}
