//! Format and columns of an object.

use std::collections::HashMap;

use super::{Format, JsonLayout};

/// Format and columns of an object, known before its first row.
///
/// The default is the header of JSON Lines, which has no columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    offset: u64,
    format: Format,
    layout: JsonLayout,
    delimiter: Option<u8>,
    /// Byte that makes a quote inside a quoted field data.
    pub(super) escape: Option<u8>,
    columns: Vec<String>,
    index: HashMap<String, usize>,
    /// For each column `","name":"`: the end of the field before it, and its own key.
    pub(super) keys: Vec<u8>,
    /// End of each column's key in `keys`.
    pub(super) key_ends: Vec<usize>,
}

impl Header {
    /// Returns the bytes of decompressed input before the header, or before the first row of JSON
    /// Lines: a byte order mark, blank lines, a line `sep=;`, and skipped lines.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the format of the rows.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the layout of the objects; `None` for CSV.
    #[must_use]
    pub fn json_layout(&self) -> Option<JsonLayout> {
        (self.format == Format::JsonLines).then_some(self.layout)
    }

    /// Returns the delimiter of the fields, declared or detected; `None` for JSON Lines.
    #[must_use]
    pub fn delimiter(&self) -> Option<u8> {
        self.delimiter
    }

    /// Returns the column names in order, trimmed; empty for JSON Lines.
    ///
    /// A column without a name is called `column_<n>`, counted from 1.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Returns the index of a column, from 0; `None` for JSON Lines.
    #[must_use]
    pub fn index_of(&self, column: &str) -> Option<usize> {
        self.index.get(column).copied()
    }

    /// Sets the offset.
    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Creates the header of a JSON file.
    pub(super) fn json(layout: JsonLayout) -> Self {
        Self { layout, ..Self::default() }
    }

    /// Names the columns of a CSV file, or returns the first name that occurs twice.
    pub(super) fn csv(
        fields: impl Iterator<Item = impl AsRef<str>>,
        delimiter: u8,
        escape: Option<u8>,
    ) -> Result<Self, String> {
        let format = Format::Csv;
        let mut header = Self { format, delimiter: Some(delimiter), escape, ..Self::default() };
        for (index, field) in fields.enumerate() {
            let name = match field.as_ref().trim() {
                "" => format!("column_{}", index + 1),
                name => name.to_owned(),
            };
            if header.index.insert(name.clone(), index).is_some() {
                return Err(name);
            }
            header.keys.extend_from_slice(b"\",\"");
            super::row::escape(&mut header.keys, name.as_bytes());
            header.keys.extend_from_slice(b"\":\"");
            header.key_ends.push(header.keys.len());
            header.columns.push(name);
        }
        Ok(header)
    }
}
