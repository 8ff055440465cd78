//! The command line.

pub(crate) const HELP: &str = "\
usage: hoptrail-bench [--rounds N] [--json | --markdown] [p1 p2 p3 p4 p5 winsock programs]

Measures what Hoptrail costs as ratios to the same work without it: the rows of docs/performance.md,
or those that are named. Needs root; uses a network namespace and a cgroup of its own.

  --rounds N   rounds, each with every variant; the median counts (7)
  --json       everything, for machines
  --markdown   the tables of docs/performance.md";

/// The parts that can be asked for.
pub(crate) const PARTS: [&str; 7] = ["p1", "p2", "p3", "p4", "p5", "winsock", "programs"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Text,
    Markdown,
    Json,
}

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) rounds: usize,
    pub(crate) format: Format,
    /// In the order of [`PARTS`].
    pub(crate) parts: Vec<&'static str>,
}

impl Args {
    /// Nothing when help is asked for.
    pub(crate) fn parse(given: &[String]) -> Result<Option<Self>, String> {
        let mut args = Self { rounds: 7, format: Format::Text, parts: Vec::new() };
        let mut given = given.iter();
        while let Some(arg) = given.next() {
            match arg.as_str() {
                "-h" | "--help" => return Ok(None),
                "--json" => args.format = Format::Json,
                "--markdown" => args.format = Format::Markdown,
                "--rounds" => args.rounds = rounds(given.next())?,
                other => args.parts.push(part(other)?),
            }
        }
        if args.parts.is_empty() {
            args.parts.extend(PARTS);
        }
        Ok(Some(args))
    }

    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.contains(&part)
    }
}

fn rounds(value: Option<&String>) -> Result<usize, String> {
    value
        .and_then(|value| value.parse().ok())
        .filter(|rounds| (1..=1000).contains(rounds))
        .ok_or_else(|| "--rounds takes a number from 1 to 1000".to_owned())
}

fn part(name: &str) -> Result<&'static str, String> {
    let known = PARTS.into_iter().find(|part| part.eq_ignore_ascii_case(name));
    known.ok_or_else(|| format!("there is no {name}; give options or some of {}", PARTS.join(" ")))
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
        assert_eq!((args.rounds, args.format), (9, Format::Markdown));
        assert!(args.wants("p1") && args.wants("p3") && !args.wants("p2"));
        assert_eq!(parse("").unwrap().unwrap().parts, PARTS);
        assert!(parse("-h p9").unwrap().is_none());
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert!(parse("p9").unwrap_err().contains("p9"));
        for bad in ["--rounds", "--rounds 0", "--rounds x"] {
            assert!(parse(bad).unwrap_err().contains("--rounds"), "{bad}");
        }
    }
}
