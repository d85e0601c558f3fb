//! Error of an invalid configuration.

use std::fmt;

use thiserror::Error;

/// Error in a configuration: the entry at fault and the message.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{owner}: {message}")]
pub struct ConfigError {
    owner: String,
    message: String,
}

/// Prints the same text as `Display`, because Rust prints `Debug` when `main` fails.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ConfigError {
    /// Creates an error about the entry `owner`.
    pub fn new(owner: impl Into<String>, message: impl Into<String>) -> Self {
        Self { owner: owner.into(), message: message.into() }
    }
}
