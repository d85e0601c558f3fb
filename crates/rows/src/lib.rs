//! Reads the rows of an object from its bytes: CSV and JSON Lines in their common dialects, plain or
//! gzip, in constant memory.
//!
//! The reader is *pushed*: the caller fetches pieces of the object, passes them to
//! [`ObjectReader::push`], and takes rows with [`ObjectReader::next`] until the reader needs more
//! input. The result does not depend on how the object is cut into pieces.
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
//! # Rows
//!
//! - The first byte that is not blank selects the format: `{` is JSON Lines, `[` before an object is
//!   a JSON array, anything else is CSV with a header.
//! - A UTF-8 byte order mark at the beginning of any line is dropped: files that were put together
//!   with `cat` have several. A header that comes again is a row.
//! - Text is UTF-8, UTF-16 with a byte order mark, or in the encoding of the [`Dialect`].
//! - CSV fields are separated by a comma, semicolon, tab or pipe: the most frequent in the header
//!   outside quotes, and the comma on a tie. A first line `sep=;` or the [`Dialect`] sets another
//!   delimiter. The line `sep=;` is not a row.
//! - CSV follows [RFC 4180](https://www.rfc-editor.org/rfc/rfc4180), with strict quotes: a quoted
//!   field begins and ends with its quote, and a quote in any other field is broken quoting. Spaces
//!   before an opening quote are dropped.
//! - Fields missing at the end of a row of one line are empty. Empty fields after the last column
//!   are dropped; any other field there is a wrong number of fields.
//! - A line ends with LF, CRLF or CR, and different lines may end differently. Inside the quotes of
//!   a CSV field these bytes are data. A CR at the end of a piece waits for the next piece, and at
//!   the end of the input it ends the line.
//! - JSON Lines holds one JSON object per line and has no header.
//! - JSON can also be an array of objects, objects over several lines, or objects with nothing
//!   between them: see [`JsonLayout`]. Blanks, line ends, commas and brackets between objects are
//!   skipped, and anything else there is a broken row, up to the next object or line.
//! - The first line that is not blank decides. It begins an array if its bracket is followed, after
//!   blanks and line ends, by a brace or the closing bracket. If an object ends in it and another
//!   begins behind it, objects follow with nothing between them. If the line ends inside an object
//!   and the next line does not begin with a brace, objects are spread over lines. Otherwise it is
//!   JSON Lines.
//! - A bare `NaN` or `Infinity` in JSON, in any case and with any sign, is read as `null`.
//! - A line of only spaces and tabs is blank. Blank lines are neither rows nor counted.
//! - Everything else is a row, good or [broken](BrokenRow), and has a [`Position`].
//!
//! # Lines before the header
//!
//! The reader skips lines that begin with `#` before a CSV header. Any other line there looks like
//! a header. A caller that knows the columns of its datasets calls [`ObjectReader::skip_header`]
//! until a header fits, also when a line is rejected because it cannot be a header. At most 64
//! lines are skipped. [`ObjectReader::preamble_lines`] returns their number.
//!
//! # Broken rows
//!
//! A broken row of CSV or JSON Lines loses its own physical line and no other. If quoting is broken, a quote is never
//! closed, or a row over several lines has the wrong number of fields, the reader reports the first
//! line only and continues with the next line. A row over several lines with correct quoting and
//! the right number of fields is one row with all its lines, even if a NUL byte or invalid UTF-8
//! breaks it.
//!
//! A broken object of a JSON array or of objects over several lines ends with its last brace, or
//! where another object begins in a place without one. A string ends with its line at the latest.
//!
//! Of several faults the reader reports the most specific: too large, then NUL, not UTF-8, quoting
//! or JSON, number of fields.
//!
//! # Rejected objects
//!
//! The reader rejects an object that is not text, whose header is invalid, that holds neither header
//! nor row, or whose gzip stream is damaged, ends early or expands too far: see [`Refusal`]. It
//! returns the rows before the damage first. A zip archive, a Parquet file and other formats that
//! are often found among text are rejected by name, with a command that converts them. UTF-16
//! without a byte order mark is rejected the same way.
//!
//! Out of scope: fetching the bytes, and the meaning of the columns.

mod buffer;
mod csv;
mod dialect;
mod fault;
mod gzip;
mod header;
mod header_scan;
mod json_lines;
mod json_rewrite;
mod json_stream;
mod line;
mod reader;
mod row;
mod row_scan;
mod signature;
mod sniff;
mod source;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

pub use dialect::{Dialect, Encoding};
pub use header::Header;
pub use json_lines::{object_fault, object_field, object_value};
pub use json_stream::JsonLayout;
pub use reader::ObjectReader;
pub use row::Row;
pub use sniff::{MAX_SNIFFED_BYTES, Sniffed, sniff};

/// Limits of the reader. They bound its memory for any input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum bytes of a row as received, without its line terminator. Values above 256 MiB count
    /// as 256 MiB.
    pub max_row_bytes: usize,
    /// Maximum bytes of a CSV header, without its line terminator. Values above 256 MiB count as
    /// 256 MiB.
    pub max_header_bytes: usize,
    /// Maximum columns of a CSV header.
    pub max_columns: usize,
    /// Maximum output bytes per input byte of gzip, on average over everything read. Checked once
    /// the output exceeds 1 MiB.
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

/// Format of the rows of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Delimited values with a header.
    Csv,
    /// JSON objects, one on each line or in another [layout](JsonLayout).
    #[default]
    JsonLines,
}

impl Format {
    /// Returns the format that the extension of an object's name implies, if any. The name takes
    /// precedence over the first byte: a broken first line must not turn JSON Lines into CSV.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        let is_json = [".jsonl", ".ndjson", ".json"].iter().any(|end| stem.ends_with(end));
        is_json.then_some(Self::JsonLines)
    }
}

/// Position of a row in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Bytes of text before the row, decompressed and decoded to UTF-8. A UTF-8 byte order mark,
    /// blank lines and the header count, a UTF-16 byte order mark does not.
    pub offset: u64,
    /// Number of the row, from 1. Broken rows count; the header and blank lines do not.
    pub row: u64,
}

/// Kinds of fault of a row, a header or an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The line, or the item of a JSON array, is not one JSON object.
    InvalidJson,
    /// The quotes of a CSV row do not match.
    BrokenQuoting,
    /// A CSV row has a field with content after the last column of the header.
    WrongColumnCount,
    /// The bytes are not UTF-8, or not in the encoding that the object states or its dataset declares.
    NotUtf8,
    /// The text holds a NUL byte.
    NulByte,
    /// The row is larger than [`Limits::max_row_bytes`].
    RowTooLarge,
    /// The object is not text but a file of another format, which the message names.
    UnsupportedFormat,
    /// The object holds no header and no row.
    EmptyObject,
    /// The header names the same column twice.
    DuplicateColumn,
    /// The header is larger than [`Limits::max_header_bytes`] or has more than
    /// [`Limits::max_columns`] columns.
    HeaderTooLarge,
    /// The gzip stream ends too early.
    TruncatedGzip,
    /// The gzip stream is damaged.
    CorruptGzip,
    /// The gzip stream expands beyond [`Limits::max_gzip_ratio`].
    GzipRatio,
}

/// Error of [`json_object`]: the bytes are not one JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ObjectError {
    /// The kind of fault: `NotUtf8`, `NulByte` or `InvalidJson`.
    pub kind: ErrorKind,
    /// Message for a person: lower case, no full stop.
    pub message: String,
}

/// Reason why the rest of an object cannot be read. It is final: every later call returns the same.
/// Only a rejected header can be [skipped](ObjectReader::skip_header).
///
/// Kinds: `EmptyObject`, `UnsupportedFormat`, `NotUtf8` for UTF-16 and UTF-32; for the header `HeaderTooLarge` (bytes or columns), `DuplicateColumn`,
/// `BrokenQuoting`, `NulByte`, `NotUtf8`; for gzip `TruncatedGzip`, `CorruptGzip`, `GzipRatio`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at byte {} (row {})", position.offset, position.row)]
pub struct Refusal {
    /// The kind of fault.
    pub kind: ErrorKind,
    /// Message for a person: lower case, no full stop.
    pub message: String,
    /// Start of the unread rest. All rows before it have been returned.
    pub position: Position,
}

/// A row that cannot be read. Reading it again gives the same fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow<'a> {
    /// Position of the row's first byte.
    pub position: Position,
    /// Bytes as received, without the line terminator; empty when not [complete](Self::complete).
    pub bytes: &'a [u8],
    /// The kind of fault.
    pub kind: ErrorKind,
    /// Message for a person: lower case, no full stop. Offsets are bytes from the row's first byte,
    /// which is 0; lines and columns of a JSON row are counted from 1, columns in bytes.
    pub message: String,
    /// The column at fault, if the fault lies in a single column.
    pub field: Option<String>,
    /// `true` if `bytes` holds the whole row. The bytes of a row that is too large are dropped.
    pub complete: bool,
}

/// Result of [`ObjectReader::next`].
#[derive(Debug)]
pub enum Next<'a> {
    /// The format, and for CSV the columns. Returned once, before anything else, and again after
    /// each [`skip_header`](ObjectReader::skip_header).
    Header(&'a Header),
    /// A row.
    Row(Row<'a>),
    /// A row that cannot be read.
    Broken(BrokenRow<'a>),
    /// The reader needs more input: [push](ObjectReader::push) a piece or
    /// [finish](ObjectReader::finish) the input.
    NeedInput,
    /// The whole object has been read.
    End,
}

/// Returns the JSON object in `bytes`, without surrounding blanks. `what` names the bytes in
/// messages. Of several faults it reports the most specific, as for the rows of a file.
///
/// # Errors
///
/// [`ErrorKind::NotUtf8`], [`ErrorKind::NulByte`] or [`ErrorKind::InvalidJson`].
pub fn json_object<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, ObjectError> {
    let error = |kind, message| ObjectError { kind, message };
    let text = str::from_utf8(bytes).map_err(|fault| {
        let message = format!("byte {} of the {what} is not UTF-8", fault.valid_up_to());
        error(ErrorKind::NotUtf8, message)
    })?;
    if let Some(at) = memchr::memchr(0, bytes) {
        return Err(error(ErrorKind::NulByte, format!("byte {at} of the {what} is NUL")));
    }
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    match object_fault(text) {
        Some(fault) => Err(error(ErrorKind::InvalidJson, fault)),
        None => Ok(text),
    }
}

/// Quotes a name for a message: escaped, and cut after 64 characters.
fn quoted(name: &str) -> impl fmt::Display {
    const MAX_CHARS: usize = 64;
    match name.char_indices().nth(MAX_CHARS) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}…", &name[..end]),
    }
}

/// Returns `true` for the bytes allowed in a blank line.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
