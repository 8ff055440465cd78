//! The terminal on standard error, whose last line is ours and above which everybody else writes.

use crate::observe::log::Sink;
use anstream::ColorChoice;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// A terminal's usual width, where it does not say its own.
const USUAL: usize = 80;

/// Back to the first column, and everything from there removed.
const CLEAR: &str = "\r\x1b[K";

/// The live line's place. Whoever writes to the same terminal goes through [`Screen::above`].
#[derive(Debug)]
pub struct Screen {
    shown: Mutex<String>,
    colour: bool,
}

/// Standard output, when it is the terminal of the live line.
#[derive(Debug)]
pub struct TerminalSink(pub std::sync::Arc<Screen>);

impl Screen {
    /// Standard error's; nothing when that is no terminal which can be drawn on.
    #[must_use]
    pub fn of_stderr() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if dumb || !io::stderr().is_terminal() {
            return None;
        }
        let colour = anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        Some(Self { shown: Mutex::default(), colour })
    }

    /// Draws what `draw` makes of the terminal's width, unless another program has the terminal.
    pub(super) fn show(&self, draw: impl Fn(usize) -> String) {
        if !in_foreground() {
            // What was drawn before belongs to the shell now, and is not drawn again.
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return;
        }
        // The last column stays free: a character there makes some terminals scroll.
        let mut line = draw(columns().saturating_sub(1));
        if !self.colour {
            line = anstream::adapter::strip_str(&line).to_string();
        }
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        put(&format!("{CLEAR}{line}"));
        *shown = line;
    }

    /// Removes it.
    pub(super) fn clear(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if !shown.is_empty() {
            put(CLEAR);
            shown.clear();
        }
    }

    /// Lets `write` write whole lines to the terminal, above the live line.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_empty() {
            return write();
        }
        put(CLEAR);
        let written = write();
        put(&shown);
        written
    }
}

impl Sink for TerminalSink {
    fn lines(&mut self, text: &str) -> io::Result<()> {
        self.0.above(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        })
    }
}

fn put(text: &str) {
    // A terminal that has gone away shows nothing.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).map(|size| size.ws_col);
    size.ok().filter(|columns| *columns > 0).map_or(USUAL, usize::from)
}

/// In the background it would draw into what the user is typing.
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stderr())
        .map_or(true, |group| group == rustix::process::getpgrp())
}
