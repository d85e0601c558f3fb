//! Checks of a row's bytes, and the messages of their faults.

use std::str;

use memchr::{memchr, memchr2};

use super::csv::{self, Fault};
use super::json_rewrite::rewrite;
use super::row::needs_escape;
use super::{Encoding, ErrorKind, Format, Header, object_fault};

/// Kind and message of a fault.
pub(super) type Problem = (ErrorKind, String);

/// Text of a row, and `true` if quotes are its only bytes to escape in JSON.
pub(super) type Text<'a> = (&'a str, bool);

/// Decodes the bytes of a row whose line, quotes and number of fields are right. Otherwise returns
/// the kind, the message and the column at fault.
pub(super) fn check_row<'a, 'h>(
    header: &'h Header,
    bytes: &'a [u8],
    ends: &[u32],
    encoding: Encoding,
    scratch: &'a mut String,
) -> Result<Text<'a>, (Problem, Option<&'h str>)> {
    let text = check_text(bytes).map_err(|fault| {
        let column = csv::fields(bytes, ends).position(|field| fault.offset < field.end);
        let field = column.and_then(|index| header.columns().get(index));
        (fault.problem("the row", encoding), field.map(String::as_str))
    })?;
    if header.format() == Format::Csv {
        return Ok(text);
    }
    let (text, is_plain) = text;
    match check_json(text, is_plain, scratch) {
        Ok(json) => Ok((json, is_plain)),
        Err(message) => Err(((ErrorKind::InvalidJson, message), None)),
    }
}

/// Returns the JSON object in `text` on one line, with `null` in place of numbers that are none.
/// Only text that is no such object is copied, to `scratch`. Plain text has no control characters.
fn check_json<'a>(
    text: &'a str,
    is_plain: bool,
    scratch: &'a mut String,
) -> Result<&'a str, String> {
    let fault = object_fault(text);
    let is_one_line = is_plain || memchr2(b'\r', b'\n', text.as_bytes()).is_none();
    if fault.is_none() && is_one_line {
        return Ok(text);
    }
    rewrite(text, scratch);
    match fault {
        Some(fault) if object_fault(scratch).is_some() => Err(fault),
        _ => Ok(scratch),
    }
}

/// Position of the first byte that is NUL or not UTF-8.
pub(super) struct NotText {
    kind: ErrorKind,
    offset: usize,
}

impl NotText {
    /// Returns the problem with a message about `of`: the row or the header.
    pub(super) fn problem(&self, of: &str, encoding: Encoding) -> Problem {
        let what = match self.kind {
            ErrorKind::NulByte => "a NUL byte".to_owned(),
            _ => format!("bytes that are not {}", encoding.name()),
        };
        (self.kind, format!("{of} has {what} at byte {}", self.offset))
    }
}

/// Decodes bytes as UTF-8 text without NULs.
pub(super) fn check_text(bytes: &[u8]) -> Result<Text<'_>, NotText> {
    // No branch in the loop, so that the compiler can vectorize it.
    let special = bytes.iter().fold(false, |found, &b| found | (needs_escape(b) && b != b'"'));
    if special && let Some(offset) = memchr(0, bytes) {
        return Err(NotText { kind: ErrorKind::NulByte, offset });
    }
    match str::from_utf8(bytes) {
        Ok(text) => Ok((text, !special)),
        Err(error) => Err(NotText { kind: ErrorKind::NotUtf8, offset: error.valid_up_to() }),
    }
}

/// Returns the problem of a row or header with broken quoting.
pub(super) fn broken_quoting(fault: Fault, max_bytes: usize) -> Problem {
    let message = match fault {
        Fault::StrayQuote(at) => format!("a quote at byte {at} in a cell that is not quoted"),
        Fault::AfterQuote(at) => {
            format!("a closing quote with more of the cell after it at byte {at}")
        }
        Fault::Unclosed(at) => format!("the quote at byte {at} is never closed"),
        Fault::Endless => format!(
            "a quote that makes a row of several lines, with no end within {max_bytes} bytes"
        ),
    };
    (ErrorKind::BrokenQuoting, message)
}

/// Returns the problem of a row with the wrong number of fields.
pub(super) fn wrong_column_count(found: usize, expected: usize, one_line: bool) -> Problem {
    let message = format!("expected {expected} cells, found {found}");
    if one_line {
        (ErrorKind::WrongColumnCount, message)
    } else {
        // A surplus quote is more likely than a surplus field: the line is at fault, not the row.
        (ErrorKind::BrokenQuoting, format!("a quote that makes a row of several lines: {message}"))
    }
}

/// Returns the problem of a header over `max_bytes`.
pub(super) fn header_too_large(max_bytes: usize) -> Problem {
    (ErrorKind::HeaderTooLarge, format!("the header has more than {max_bytes} bytes"))
}
