//! Columns of a field.

use std::borrow::Cow;

use tributary_model::bad_row::{Code, Rejection};

use super::attribute::Words;
use crate::row::{Row, Value};
use crate::value::{Missing, ValueError};

/// Columns of a field, of which the first with a value counts, and the texts that are none.
#[derive(Debug)]
pub(crate) struct Source {
    columns: Vec<(usize, String)>,
    missing: Missing,
}

impl Source {
    /// Creates a source of at least one column with its slot.
    pub(super) fn new(columns: Vec<(usize, String)>, missing: Missing) -> Self {
        debug_assert!(!columns.is_empty());
        Self { columns, missing }
    }

    /// Returns the first column.
    pub(super) fn column(&self) -> &str {
        self.columns.first().map_or("", |(_, column)| column)
    }

    /// Iterates over all columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(_, column)| column.as_str())
    }

    /// Returns the names of all columns.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns().map(str::to_owned).collect()
    }

    /// Takes words off the texts that are no value.
    pub(super) fn keep(&mut self, words: &Words) {
        self.missing.remove(|text| words.has(text));
    }

    pub(super) fn missing_values(&self) -> &Missing {
        &self.missing
    }

    /// Returns the text, trimmed, with its column.
    ///
    /// # Errors
    ///
    /// [`Code::UnknownValue`] for an object or an array.
    pub(super) fn text<'a>(
        &self,
        row: &Row<'a>,
    ) -> Result<Option<(&str, Cow<'a, str>)>, Rejection> {
        for (slot, column) in &self.columns {
            let text = row.value(*slot).text(&self.missing);
            if let Some(text) = text.map_err(|error| error.reject(column))? {
                return Ok(Some((column, text)));
            }
        }
        Ok(None)
    }

    /// Reads the text, trimmed, without a copy.
    ///
    /// # Errors
    ///
    /// Errors of `read`, and [`Code::UnknownValue`] for an object or an array.
    pub(super) fn read<T>(
        &self,
        row: &Row<'_>,
        mut read: impl FnMut(&str) -> Result<T, ValueError>,
    ) -> Result<Option<(&str, T)>, Rejection> {
        self.read_first(row, |_, text| read(text).map(Some))
    }

    /// Reads value and trimmed text of the first column in which `read` finds something.
    ///
    /// # Errors
    ///
    /// See [`Source::read`].
    pub(super) fn read_first<T>(
        &self,
        row: &Row<'_>,
        mut read: impl FnMut(&Value<'_>, &str) -> Result<Option<T>, ValueError>,
    ) -> Result<Option<(&str, T)>, Rejection> {
        for (slot, column) in &self.columns {
            let value = row.value(*slot);
            let text = value.written(&self.missing);
            let Some(text) = text.map_err(|error| error.reject(column))? else { continue };
            if let Some(found) = read(value, text).map_err(|error| error.reject(column))? {
                return Ok(Some((column, found)));
            }
        }
        Ok(None)
    }

    /// Returns the first value that is not blank or missing, with its column.
    pub(super) fn value<'r, 'a>(&self, row: &'r Row<'a>) -> Option<(&str, &'r Value<'a>)> {
        let mut values = self.columns.iter().map(|(slot, column)| (&**column, row.value(*slot)));
        values.find(|(_, value)| !matches!(value.written(&self.missing), Ok(None)))
    }

    /// Returns the rejection of a row without a value in any of the columns.
    pub(super) fn empty(&self) -> Rejection {
        let others = self.columns[1..].iter().map(|(_, column)| format!(", and so is {column}"));
        let message = format!("is required and empty{}", others.collect::<String>());
        ValueError::new(Code::MissingField, message).reject(self.column())
    }
}
