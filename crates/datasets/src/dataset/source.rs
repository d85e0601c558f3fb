//! Columns of a field.

use std::borrow::Cow;

use tributary_model::bad_row::{Code, Rejection};

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

    /// Returns the names of all columns.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(_, column)| column.clone()).collect()
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
        read: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Result<Option<(&str, T)>, Rejection> {
        for (slot, column) in &self.columns {
            let text = row.value(*slot).written(&self.missing);
            if let Some(text) = text.map_err(|error| error.reject(column))? {
                let value = read(text).map_err(|error| error.reject(column))?;
                return Ok(Some((column, value)));
            }
        }
        Ok(None)
    }

    /// Returns the first value that is not absent, with its column.
    pub(super) fn value<'r, 'a>(&self, row: &'r Row<'a>) -> Option<(&str, &'r Value<'a>)> {
        let mut values = self.columns.iter().map(|(slot, column)| (&**column, row.value(*slot)));
        values.find(|(_, value)| !matches!(value, Value::Absent | Value::Null))
    }

    /// Returns the rejection of a row without a value in any of the columns.
    pub(super) fn empty(&self) -> Rejection {
        let others = self.columns[1..].iter().map(|(_, column)| format!(", and so is {column}"));
        let message = format!("is required and empty{}", others.collect::<String>());
        ValueError::new(Code::MissingField, message).reject(self.column())
    }
}
