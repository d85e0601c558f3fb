//! Finds the header: passes blank lines, detects the format and reads the columns.

use super::buffer::Buffer;
use super::csv::{self, Fault, Scan, Scanned};
use super::dialect::{DelimiterCount, SepLine, sep_line};
use super::fault::{self, Problem, check_text};
use super::json_stream::{Detected, LayoutScan};
use super::line::{BYTE_ORDER_MARK, Line, begins_with_mark};
use super::row::text_of;
use super::{Dialect, Encoding, ErrorKind, Format, Header, JsonLayout, Limits, is_blank, quoted};

/// Maximum lines before the header.
pub(super) const MAX_PREAMBLE_LINES: usize = 64;

/// Scan for the header of an object.
pub(super) struct HeaderScan {
    part: Part,
    /// Format that the caller knows in advance.
    pub format: Option<Format>,
    /// Layout that the caller knows in advance.
    pub json_layout: Option<JsonLayout>,
    /// Offset of the header, or of the first row of JSON Lines; 0 while unknown.
    offset: u64,
    dialect: Dialect,
    /// The next line is the first that is not blank.
    first: bool,
    /// Number of lines skipped before the header.
    preamble_lines: usize,
    count: DelimiterCount,
    scan: Option<Scan>,
    layout: LayoutScan,
}

/// Part of the object that the next byte belongs to.
#[derive(Clone, Copy)]
enum Part {
    /// Blank lines before the header. The first `seen` bytes of the line are known to be blank;
    /// with `cut`, earlier blank bytes of the line have been dropped.
    Blank {
        seen: usize,
        cut: bool,
    },
    /// Inside a line that begins with `#`.
    Comment,
    Csv,
    Json,
    /// The header, or a line rejected as one, is at the start of the buffer. The caller may skip
    /// its first line.
    Offered {
        first_line: Line,
        next: usize,
    },
    Rows,
}

impl Part {
    const LINE_START: Self = Self::Blank { seen: 0, cut: false };
}

impl HeaderScan {
    pub(super) fn new() -> Self {
        Self {
            part: Part::LINE_START,
            format: None,
            json_layout: None,
            offset: 0,
            dialect: Dialect::default(),
            first: true,
            preamble_lines: 0,
            count: DelimiterCount::default(),
            scan: None,
            layout: LayoutScan::default(),
        }
    }

    pub(super) fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect.usable();
    }

    /// Returns the offset of the header, or 0 while it is unknown.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of lines skipped before the header.
    pub(super) fn preamble_lines(&self) -> usize {
        self.preamble_lines
    }

    /// Consumes the header, if that has not happened yet.
    pub(super) fn accept(&mut self, buffer: &mut Buffer) {
        if let Part::Offered { next, .. } = self.part {
            buffer.consume(next);
            self.part = Part::Rows;
        }
    }

    /// Skips the first line of the header, or of what was rejected as one. Returns `false` if there
    /// is none or [`MAX_PREAMBLE_LINES`] have been skipped.
    pub(super) fn skip(&mut self, buffer: &mut Buffer) -> bool {
        let Part::Offered { first_line, .. } = self.part else { return false };
        if self.preamble_lines == MAX_PREAMBLE_LINES {
            return false;
        }
        buffer.consume(first_line.next);
        self.preamble_lines += 1;
        self.part = Part::LINE_START;
        self.count = DelimiterCount::default();
        self.scan = None;
        self.layout = LayoutScan::default();
        true
    }

    /// Finds the header and leaves it in the buffer; `None` if that needs more input.
    pub(super) fn read(
        &mut self,
        buffer: &mut Buffer,
        at_end: bool,
        limits: &Limits,
        encoding: Encoding,
    ) -> Result<Option<Header>, Problem> {
        loop {
            match self.part {
                Part::Blank { seen, cut } => {
                    match self.pass_blank_lines(seen, cut, buffer, at_end, limits)? {
                        None => return Ok(None),
                        Some(Format::Csv) if self.is_comment(buffer) => self.part = Part::Comment,
                        Some(Format::Csv) => self.part = Part::Csv,
                        Some(Format::JsonLines) => self.part = Part::Json,
                    }
                }
                Part::Comment => {
                    let Some(()) = pass_line(buffer, at_end) else { return Ok(None) };
                    self.preamble_lines += 1;
                    self.first = false;
                    self.part = Part::LINE_START;
                }
                Part::Csv if self.first => match sep_line(buffer.pending(), at_end) {
                    SepLine::More => return Ok(None),
                    SepLine::Absent => self.first = false,
                    SepLine::Found { delimiter, line } => {
                        buffer.consume(line.next);
                        self.dialect.delimiter = Some(delimiter);
                        self.first = false;
                        self.part = Part::LINE_START;
                    }
                },
                Part::Csv => return self.read_columns(buffer, at_end, limits, encoding),
                Part::Json => {
                    let (pending, max_bytes) = (buffer.pending(), limits.max_row_bytes);
                    let detect = || self.layout.detect(pending, at_end, max_bytes);
                    let layout = match self.json_layout.map_or_else(detect, Detected::Layout) {
                        Detected::More => return Ok(None),
                        Detected::Layout(layout) => layout,
                        Detected::NoObjects if self.format.is_some() => JsonLayout::Lines,
                        Detected::NoObjects => {
                            self.part = Part::Csv;
                            continue;
                        }
                    };
                    self.part = Part::Rows;
                    return Ok(Some(Header::json(layout).at(self.offset)));
                }
                Part::Offered { .. } | Part::Rows => return Ok(None),
            }
        }
    }

    /// Drops blank lines up to the first byte that is not blank, and returns the format it selects.
    fn pass_blank_lines(
        &mut self,
        mut seen: usize,
        mut cut: bool,
        buffer: &mut Buffer,
        at_end: bool,
        limits: &Limits,
    ) -> Result<Option<Format>, Problem> {
        loop {
            if seen == 0 && !cut {
                match begins_with_mark(buffer.pending(), at_end) {
                    None => {
                        self.part = Part::LINE_START;
                        return Ok(None);
                    }
                    Some(true) => {
                        buffer.consume(BYTE_ORDER_MARK.len());
                        continue;
                    }
                    Some(false) => {}
                }
            }
            let pending = buffer.pending();
            match pending[seen..].iter().position(|&byte| !is_blank(byte)) {
                // Of a CRLF, the LF is one more blank line.
                Some(blank) if matches!(pending[seen + blank], b'\r' | b'\n') => {
                    buffer.consume(seen + blank + 1);
                    (seen, cut) = (0, false);
                }
                Some(_) if cut => return Err(fault::header_too_large(limits.max_header_bytes)),
                Some(blank) => {
                    self.offset = buffer.offset();
                    let detected = match pending[seen + blank] {
                        b'{' | b'[' => Format::JsonLines,
                        _ => Format::Csv,
                    };
                    return Ok(Some(self.format.unwrap_or(detected)));
                }
                None if at_end => {
                    let message = "there is no header and no row".to_owned();
                    return Err((ErrorKind::EmptyObject, message));
                }
                None => {
                    seen = pending.len();
                    if seen > limits.max_header_bytes {
                        buffer.consume(seen);
                        (seen, cut) = (0, true);
                    }
                    self.part = Part::Blank { seen, cut };
                    return Ok(None);
                }
            }
        }
    }

    /// Returns `true` if the line at the start of the buffer precedes the header.
    fn is_comment(&self, buffer: &Buffer) -> bool {
        buffer.pending().starts_with(b"#") && self.preamble_lines < MAX_PREAMBLE_LINES
    }

    /// Reads the columns of a CSV; `None` if that needs more input.
    fn read_columns(
        &mut self,
        buffer: &mut Buffer,
        at_end: bool,
        limits: &Limits,
        encoding: Encoding,
    ) -> Result<Option<Header>, Problem> {
        let (max_bytes, max_columns) = (limits.max_header_bytes, limits.max_columns);
        let pending = buffer.pending();
        let detect = || self.count.delimiter(pending, at_end, max_bytes);
        let Some(delimiter) = self.dialect.delimiter.or_else(detect) else { return Ok(None) };
        let escape = self.dialect.escape;
        let scan = self.scan.get_or_insert_with(|| Scan::new(delimiter, escape));
        let line = match scan.row(pending, at_end, max_bytes, max_columns) {
            Scanned::More => return Ok(None),
            Scanned::TooLarge => return Err(fault::header_too_large(max_bytes)),
            Scanned::Row { line, first_line } => {
                self.part = Part::Offered { first_line, next: line.next };
                line
            }
            Scanned::Broken { first_line, fault } => {
                self.part = Part::Offered { first_line, next: first_line.next };
                return Err(match fault {
                    Fault::Endless => fault::header_too_large(max_bytes),
                    fault => fault::broken_quoting(fault, max_bytes),
                });
            }
        };
        if scan.columns() > max_columns {
            let message = format!("the header has more than {max_columns} columns");
            return Err((ErrorKind::HeaderTooLarge, message));
        }
        let (text, _) = check_text(&pending[..line.end])
            .map_err(|fault| fault.problem("the header", encoding))?;
        let fields = csv::fields(&pending[..line.end], scan.ends())
            .map(|field| text_of(text, field, escape).unwrap_or_default());
        let header = Header::csv(fields, delimiter, escape).map_err(|name| {
            let name = quoted(&name);
            (ErrorKind::DuplicateColumn, format!("the header has the column {name} twice"))
        })?;
        Ok(Some(header.at(self.offset)))
    }

    /// Returns the bytes from the start of the buffer to the first row.
    pub(super) fn length(&self) -> usize {
        if let Part::Offered { next, .. } = self.part { next } else { 0 }
    }
}

/// Drops the buffered part of a line; `None` if its end needs more input.
fn pass_line(buffer: &mut Buffer, at_end: bool) -> Option<()> {
    let (count, ends) = match Line::first(buffer.pending(), 0) {
        Ok(line) => (line.next, true),
        Err(_) if at_end => (buffer.pending().len(), true),
        Err(count) => (count, false),
    };
    buffer.consume(count);
    ends.then_some(())
}
