//! Physical lines. They end with LF, CRLF or CR.

use memchr::memchr2;

/// UTF-8 byte order mark. Files that are put together have one at the beginning of a later line.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Returns `true` if a line begins with a byte order mark, or `None` if that needs more input.
pub(super) fn begins_with_mark(line: &[u8], at_end: bool) -> Option<bool> {
    match line.first() {
        Some(first) if *first != BYTE_ORDER_MARK[0] => Some(false),
        _ if line.starts_with(BYTE_ORDER_MARK) => Some(true),
        _ => (at_end || !BYTE_ORDER_MARK.starts_with(line)).then_some(false),
    }
}

/// Length of a physical line, or of a row with all its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Length without the terminator.
    pub end: usize,
    /// Length with the terminator; the next line starts here.
    pub next: usize,
}

impl Line {
    /// Returns the line that ends with the CR or LF at `at`, or `None` if the CR is the last byte:
    /// an LF may follow it.
    pub(super) fn ending_at(bytes: &[u8], at: usize) -> Option<Self> {
        let width = match (bytes[at], bytes.get(at + 1)) {
            (b'\r', None) => return None,
            (b'\r', Some(b'\n')) => 2,
            _ => 1,
        };
        Some(Self { end: at, next: at + width })
    }

    /// Returns the line that `bytes` starts with, whose first `from` bytes hold no terminator. If
    /// it needs more input, returns the offset to search from next time.
    pub(super) fn first(bytes: &[u8], from: usize) -> Result<Self, usize> {
        match memchr2(b'\r', b'\n', &bytes[from..]) {
            Some(length) => Self::ending_at(bytes, from + length).ok_or(from + length),
            None => Err(bytes.len()),
        }
    }

    /// Returns the last line, which the end of the input or a CR before it terminates.
    pub(super) fn last(bytes: &[u8]) -> Self {
        Self { end: bytes.strip_suffix(b"\r").unwrap_or(bytes).len(), next: bytes.len() }
    }
}
