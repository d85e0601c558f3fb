//! Bytes of an object in, rows out: CSV and JSON Lines, plain or gzip, in constant memory.
//!
//! The reader is *pushed*: the caller fetches pieces of the object however it likes, gives them to
//! [`ObjectReader::push`], and takes rows with [`ObjectReader::next`] until that needs more input.
//! How the object is cut into pieces never changes what comes out.
//!
//! ```
//! use tributary_rows::{Limits, Next, ObjectReader};
//!
//! let mut reader = ObjectReader::new(Limits::default());
//! reader.push(b"city,temperature\nDayton,36.9\n");
//! reader.push(b"Reyn\"oldsburg,37.9\nColumbus,\n");
//! reader.finish();
//!
//! let (mut good, mut bad) = (Vec::new(), 0);
//! loop {
//!     match reader.next()? {
//!         Next::Header(header) => assert_eq!(header.columns(), ["city", "temperature"]),
//!         Next::Row(row) => row.write_json(&mut good),
//!         Next::Broken(_) => bad += 1,
//!         Next::NeedInput => unreachable!("all of the input was pushed"),
//!         Next::End => break,
//!     }
//! }
//! assert_eq!(good, br#"{"city":"Dayton","temperature":"36.9"}{"city":"Columbus"}"#);
//! assert_eq!(bad, 1);
//! # Ok::<(), tributary_rows::Refusal>(())
//! ```
//!
//! # What a row is
//!
//! - The first byte that is not blank decides the format: `{` is JSON Lines, anything else is CSV
//!   with a header. A UTF-8 byte order mark before it is dropped.
//! - CSV follows [RFC 4180](https://www.rfc-editor.org/rfc/rfc4180), strictly as to quotes: a
//!   quoted cell begins and ends with its quote, and a quote in any other cell is broken quoting.
//!   Lines end with LF or CRLF; a CR at the very end of the input counts as the beginning of a
//!   CRLF. Any other CR is data.
//! - JSON Lines has one JSON object on a line, and no header.
//! - A line of nothing but spaces, tabs and CRs is blank. Blank lines are not rows and not counted.
//! - Everything else is a row, good or [broken](BrokenRow), and has a [`Position`].
//!
//! # What a broken row costs
//!
//! Its own physical line and no other. Where quoting is broken, or a quote is never closed, or a
//! row over several lines has the wrong number of cells, only its first line is reported, and
//! reading goes on at the next line as if that one were not there. A row over several lines whose
//! quoting and number of cells are right is one row with all its lines, also when it is broken by
//! a NUL byte or by bytes that are not UTF-8.
//!
//! Of several faults the most specific is reported: too large, then NUL, not UTF-8, quoting or
//! JSON, number of cells.
//!
//! # What refuses the object
//!
//! A header that cannot be used, an object without a row or a header, a gzip stream that is damaged,
//! ends early or expands too far: see [`Refusal`]. Rows before the damage are given first.
//!
//! What must **not** go here: where the bytes come from, what the columns mean.

mod buffer;
mod csv;
mod fault;
mod gzip;
mod header;
mod json_lines;
mod reader;
mod row;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub use header::Header;
pub use reader::ObjectReader;
pub use row::Row;

/// How much the reader accepts, so that any input is read in constant memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a row as received, without its line terminator; at most 512 MiB is used.
    pub max_row_bytes: usize,
    /// The most bytes of a CSV header, without its line terminator; at most 512 MiB is used.
    pub max_header_bytes: usize,
    /// The most columns of a CSV header.
    pub max_columns: usize,
    /// The most bytes that one byte of gzip may become, on average over all that has been read,
    /// once the output is past its first MiB.
    pub max_gzip_ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_row_bytes: 1024 * 1024,
            max_header_bytes: 64 * 1024,
            max_columns: 4096,
            max_gzip_ratio: 200,
        }
    }
}

/// How rows are written in the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object on each line.
    JsonLines,
}

impl Format {
    /// The format that the name of an object says, where it says any: a first line that is broken
    /// must not make a CSV of JSON Lines.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        let is_json = [".jsonl", ".ndjson", ".json"].iter().any(|end| stem.ends_with(end));
        is_json.then_some(Self::JsonLines)
    }
}

/// Where a row is in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bytes of decompressed input before the row, a byte order mark and blank lines included.
    pub offset: u64,
    /// The number of the row from 1; the header and blank lines are not counted, broken rows are.
    pub row: u64,
}

/// The kind of fault of a row, a header or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The line is not one JSON object.
    InvalidJson,
    /// The quotes of a CSV row do not match.
    BrokenQuoting,
    /// A CSV row has more or fewer fields than the header has columns.
    WrongColumnCount,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The text holds a NUL byte.
    NulByte,
    /// The row is larger than [`Limits::max_row_bytes`].
    RowTooLarge,
    /// The object holds no header and no row.
    EmptyObject,
    /// The header names the same column twice.
    DuplicateColumn,
    /// The header is larger than [`Limits::max_header_bytes`] or has more than [`Limits::max_columns`].
    HeaderTooLarge,
    /// The gzip stream ends too early.
    TruncatedGzip,
    /// The gzip stream is damaged.
    CorruptGzip,
    /// The gzip stream expands beyond [`Limits::max_gzip_ratio`].
    GzipRatio,
}

/// Bytes that are not the one JSON object they must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ObjectError {
    /// The kind of fault: `NotUtf8`, `NulByte` or `InvalidJson`.
    pub kind: ErrorKind,
    /// What is wrong, for a person: lower case, no full stop.
    pub message: String,
}

/// Why the rest of an object cannot be read. It is final: the reader gives nothing else any more.
///
/// Codes: `EmptyObject`; for the header `HeaderTooLarge` (bytes or columns), `DuplicateColumn`,
/// `BrokenQuoting`, `NulByte`, `NotUtf8`; for gzip `TruncatedGzip`, `CorruptGzip`, `GzipRatio`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at byte {} (row {})", position.offset, position.row)]
pub struct Refusal {
    /// The kind of fault.
    pub kind: ErrorKind,
    /// What is wrong, for a person: lower case, no full stop.
    pub message: String,
    /// Where the unread rest begins: everything before it has been given.
    pub position: Position,
}

/// A row that can never succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow<'a> {
    /// Where the row begins.
    pub position: Position,
    /// The bytes as received, without the line terminator; empty when not [complete](Self::complete).
    pub bytes: &'a [u8],
    /// The kind of fault.
    pub kind: ErrorKind,
    /// What is wrong, for a person: lower case, no full stop. Offsets are bytes from the row's first,
    /// which is 0; columns of a JSON line are bytes from 1.
    pub message: String,
    /// The column at fault, where one column is.
    pub field: Option<String>,
    /// Whether `bytes` is all of the row. The bytes of a row that is too large are left out.
    pub complete: bool,
}

/// What [`ObjectReader::next`] has to give.
#[derive(Debug)]
pub enum Next<'a> {
    /// The format is known, and for CSV the columns. Given once, before anything else.
    Header(&'a Header),
    /// A row.
    Row(Row<'a>),
    /// A row that can never succeed.
    Broken(BrokenRow<'a>),
    /// Nothing, before there is more to [push](ObjectReader::push) or the input is
    /// [finished](ObjectReader::finish).
    NeedInput,
    /// Nothing, ever: all of the object has been given.
    End,
}

/// Says why `text` is not one JSON object, if it is not: what a line of JSON Lines must be, also where
/// it came some other way. Columns are bytes from 1.
#[must_use]
pub fn object_fault(text: &str) -> Option<String> {
    json_lines::fault(text)
}

/// The one JSON object that bytes must be, without the blanks around it; `what` says in a message what
/// they are. Of several faults the most specific is told, as for the rows of a file.
///
/// # Errors
///
/// [`ErrorKind::NotUtf8`], [`ErrorKind::NulByte`] or [`ErrorKind::InvalidJson`].
pub fn json_object<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, ObjectError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let message = format!("byte {} of the {what} is not UTF-8", error.valid_up_to());
        ObjectError::new(ErrorKind::NotUtf8, message)
    })?;
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(ObjectError::new(
            ErrorKind::NulByte,
            format!("byte {at} of the {what} is NUL"),
        ));
    }
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    match object_fault(text) {
        Some(fault) => Err(ObjectError::new(ErrorKind::InvalidJson, fault)),
        None => Ok(text),
    }
}

impl ObjectError {
    fn new(kind: ErrorKind, message: String) -> Self {
        Self { kind, message }
    }
}

/// A top-level string or number of a JSON object as text; of several with that name, the last.
#[must_use]
pub fn object_field<'a>(text: &'a str, name: &str) -> Option<Cow<'a, str>> {
    json_lines::field(text, name)
}

/// The text of a top-level value of a JSON object; of several with that name, the last.
#[must_use]
pub fn object_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    json_lines::raw_field(text, name)
}

/// Quotes a name for a message: escaped, and cut after 64 characters.
fn quoted(name: &str) -> impl fmt::Display {
    const MAX_CHARS: usize = 64;
    match name.char_indices().nth(MAX_CHARS) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}…", &name[..end]),
    }
}

/// Whether a byte may stand in a blank line.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}
