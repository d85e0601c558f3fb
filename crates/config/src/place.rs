//! Places of values in the text of a TOML file, for errors.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use tributary_model::config_error::ConfigError;
use tributary_rules::check::written_at;

use crate::PIPELINE_FILE;

/// A TOML file whose values are found by their path.
pub(crate) struct Places<'t> {
    file: String,
    text: &'t str,
    table: Option<Spanned<DeTable<'t>>>,
}

/// Step of a path: the key of a table, or the index of an array.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// Returns the error of an entry of `[ranges]` with its place in `pipeline.toml`; others unchanged.
pub(crate) fn of_range(error: ConfigError, text: &str) -> ConfigError {
    let path: Vec<_> = error.owner().split('.').map(Step::Key).collect();
    match path.first() {
        Some(Step::Key("ranges")) => {
            Places::new(PIPELINE_FILE, text).error(&path, &error.to_string())
        }
        _ => error,
    }
}

impl<'t> Places<'t> {
    /// Reads a file; invalid TOML has no places.
    pub(crate) fn new(file: &str, text: &'t str) -> Self {
        Self { file: file.to_owned(), text, table: DeTable::parse(text).ok() }
    }

    /// Returns an error at the value at `path`, or at the last value on the way to it.
    pub(crate) fn error(&self, path: &[Step<'_>], message: &str) -> ConfigError {
        ConfigError::at(&self.file, self.text, self.span(path).0, message)
    }

    /// Returns an error at a byte of the text at `path`.
    pub(crate) fn error_inside(
        &self,
        path: &[Step<'_>],
        byte: usize,
        message: &str,
    ) -> ConfigError {
        let (start, end) = self.span(path);
        let offset = start + written_at(&self.text[start..end], byte);
        ConfigError::at(&self.file, self.text, offset, message)
    }

    /// Returns an error at the key of the entry at `index` of an array of tables; `None` if the
    /// entry does not have it.
    pub(crate) fn error_at_key(
        &self,
        array: &str,
        index: usize,
        key: &str,
        message: &str,
    ) -> Option<ConfigError> {
        let entries = self.table.as_ref()?.get_ref().get(array)?.get_ref();
        let entry = entries.as_array()?.get(index)?.get_ref().as_table()?;
        let (key, _) = entry.iter().find(|(known, _)| known.get_ref() == key)?;
        Some(ConfigError::at(&self.file, self.text, key.span().start, message))
    }

    fn span(&self, path: &[Step<'_>]) -> (usize, usize) {
        let mut span = (0, 0);
        let Some(mut table) = self.table.as_ref().map(Spanned::get_ref) else { return span };
        let mut value: Option<&Spanned<DeValue<'_>>> = None;
        for step in path {
            let next = match (step, value.map(Spanned::get_ref)) {
                (Step::Key(key), None) => table.get(*key),
                (Step::Key(key), Some(DeValue::Table(inner))) => {
                    table = inner;
                    table.get(*key)
                }
                (Step::Index(index), Some(DeValue::Array(values))) => values.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            span = (next.span().start, next.span().end);
            value = Some(next);
        }
        span
    }
}
