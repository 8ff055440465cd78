//! The rules of a relay's file: `default` at its top, and the tables `[[rule]]`.

use super::draft::Draft;
use super::fields::{FIELDS, Field};
use super::set::MOST_RULES;
use super::{Rules, Verdict, With, values};
use crate::config::{Problem, Source};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys at the top of a file that belong to the rules.
pub(crate) const KEYS: [&str; 2] = ["default", "rule"];

/// Rules being read: every problem is noted and reading goes on.
pub(crate) struct Reading<'s> {
    source: &'s Source,
    rules: Vec<(Draft, Verdict)>,
    default: Verdict,
    problems: Vec<Problem>,
}

impl<'s> Reading<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { source, rules: Vec::new(), default: Verdict::Allow, problems: Vec::new() }
    }

    /// Reads one of [`KEYS`].
    pub(crate) fn key(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        if key == "default" {
            return self.default(value);
        }
        let Some(rules) = value.get_ref().as_array() else {
            return self.problem(value.span(), "rules are a list of tables: write [[rule]]");
        };
        for rule in rules {
            match rule.get_ref().as_table() {
                Some(table) => self.rule(table, rule.span()),
                None => self.problem(rule.span(), "a rule is a table: write [[rule]]"),
            }
        }
    }

    /// The rules, if nothing was wrong; in any case what was.
    pub(crate) fn end(mut self) -> (Rules, Vec<Problem>) {
        if self.rules.len() > MOST_RULES {
            let message = format!(
                "{} rules; at most {MOST_RULES} are possible, but one rule can have any number of names",
                self.rules.len()
            );
            self.problems.push(Problem::new(message));
            self.rules.clear();
        }
        (Rules::compile(&self.rules, self.default), self.problems)
    }

    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(&span, message));
    }

    fn default(&mut self, value: &Spanned<DeValue<'_>>) {
        let choices = [("allow", Verdict::Allow), ("deny", Verdict::Deny(With::Reset))];
        let Some(text) = value.get_ref().as_str() else {
            let is = value.get_ref().type_str();
            let message = format!("\"default\" takes \"allow\" or \"deny\"; this is of type {is}");
            return self.problem(value.span(), message);
        };
        match values::choice(text, &choices) {
            Ok(verdict) => self.default = verdict,
            Err(wrong) => self.problem(value.span(), format!("\"default\": {wrong}")),
        }
    }

    fn rule(&mut self, table: &DeTable<'_>, span: Range<usize>) {
        let before = self.problems.len();
        let mut rule = Draft::default();
        for (key, value) in table {
            match FIELDS.iter().find(|field| field.name == key.get_ref().as_ref()) {
                Some(field) => self.field(field, value, &mut rule),
                None => self.problem(key.span(), unknown(key.get_ref())),
            }
        }
        match rule.verdict() {
            Ok(verdict) => self.rules.push((rule, verdict)),
            // What is missing may be what was wrong.
            Err(_) if self.problems.len() > before => {}
            Err(wrong) => self.problem(span, wrong),
        }
    }

    fn field(&mut self, field: &Field, value: &Spanned<DeValue<'_>>, rule: &mut Draft) {
        let name = field.name;
        let items = match value.get_ref() {
            DeValue::Array(items) if !field.many => {
                let message = format!("\"{name}\": one value is taken, not a list");
                return self.problem(items.first().map_or(value.span(), Spanned::span), message);
            }
            DeValue::Array(items) if items.is_empty() => {
                let message = format!("\"{name}\" is an empty list; leave the key out to mean all");
                return self.problem(value.span(), message);
            }
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        for item in items {
            let text = match item.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) => number.to_string(),
                other => {
                    let (takes, is) = (field.takes.replace('`', ""), other.type_str());
                    let message = format!("\"{name}\" takes {takes}; this is of type {is}");
                    self.problem(item.span(), message);
                    continue;
                }
            };
            if let Err(wrong) = (field.read)(rule, &text) {
                self.problem(item.span(), format!("\"{name}\": {wrong}"));
            }
        }
    }
}

fn unknown(key: &str) -> String {
    let near = |field: &&Field| (strsim::jaro_winkler(key, field.name) * 1e6) as u32;
    let nearest = FIELDS.iter().max_by_key(near).filter(|field| near(field) > 750_000);
    match nearest {
        Some(field) => format!("unknown key \"{key}\" of a rule; did you mean \"{}\"?", field.name),
        None => {
            let names: Vec<_> = FIELDS.iter().map(|field| format!("\"{}\"", field.name)).collect();
            format!("unknown key \"{key}\" of a rule; known are {}", names.join(", "))
        }
    }
}
