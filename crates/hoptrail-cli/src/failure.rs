//! Why a verb ends early: a sentence for the user, and nothing else.

use hoptrail_engine::EngineError;
use hoptrail_engine::config::ConfigError;
use std::fmt;
use std::io;

/// What is wrong, where, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// From a sentence.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// From what was tried and what the system said.
    pub(crate) fn os(tried: impl fmt::Display, error: impl Into<io::Error>) -> Self {
        Self(format!("{tried}: {}", error.into()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self(error.message)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}
