//! What is printed: text in colour on a terminal only (NO_COLOR and CLICOLOR are obeyed), JSON, errors.

use anstyle::{AnsiColor, Style};
use std::io::Write;

/// Names of things: providers, verbs.
pub(crate) const NAME: Style = AnsiColor::Cyan.on_default().bold();
/// What went as wished: permit, running.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What was done to the connection: redirect.
pub(crate) const ACTED: Style = AnsiColor::Yellow.on_default();
/// What was refused or is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What may be skipped in reading: places, reasons.
pub(crate) const DIM: Style = Style::new().dimmed();

/// `text` in `style`; the codes are removed again where standard output or error is no terminal.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes to standard output as it stands, without a line end. A reader that has gone away (`| head`)
/// is no error.
pub(crate) fn stdout(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error as it stands, without a line end.
pub(crate) fn stderr(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes a line to standard error: `hoptrail: message`.
pub(crate) fn error(message: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{} {message}", paint(BAD, "hoptrail:"));
}

/// Writes a line to standard error: `hoptrail: warning: message`.
pub(crate) fn warning(message: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "hoptrail: {} {message}", paint(ACTED, "warning:"));
}

/// Writes `value` to standard output as indented JSON and a line end.
pub(crate) fn json(value: &serde_json::Value) {
    stdout(&format!("{value:#}\n"));
}
