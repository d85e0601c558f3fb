//! The columns of a CSV file.

use std::collections::HashMap;

use super::Format;

/// What is known of an object before its first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    offset: u64,
    format: Format,
    columns: Vec<String>,
    index: HashMap<String, usize>,
    /// For each column `","name":"`: the end of the cell before it, and its own key.
    keys: Vec<u8>,
    /// Where the key of each column ends in `keys`.
    key_ends: Vec<usize>,
}

impl Header {
    /// Bytes of decompressed input before it, or before the first row of JSON Lines: a byte order mark
    /// and blank lines.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How rows are written in the object.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The column names in their order, trimmed; empty for JSON Lines.
    ///
    /// A column without a name is called `column_<n>`, counted from 1.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The position of a column, counted from 0; none for JSON Lines.
    #[must_use]
    pub fn index_of(&self, column: &str) -> Option<usize> {
        self.index.get(column).copied()
    }

    /// What stands before the first row of JSON Lines: nothing.
    pub(super) fn json_lines() -> Self {
        Self {
            offset: 0,
            format: Format::JsonLines,
            columns: Vec::new(),
            index: HashMap::new(),
            keys: Vec::new(),
            key_ends: Vec::new(),
        }
    }

    /// The same header, `offset` bytes into the object.
    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Names the columns of a CSV file, or returns the name that is there twice.
    pub(super) fn csv(fields: impl Iterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        let mut header = Self { format: Format::Csv, ..Self::json_lines() };
        for (index, field) in fields.enumerate() {
            let name = match field.as_ref().trim() {
                "" => format!("column_{}", index + 1),
                name => name.to_owned(),
            };
            if header.index.insert(name.clone(), index).is_some() {
                return Err(name);
            }
            header.keys.extend_from_slice(b"\",\"");
            super::row::escape(&mut header.keys, name.as_bytes(), false);
            header.keys.extend_from_slice(b"\":\"");
            header.key_ends.push(header.keys.len());
            header.columns.push(name);
        }
        Ok(header)
    }

    /// All keys one after the other: each is `","name":"`.
    pub(super) fn keys(&self) -> &[u8] {
        &self.keys
    }

    /// Where each key ends in [`keys`](Self::keys).
    pub(super) fn key_ends(&self) -> &[usize] {
        &self.key_ends
    }
}
