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

    /// Returns the entry at fault.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Creates an error at a byte of a file: `file:line:column: message`, both counted from 1.
    #[must_use]
    pub fn at(file: &str, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(text, offset);
        Self::new(format!("{file}:{line}:{column}"), message)
    }
}

/// Returns line and column of a byte, both from 1; the column counts characters.
#[must_use]
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
}
