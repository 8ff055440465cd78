//! Where something stands in the configuration, and what is wrong there.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A position in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<PathBuf>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

/// One thing that is wrong (in a [`ConfigError`]) or doubtful (as a warning).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` when it concerns no place in a file.
    pub place: Option<Place>,
    /// What, and what to do about it.
    pub message: String,
    /// The line at `place` and how many characters of it are meant.
    excerpt: Option<(String, usize)>,
}

impl Problem {
    /// A problem that stands nowhere in a file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), excerpt: None }
    }

    /// A problem at a place whose text is no longer at hand.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), message: message.into(), excerpt: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else { return f.write_str(&self.message) };
        write!(f, "{place}: {}", self.message)?;
        let Some((line, width)) = &self.excerpt else { return Ok(()) };
        let number = place.line.to_string();
        // Tabs are kept so that the marks stand below what they mean.
        let indent: String = line
            .chars()
            .take(place.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let blank = " ".repeat(number.len());
        write!(f, "\n  {number} | {line}\n  {blank} | {indent}{}", "^".repeat(*width))
    }
}

/// Everything that is wrong with a configuration, in the order of files and lines.
#[derive(Clone, Debug)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A configuration file's text, which turns byte ranges into places.
#[derive(Debug)]
pub(super) struct Source {
    file: Arc<PathBuf>,
    text: String,
    /// Where each line begins: a place is asked for every value of a file.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(file: &Path, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(i, _)| i + 1)).collect();
        Self { file: Arc::new(file.to_path_buf()), text, lines }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let before = self.text.get(self.lines[line - 1]..at).unwrap_or_default();
        Place { file: Arc::clone(&self.file), line, column: before.chars().count() + 1 }
    }

    pub(super) fn problem(&self, span: &Range<usize>, message: impl Into<String>) -> Problem {
        let place = self.place(span);
        let rest = self.text.get(self.lines[place.line - 1]..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default().to_owned();
        let meant = self.text.get(span.clone()).unwrap_or_default();
        let width = meant.lines().next().unwrap_or_default().chars().count().max(1);
        let excerpt = Some((line, width));
        Problem { place: Some(place), message: message.into(), excerpt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line() {
        let text = "a = 1\n\tläng = \"x\"\n";
        let source = Source::new(Path::new("t.toml"), text.to_owned());
        let start = text.find("\"x\"").unwrap();
        let problem = source.problem(&(start..start + 3), "is wrong");
        assert_eq!(
            problem.to_string(),
            "t.toml:2:9: is wrong\n  2 | \tläng = \"x\"\n    | \t       ^^^"
        );
    }

    #[test]
    fn the_end_of_the_text_is_a_place_too() {
        let source = Source::new(Path::new("t.toml"), "a = ".to_owned());
        assert!(source.problem(&(4..4), "is missing").to_string().starts_with("t.toml:1:5: "));
        assert_eq!(source.place(&(9..9)).to_string(), "t.toml:1:5");
    }
}
