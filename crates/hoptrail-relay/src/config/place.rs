//! Where something stands in a relay's file, and what is wrong there.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A file's text, which turns byte ranges into places.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    at: Option<At>,
    message: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct At {
    file: PathBuf,
    line: usize,
    column: usize,
    excerpt: String,
    width: usize,
}

impl Source {
    /// Of a file that has been read.
    #[must_use]
    pub fn new(file: &Path, text: String) -> Self {
        Self { file: file.to_path_buf(), text }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with the bytes of `span`.
    #[must_use]
    pub fn problem(&self, span: &Range<usize>, message: impl Into<String>) -> Problem {
        Problem { at: Some(self.at(span)), message: message.into() }
    }

    fn at(&self, span: &Range<usize>) -> At {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let excerpt = self.text[begin..].lines().next().unwrap_or_default();
        let meant = self.text.get(span.clone()).unwrap_or_default();
        At {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[begin..].chars().count() + 1,
            excerpt: excerpt.to_owned(),
            width: meant.lines().next().unwrap_or_default().chars().count().max(1),
        }
    }
}

impl Problem {
    /// One that stands nowhere in a file.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { at: None, message: message.into() }
    }

    /// The same without the line at its place, which must not be shown.
    #[must_use]
    pub fn without_excerpt(mut self) -> Self {
        self.at.iter_mut().for_each(|at| at.excerpt.clear());
        self
    }

    /// Line and column, from 1, by which problems are put in order.
    pub(super) fn order(&self) -> Option<(usize, usize)> {
        self.at.as_ref().map(|at| (at.line, at.column))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = &self.at else { return f.write_str(&self.message) };
        write!(f, "{}:{}:{}: {}", at.file.display(), at.line, at.column, self.message)?;
        if at.excerpt.is_empty() {
            return Ok(());
        }
        // Tabs are kept so that the marks stand below what they mean.
        let before = at.excerpt.chars().take(at.column - 1);
        let indent: String = before.map(|c| if c == '\t' { c } else { ' ' }).collect();
        let blank = " ".repeat(at.line.to_string().len());
        write!(f, "\n  {} | {}\n", at.line, at.excerpt)?;
        write!(f, "  {blank} | {indent}{}", "^".repeat(at.width))
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
        assert_eq!(
            source.problem(&(start..start + 3), "is wrong").to_string(),
            "t.toml:2:9: is wrong\n  2 | \tläng = \"x\"\n    | \t       ^^^"
        );
    }

    #[test]
    fn the_end_of_the_text_and_beyond_are_places_too() {
        for text in ["a = ", "", "a\n"] {
            let source = Source::new(Path::new("t.toml"), text.to_owned());
            for start in [text.len(), text.len() + 5] {
                assert!(source.problem(&(start..start), "x").to_string().starts_with("t.toml:"));
            }
        }
    }
}
