//! Rows of a sample, by column.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};

/// Maximum levels of nested objects that become dotted columns.
const MAX_LEVELS: usize = 3;

/// Maximum bytes of the name of a column.
const MAX_NAME: usize = 300;

/// Dialect of a sample, as far as a schema declares it.
#[derive(Clone, Debug, Default)]
pub struct SampleFile {
    /// Name for comments.
    pub name: String,
    /// Encoding that detection cannot know, such as `windows-1252`.
    pub encoding: Option<String>,
    /// `true` if decimals have a comma.
    pub has_decimal_comma: bool,
    /// Columns of a CSV header, in order; empty for JSON.
    pub columns: Vec<String>,
}

/// Distinct rows of a sample. Nested objects are dotted columns such as `device.id`.
#[derive(Debug, Default)]
pub struct Sample {
    pub(super) file: SampleFile,
    pub(super) rows: usize,
    pub(super) columns: Vec<Column>,
    /// Number of rows equal to an earlier one, which do not count.
    pub(super) duplicates: usize,
    /// Columns that hold arrays.
    pub(super) arrays: BTreeSet<String>,
    /// Columns that hold objects below the last level.
    pub(super) too_deep: BTreeSet<String>,
    /// Columns that no path names, because a part of it has a dot.
    pub(super) dotted: BTreeSet<String>,
    /// Columns whose name no schema can hold, such as `column 1`.
    pub(super) unnamed: BTreeSet<String>,
    index: HashMap<String, usize>,
    seen: HashSet<String>,
}

/// Values of a column, by row.
#[derive(Debug)]
pub(super) struct Column {
    pub path: String,
    pub cells: Vec<Cell>,
}

/// Value of a column in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Absent,
    Null,
    Text(String),
    Number(String),
    Flag(bool),
    /// JSON text of an object.
    Object(String),
}

impl Cell {
    /// Returns the value as text, trimmed; `None` if it is blank, absent or an object.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Absent | Self::Null | Self::Object(_) => None,
            Self::Text(text) => Some(text.trim()).filter(|text| !text.is_empty()),
            Self::Number(raw) => Some(raw),
            Self::Flag(is_set) => Some(if *is_set { "true" } else { "false" }),
        }
    }
}

/// Returns `true` for a name of a column that a schema can hold.
fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= MAX_NAME
}

impl Sample {
    /// Creates an empty sample of a file.
    #[must_use]
    pub fn new(file: SampleFile) -> Self {
        let mut sample = Self::default();
        // Readers of CSV number the columns without a name.
        let is_number = |(at, column): (usize, &String)| *column == format!("column_{}", at + 1);
        let has_names = !file.columns.iter().enumerate().all(is_number);
        for (at, column) in file.columns.iter().enumerate() {
            if is_name(column) && !(has_names && is_number((at, column))) {
                sample.column(column);
            } else {
                sample.unnamed.insert(format!("column {}", at + 1));
            }
        }
        Self { file, ..sample }
    }

    /// Sets the decimal mark to a comma, which a later file shows.
    pub fn set_decimal_comma(&mut self) {
        self.file.has_decimal_comma = true;
    }

    /// Adds a row, which is a JSON object as text. Other text is ignored.
    pub fn add(&mut self, payload: &str) {
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(payload) else { return };
        if !self.seen.insert(payload.to_owned()) {
            self.duplicates += 1;
            return;
        }
        self.rows += 1;
        self.add_fields("", fields, 1);
        let is_csv = !self.file.columns.is_empty();
        for column in &mut self.columns {
            column.cells.resize(self.rows, if is_csv { Cell::Null } else { Cell::Absent });
        }
    }

    fn add_fields(&mut self, prefix: &str, fields: Map<String, Value>, level: usize) {
        for (name, value) in fields {
            let is_csv = !self.file.columns.is_empty();
            if is_csv && !self.index.contains_key(&name) {
                continue;
            }
            if !is_name(&name) {
                let object = if prefix.is_empty() { "the rows" } else { prefix };
                self.unnamed.insert(format!("a key of {object}"));
                continue;
            }
            // A path to it would be one to an object in an object.
            let is_reachable = !name.contains('.') || prefix.is_empty() && !value.is_object();
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            if !is_reachable {
                self.dotted.insert(path);
                continue;
            }
            let cell = match value {
                Value::Null => Cell::Null,
                Value::Bool(is_set) => Cell::Flag(is_set),
                Value::Number(number) => Cell::Number(number.to_string()),
                Value::String(text) => Cell::Text(text),
                Value::Array(_) => {
                    self.arrays.insert(path);
                    continue;
                }
                Value::Object(inner) => {
                    let text = Value::Object(inner.clone()).to_string();
                    if level < MAX_LEVELS {
                        self.put(&path, Cell::Object(text));
                        self.add_fields(&path, inner, level + 1);
                    } else {
                        self.too_deep.insert(path);
                    }
                    continue;
                }
            };
            self.put(&path, cell);
        }
    }

    fn put(&mut self, path: &str, cell: Cell) {
        let (at, rows) = (self.column(path), self.rows);
        let cells = &mut self.columns[at].cells;
        cells.resize(rows - 1, Cell::Absent);
        cells.push(cell);
    }

    fn column(&mut self, path: &str) -> usize {
        if let Some(at) = self.index.get(path) {
            return *at;
        }
        let at = self.columns.len();
        self.columns.push(Column { path: path.to_owned(), cells: Vec::new() });
        self.index.insert(path.to_owned(), at);
        at
    }
}
