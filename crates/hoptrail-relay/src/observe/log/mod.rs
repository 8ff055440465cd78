//! The log: one line when a connection or flow ends, in text or JSON.

mod json;
mod text;
mod writer;

pub use text::line as text_line;
pub use writer::{Log, Sink, Users};

use crate::ledger::{End, Ledger};
use std::time::{Duration, SystemTime};

/// A connection or flow that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What is known of it.
    pub ledger: Ledger,
    /// How.
    pub end: End,
    /// When.
    pub time: SystemTime,
    /// From the accept to the end.
    pub lasted: Duration,
}
