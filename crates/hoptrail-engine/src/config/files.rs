//! Which files make a configuration, and what each of them holds.

use super::fields;
use super::place::{ConfigError, Problem, Source};
use super::reader::{Reader, Value, suggestion};
use super::{Config, Provider, validate, values};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

impl Config {
    /// Reads `main` and the files `conf.d/*.toml` beside it in the order of their names. `main` itself
    /// may be absent when there are some.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(main: &Path) -> Result<Self, ConfigError> {
        let mut files = parts(&main.with_file_name("conf.d"))?;
        match main.try_exists() {
            Ok(false) if !files.is_empty() => {}
            _ => files.insert(0, main.to_path_buf()),
        }
        let mut texts = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            texts.push((file, text));
        }
        Self::from_texts(texts)
    }

    /// From texts instead of files; the names are used in messages.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn from_texts(
        texts: impl IntoIterator<Item = (PathBuf, String)>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        for (file, text) in texts {
            let source = Source::new(&file, text);
            config.files.push(file);
            let mut reader = Reader::new(&source);
            for provider in read(&mut reader, source.text()) {
                validate::add(&mut config, provider, &mut reader.problems);
            }
            reader.problems.sort_by(|a, b| a.place.cmp(&b.place));
            problems.append(&mut reader.problems);
        }
        validate::whole(&mut config, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }
}

/// The `*.toml` files of `dir`, by name; none when there is no such directory.
fn parts(dir: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(dir, &error).into()),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(dir, &error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if path.extension().is_some_and(|extension| extension == "toml") && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let advice = match error.kind() {
        ErrorKind::NotFound => {
            "; write it (docs/configuration.md says how) or name another with --config"
        }
        ErrorKind::InvalidData => "; write it in UTF-8",
        _ => "",
    };
    Problem::new(format!("cannot read {}: {error}{advice}", path.display()))
}

fn read(reader: &mut Reader<'_>, text: &str) -> Vec<Provider> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.problem(error.span().unwrap_or(0..0), error.message());
    }
    let mut providers = Vec::new();
    for (key, value) in document.get_ref() {
        if key.get_ref() != "provider" {
            let message = match fields::titles_with(key.get_ref()).next() {
                Some(title) => {
                    format!("\"{}\" stands outside any table; it belongs to {title}", key.get_ref())
                }
                None => format!(
                    "unknown key \"{}\"; {}",
                    key.get_ref(),
                    suggestion(key.get_ref(), &["provider"], "the one known here is ")
                ),
            };
            reader.problem(key.span(), message);
            continue;
        }
        let Some(table) = value.get_ref().as_table() else {
            reader.problem(value.span(), "providers have names: write [provider.NAME]");
            continue;
        };
        for (name, value) in table {
            providers.extend(provider(reader, name.get_ref(), name.span(), value));
        }
    }
    providers
}

fn provider(
    reader: &mut Reader<'_>,
    name: &str,
    span: std::ops::Range<usize>,
    value: &Value<'_>,
) -> Option<Provider> {
    let Some(table) = value.get_ref().as_table() else {
        let message = match fields::titles_with(name).next() {
            Some(_) => format!(
                "\"{name}\" stands in [provider], which is no provider; write [provider.NAME] above it"
            ),
            None => format!("provider \"{name}\" is no table; write [provider.{name}]"),
        };
        reader.problem(span, message);
        return None;
    };
    if let Err(message) = values::provider_name(name) {
        reader.problem(span.clone(), message);
    }
    let mut provider = Provider::new(name, reader.place(span.clone()));
    reader.section(&fields::PROVIDER, table, span.clone(), &mut provider);
    for message in validate::provider(&provider) {
        reader.problem(span.clone(), message);
    }
    Some(provider)
}
