//! The error of a configuration that cannot be used.

use std::fmt;

use thiserror::Error;

/// An error in a configuration: the entry at fault, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{owner}: {message}")]
pub struct ConfigError {
    owner: String,
    message: String,
}

/// Prints the same as `Display`: Rust prints it when `main` fails.
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
