//! Walks TOML by the tables of [`super::fields`]; every problem is noted and reading goes on.

use super::fields::{self, Field, Need, Section};
use super::place::{Place, Placed, Problem, Source};
use super::values::Parsed;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// One file being read.
pub(super) struct Reader<'s> {
    source: &'s Source,
    pub(super) problems: Vec<Problem>,
    /// The key whose value is being read, for messages.
    key: &'static str,
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s Source) -> Self {
        Self { source, problems: Vec::new(), key: "" }
    }

    pub(super) fn place(&self, span: Range<usize>) -> Place {
        self.source.place(&span)
    }

    pub(super) fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(&span, message));
    }

    /// Reads `table`, which begins at `span`, into `into`.
    pub(super) fn section<T>(
        &mut self,
        section: &Section<T>,
        table: &DeTable<'_>,
        span: Range<usize>,
        into: &mut T,
    ) {
        for (key, value) in table {
            match section.fields.iter().find(|field| field.name == key.get_ref().as_ref()) {
                Some(field) => {
                    self.key = field.name;
                    (field.read)(into, self, value);
                }
                None => {
                    let message = unknown_key(key.get_ref(), section);
                    self.problem(key.span(), message);
                }
            }
        }
        let missing =
            |field: &&Field<T>| field.need == Need::Required && !table.contains_key(field.name);
        for field in section.fields.iter().filter(missing) {
            let kind = field.kind.replace('`', "");
            let message = format!(
                "missing \"{}\" in {}, which takes {kind}: {}",
                field.name, section.title, field.doc
            );
            self.problem(span.clone(), message);
        }
    }

    /// The value's text.
    pub(super) fn text<'v>(&mut self, value: &'v Value<'_>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, "a string");
        }
        text
    }

    pub(super) fn integer(&mut self, value: &Value<'_>) -> Option<i64> {
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(value, "an integer");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if number.is_none() {
            self.problem(value.span(), format!("{integer} is too large"));
        }
        number
    }

    pub(super) fn boolean(&mut self, value: &Value<'_>) -> Option<bool> {
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.wrong_type(value, "true or false");
        }
        boolean
    }

    pub(super) fn table<'v, 'i>(&mut self, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(value, "a table");
        }
        table
    }

    /// One of the words in `choices`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        value: &Value<'_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(value)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!(
            "\"{}\" cannot be \"{text}\"; {}",
            self.key,
            suggestion(text, &names, "it is one of ")
        );
        self.problem(value.span(), message);
        None
    }

    /// Each value of a list that is not empty; a single value counts as a list of one.
    pub(super) fn list<'v, 'i>(&mut self, value: &'v Value<'i>) -> Vec<&'v Value<'i>> {
        let DeValue::Array(array) = value.get_ref() else { return vec![value] };
        if array.is_empty() {
            let message =
                format!("\"{}\" is an empty list; leave the key out to mean all or none", self.key);
            self.problem(value.span(), message);
        }
        array.iter().collect()
    }

    /// The texts of a list, each parsed by `parse`.
    pub(super) fn texts<T>(
        &mut self,
        value: &Value<'_>,
        parse: impl Fn(&str) -> Parsed<T>,
    ) -> Vec<Placed<T>> {
        let mut out = Vec::new();
        for item in self.list(value) {
            if let Some(text) = self.text(item) {
                out.extend(self.parsed(item, parse(text)));
            }
        }
        out
    }

    /// The texts and integers of a list.
    pub(super) fn texts_or_integers<T>(
        &mut self,
        value: &Value<'_>,
        parse: impl Fn(&str) -> Parsed<T>,
        number: impl Fn(i64) -> Parsed<T>,
    ) -> Vec<Placed<T>> {
        let mut out = Vec::new();
        for item in self.list(value) {
            let parsed = match item.get_ref() {
                DeValue::String(text) => Some(parse(text)),
                DeValue::Integer(_) => self.integer(item).map(&number),
                _ => {
                    self.wrong_type(item, "a string or an integer");
                    None
                }
            };
            out.extend(parsed.and_then(|parsed| self.parsed(item, parsed)));
        }
        out
    }

    /// Notes what is wrong with a value, if something is.
    pub(super) fn parsed<T>(&mut self, value: &Value<'_>, parsed: Parsed<T>) -> Option<Placed<T>> {
        match parsed {
            Ok(good) => Some(Placed { value: good, place: self.place(value.span()) }),
            Err(message) => {
                self.problem(value.span(), message);
                None
            }
        }
    }

    pub(super) fn wrong_type(&mut self, value: &Value<'_>, wanted: &str) {
        let is = value.get_ref().type_str();
        let message = format!("\"{}\" takes {wanted}; this is of type {is}", self.key);
        self.problem(value.span(), message);
    }
}

fn unknown_key<T>(key: &str, section: &Section<T>) -> String {
    if let Some(title) = fields::titles_with(key).find(|title| *title != section.title) {
        return format!("\"{key}\" does not belong to {}; it belongs to {title}", section.title);
    }
    let known: Vec<&str> = section.fields.iter().map(|field| field.name).collect();
    format!("unknown key \"{key}\"; {}", suggestion(key, &known, "known here are "))
}

/// The nearest of `known`, or all of them when none is near.
pub(super) fn suggestion(word: &str, known: &[&str], all: &str) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(word, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("did you mean \"{name}\"?"),
        None => format!("{all}{}", quoted(known)),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
