//! The TOML file of a relay: settings at its top, then its rules.

use super::Config;
use super::fields::{FIELDS, Field};
use super::place::{Problem, Source};
use crate::rules::{Rules, reading};
use std::fmt;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file that is right in itself.
#[derive(Clone, Debug)]
pub struct File {
    config: Config,
    rules: Arc<Rules>,
    settings: Vec<(&'static str, Vec<String>)>,
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug)]
pub struct FileError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl File {
    /// Reads and checks it.
    ///
    /// # Errors
    /// [`FileError`] with everything that is wrong.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        Self::parse(Source::new(path, text))
    }

    /// Checks a text.
    ///
    /// # Errors
    /// [`FileError`] with everything that is wrong.
    pub fn parse(source: Source) -> Result<Self, FileError> {
        let mut reading = Reading { source: &source, problems: Vec::new() };
        let mut file =
            Self { config: Config::default(), rules: Arc::default(), settings: Vec::new() };
        let (document, errors) = DeTable::parse_recoverable(source.text());
        for error in errors {
            reading.problem(error.span().unwrap_or_default(), error.message());
        }
        let mut rules = reading::Reading::new(&source);
        for (key, value) in document.get_ref() {
            match key.get_ref().as_ref() {
                key if reading::KEYS.contains(&key) => rules.key(key, value),
                name => reading.setting(&mut file, name, key.span(), value),
            }
        }
        let mut problems = reading.problems;
        let (rules, wrong) = rules.end();
        file.rules = Arc::new(rules);
        problems.extend(wrong);
        problems.sort_by_key(Problem::order);
        if problems.is_empty() { Ok(file) } else { Err(FileError { problems }) }
    }

    /// The settings, with the defaults of those that are not written.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules)
    }

    /// Names of the settings that are written differently in the two.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let of = |file: &Self, name| file.settings.iter().find(|(n, _)| *n == name).cloned();
        let names = FIELDS.iter().map(|field| field.name);
        names.filter(|name| of(self, *name) != of(other, *name)).collect()
    }
}

/// A file being read: every problem is noted and reading goes on.
struct Reading<'s> {
    source: &'s Source,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(&span, message));
    }

    fn setting(
        &mut self,
        file: &mut File,
        key: &str,
        at: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let Some(field) = Field::named(key) else { return self.problem(at, unknown(key)) };
        let Some(texts) = self.texts(field, value) else { return };
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        match field.read(&mut file.config, &borrowed) {
            Ok(()) => file.settings.push((field.name, texts)),
            Err(wrong) => {
                let problem = self.source.problem(&value.span(), format!("\"{key}\": {wrong}"));
                let secret = field.is_secret();
                self.problems.push(if secret { problem.without_excerpt() } else { problem });
            }
        }
    }

    /// A value's texts; one value is a list of one.
    fn texts(&mut self, field: &Field, value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
        let one = std::slice::from_ref(value);
        let items = value.get_ref().as_array().map_or(one, |array| array);
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) => texts.push(text.to_string()),
                DeValue::Integer(number) => texts.push(number.to_string()),
                DeValue::Float(number) => texts.push(number.to_string()),
                other => {
                    let (takes, is) = (field.takes.replace('`', ""), other.type_str());
                    let message = format!("\"{}\" takes {takes}; this is of type {is}", field.name);
                    self.problem(item.span(), message);
                    return None;
                }
            }
        }
        Some(texts)
    }
}

impl From<Problem> for FileError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for FileError {}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let advice = match error.kind() {
        ErrorKind::NotFound => "; docs/relay.md says what it holds",
        ErrorKind::InvalidData => "; write it in UTF-8",
        _ => "",
    };
    Problem::new(format!("cannot read {}: {error}{advice}", path.display()))
}

fn unknown(key: &str) -> String {
    if key == "provider" {
        return "providers belong to the engine's configuration (docs/configuration.md), not to a relay's".into();
    }
    let known = || FIELDS.iter().map(|field| field.name).chain(reading::KEYS);
    let near = |name: &&str| (strsim::jaro_winkler(key, name) * 1e6) as u32;
    match known().max_by_key(near).filter(|name| near(name) > 750_000) {
        Some(name) => format!("unknown key \"{key}\"; did you mean \"{name}\"?"),
        None => {
            let names: Vec<_> = known().map(|name| format!("\"{name}\"")).collect();
            format!("unknown key \"{key}\"; known are {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inspect, LogFormat};
    use std::time::Duration;

    fn parse(text: &str) -> Result<File, FileError> {
        File::parse(Source::new(Path::new("t.toml"), text.to_owned()))
    }

    fn wrong(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn settings_are_read() {
        let config = parse(
            "listen = [\"127.0.0.1:15871\", \"[::1]:15871\"]\nprotocol = \"tcp\"\nthreads = 2\n\
             inspect = \"all\"\nidle = \"1h\"\nlog = \"json\"\nmax-connections = \"auto\"\n",
        );
        let config = config.unwrap().config();
        assert_eq!(config.listen.len(), 2);
        assert!(config.transports.tcp && !config.transports.udp);
        assert_eq!(config.workers().get(), 2);
        assert_eq!((config.inspect, config.log), (Inspect::All, LogFormat::Json));
        assert_eq!(config.idle, Some(Duration::from_secs(3600)));
        assert_eq!(config.connect_timeout, Config::default().connect_timeout);
    }

    #[test]
    fn all_that_is_wrong_is_said_with_its_place() {
        let said = wrong(
            "idle = 30\nlistne = \"127.0.0.1:1\"\nthreads = [1, 2]\nlog = true\nlisten = []\n",
        );
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("t.toml")).collect();
        assert_eq!(
            lines,
            [
                "t.toml:1:8: \"idle\": \"30\" is no duration, such as \"500ms\", \"30s\", \"5m\" or \"1h\"; or \"never\"",
                "t.toml:2:1: unknown key \"listne\"; did you mean \"listen\"?",
                "t.toml:3:11: \"threads\": one value is taken, not a list",
                "t.toml:4:7: \"log\" takes \"text\", \"json\" or \"none\"; this is of type boolean",
                "t.toml:5:10: \"listen\": the list is empty",
            ]
        );
    }

    #[test]
    fn what_is_not_toml_is_said_with_its_place() {
        assert!(wrong("idle = \n").starts_with("t.toml:1:"), "{}", wrong("idle = \n"));
        assert!(wrong("[provider.acme]\nrank = 1\n").contains("docs/configuration.md"));
        let many = "[".repeat(10_000);
        assert!(parse(&format!("listen = {many}")).is_err());
    }

    #[test]
    fn a_wrong_upstream_is_told_without_its_password() {
        let said = wrong("upstream = \"socks5://me:geheim@host\"\n");
        assert!(
            said.starts_with("t.toml:1:12: \"upstream\": ") && !said.contains("geheim"),
            "{said}"
        );
        let config = parse("upstream = \"socks5://me:geheim@host:1\"\n").unwrap().config();
        assert!(config.upstream.is_some());
        assert!(parse("upstream = \"direct\"\n").unwrap().config().upstream.is_none());
    }

    #[test]
    fn differences_are_what_would_need_a_restart() {
        let before = parse("listen = \"127.0.0.1:1\"\nlog = \"text\"").unwrap();
        let after = parse("log = \"json\"\nlisten = \"127.0.0.1:1\"\nidle = \"1h\"").unwrap();
        assert_eq!(before.differences(&after), ["idle", "log"]);
        assert!(before.differences(&before).is_empty());
    }
}
