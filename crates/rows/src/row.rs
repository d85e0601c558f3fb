//! A row and its conversion to JSON.

use std::borrow::Cow;

use memchr::memchr;

use super::csv::{self, FieldSpan};
use super::{Format, Header, Position, object_field};

/// A well-formed row: its quoting, number of fields and encoding are right. Fields missing at its end
/// are empty.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Position of the row's first byte.
    pub position: Position,
    /// Bytes as received, decoded to UTF-8, without the line terminator.
    pub bytes: &'a [u8],
    pub(super) text: &'a str,
    pub(super) header: &'a Header,
    pub(super) ends: &'a [u32],
    /// `true` if quotes are the only bytes to escape in JSON.
    pub(super) plain: bool,
}

impl<'a> Row<'a> {
    /// Returns the header of the row's object.
    #[must_use]
    pub fn header(&self) -> &'a Header {
        self.header
    }

    /// Returns the text that the fields are read from. A JSON row is on one line and has `null` in
    /// place of a bare `NaN` or `Infinity`.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Returns a field of a CSV row by its index from 0, without its quotes. `None` if the field is
    /// empty or the row is JSON.
    #[must_use]
    pub fn field_at(&self, column_index: usize) -> Option<Cow<'a, str>> {
        let field = csv::field(self.bytes, self.ends, column_index)?;
        text_of(self.text, field, self.header.escape)
    }

    /// Returns the value of a CSV column, or of a top-level string or number of a JSON row as text.
    ///
    /// `None` if the field is absent, empty in CSV, or neither string nor number in JSON. If a JSON
    /// field occurs more than once, the last value counts.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.header.format() {
            Format::Csv => self.field_at(self.header.index_of(name)?),
            Format::JsonLines => object_field(self.text, name),
        }
    }

    /// Appends the row as one JSON object.
    ///
    /// CSV becomes `{"column":"value",…}` in column order: all values are strings, empty fields are
    /// left out. A JSON row is appended as its [text](Self::text).
    pub fn write_json(&self, out: &mut Vec<u8>) {
        if self.header.format() == Format::JsonLines {
            out.extend_from_slice(self.text.as_bytes());
            return;
        }
        let keys = &self.header.keys;
        out.reserve(keys.len() + self.bytes.len() + 2);
        out.push(b'{');
        // No field precedes the first key, so its `",` is left out.
        let mut skipped = 2;
        let mut key_start = 0;
        for (field, &key_end) in csv::fields(self.bytes, self.ends).zip(&self.header.key_ends) {
            let key = key_start..key_end;
            key_start = key_end;
            if field.start == field.end {
                continue;
            }
            out.extend_from_slice(&keys[key][skipped..]);
            skipped = 0;
            let content = &self.bytes[field.start..field.end];
            if field.escaped {
                let content = &self.text[field.start..field.end];
                each_part(content, self.header.escape, |part| escape(out, part.as_bytes()));
            } else if self.plain {
                out.extend_from_slice(content);
            } else {
                escape(out, content);
            }
        }
        out.extend_from_slice(if skipped == 0 { b"\"}" } else { b"}" });
    }
}

/// Returns the value of a field; `None` if it is empty.
pub(super) fn text_of(
    text: &str,
    field: FieldSpan,
    escape_byte: Option<u8>,
) -> Option<Cow<'_, str>> {
    match &text[field.start..field.end] {
        "" => None,
        content if field.escaped => {
            let mut value = String::with_capacity(content.len());
            each_part(content, escape_byte, |part| value.push_str(part));
            Some(Cow::Owned(value))
        }
        content => Some(Cow::Borrowed(content)),
    }
}

/// Calls `each` with the parts of a quoted field's content that make up its value: one of two
/// doubled quotes, and half of the escapes before a quote or the end.
fn each_part<'a>(content: &'a str, escape_byte: Option<u8>, mut each: impl FnMut(&'a str)) {
    let mut rest = content;
    loop {
        let quote = memchr(b'"', rest.as_bytes()).unwrap_or(rest.len());
        let before = rest.as_bytes()[..quote].iter().rev();
        let run = before.take_while(|&&byte| Some(byte) == escape_byte).count();
        each(&rest[..quote - run]);
        // The escapes are all the same: the last of them stay.
        let kept = quote - run / 2;
        if quote == rest.len() {
            each(&rest[kept..]);
            return;
        }
        each(&rest[kept..=quote]);
        // A quote that is not escaped is doubled.
        let width = if run % 2 == 1 { 1 } else { 2 };
        rest = &rest[quote + width..];
    }
}

/// Returns `true` if a byte of a string must be escaped in JSON: RFC 8259, section 7.
pub(super) fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends UTF-8 as the inside of a JSON string.
pub(super) fn escape(out: &mut Vec<u8>, mut bytes: &[u8]) {
    while let Some(length) = bytes.iter().position(|&byte| needs_escape(byte)) {
        out.extend_from_slice(&bytes[..length]);
        let byte = bytes[length];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex(byte >> 4), hex(byte & 0xf)]);
            }
        }
        bytes = &bytes[length + 1..];
    }
    out.extend_from_slice(bytes);
}
