//! Reader: fills the buffer from the input and splits it into rows.

use std::ops::Range;

use memchr::memchr;

use super::buffer::Buffer;
use super::csv::{self, Fault, Line, MAX_ROW_BYTES, Scan, Scanned};
use super::fault::{self, Problem, check_row, check_text};
use super::gzip::{self, Inflater};
use super::json_lines::LineScan;
use super::row::text_of;
use super::{
    BrokenRow, ErrorKind, Format, Header, Limits, Next, Position, Refusal, Row, is_blank, quoted,
};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the rows of one object from its bytes.
///
/// Memory stays below a few times [`Limits::max_row_bytes`] plus one pushed piece, as long as the
/// caller pushes only when [`next`](Self::next) returns [`Next::NeedInput`]. Only broken rows
/// allocate.
pub struct ObjectReader {
    limits: Limits,
    source: Source,
    finished: bool,
    /// The buffer holds all remaining input.
    at_end: bool,
    buffer: Buffer,
    phase: Phase,
    /// Format that the caller knows in advance.
    format: Option<Format>,
    header: Option<Header>,
    /// Offset of the header, or of the first row of JSON Lines.
    header_offset: u64,
    /// Position of the first row.
    first: Position,
    /// Position of the next row.
    next: Position,
    scan: Scan,
    lines: LineScan,
    /// Inside a line that is too large: `true` while the line is blank so far.
    skipping: Option<bool>,
    /// Offset before which rows are skipped.
    discard_to: Option<u64>,
    refusal: Option<Refusal>,
}

/// Compression of the input.
enum Source {
    /// Unknown: fewer than two bytes seen.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Inflater>),
}

/// Part of the object that the next byte belongs to.
#[derive(Clone, Copy)]
enum Phase {
    ByteOrderMark,
    /// Blank lines before the header. The first `seen` bytes of the line are known to be blank;
    /// with `cut`, earlier blank bytes of the line have been dropped.
    Blank {
        seen: usize,
        cut: bool,
    },
    CsvHeader,
    Rows,
}

/// [`Next`] without borrows.
enum Step {
    Header,
    /// A row, and its problem if it is known to be broken.
    Row(Position, Range<usize>, Option<Problem>),
    TooLarge(Position),
    NeedInput,
    End,
}

impl ObjectReader {
    /// Creates a reader at the start of an object.
    #[must_use]
    pub fn new(mut limits: Limits) -> Self {
        limits.max_row_bytes = limits.max_row_bytes.min(MAX_ROW_BYTES);
        limits.max_header_bytes = limits.max_header_bytes.min(MAX_ROW_BYTES);
        let start = Position { offset: 0, row: 1 };
        Self {
            limits,
            source: Source::Unknown(Vec::new()),
            finished: false,
            at_end: false,
            buffer: Buffer::default(),
            phase: Phase::ByteOrderMark,
            format: None,
            header: None,
            header_offset: 0,
            first: start,
            next: start,
            scan: Scan::default(),
            lines: LineScan::default(),
            skipping: None,
            discard_to: None,
            refusal: None,
        }
    }

    /// Sets the format, if known; otherwise the first byte that is not blank selects it.
    #[must_use]
    pub fn of_format(self, format: Option<Format>) -> Self {
        Self { format, ..self }
    }

    /// Appends the next bytes of the object as stored, compressed or not.
    ///
    /// Must not be called after [`finish`](Self::finish), except after a [`seek`](Self::seek) that
    /// asks for input.
    pub fn push(&mut self, bytes: &[u8]) {
        debug_assert!(!self.finished, "the input was finished");
        match &mut self.source {
            Source::Plain => self.buffer.extend(bytes),
            Source::Gzip(inflater) => inflater.push(bytes),
            Source::Unknown(seen) => {
                seen.extend_from_slice(bytes);
                if seen.len() >= gzip::MAGIC.len() {
                    self.sniff_compression();
                }
            }
        }
    }

    /// Marks the end of the object: no bytes follow those pushed.
    pub fn finish(&mut self) {
        if matches!(self.source, Source::Unknown(_)) {
            self.sniff_compression();
        }
        if let Source::Gzip(inflater) = &mut self.source {
            inflater.finish();
        }
        self.finished = true;
    }

    /// Returns the next row, or [`Next::NeedInput`] if the row needs more input.
    ///
    /// # Errors
    ///
    /// The rest of the object cannot be read. Every later call returns the same error.
    #[expect(clippy::should_implement_trait, reason = "the rows borrow from the reader")]
    pub fn next(&mut self) -> Result<Next<'_>, Refusal> {
        let step = self.advance()?;
        // `advance` returns no row before the header.
        let Some(header) = &self.header else { return Ok(Next::NeedInput) };
        Ok(match step {
            Step::Header => Next::Header(header),
            Step::NeedInput => Next::NeedInput,
            Step::End => Next::End,
            Step::Row(position, range, problem) => {
                let (bytes, ends) = (self.buffer.consumed(range), self.scan.ends());
                let checked = match problem {
                    None => check_row(header, bytes, ends),
                    // Invalid text is more specific than broken quotes or a wrong number of fields.
                    Some(problem) => {
                        let not_text = check_text(bytes).err();
                        Err((not_text.map_or(problem, |fault| fault.problem("the row")), None))
                    }
                };
                match checked {
                    Ok((text, plain)) => {
                        Next::Row(Row { position, bytes, text, header, ends, plain })
                    }
                    Err(((kind, message), field)) => {
                        let field = field.map(str::to_owned);
                        let complete = true;
                        Next::Broken(BrokenRow { position, bytes, kind, message, field, complete })
                    }
                }
            }
            Step::TooLarge(position) => Next::Broken(BrokenRow {
                position,
                bytes: &[],
                kind: ErrorKind::RowTooLarge,
                message: format!("the row has more than {} bytes", self.limits.max_row_bytes),
                field: None,
                complete: false,
            }),
        })
    }

    /// Returns the header, once it is known.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Returns the position of the next row, or of the blank lines before it. A continuation
    /// message carries it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.next
    }

    /// Returns `true` if the object is compressed; valid once two bytes have been pushed.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        matches!(self.source, Source::Gzip(_))
    }

    /// Moves to a position that [`position`](Self::position) returned for the same object.
    ///
    /// Call it when the header is known. `Some(offset)` means that the buffer is now empty and the
    /// caller must push the object's bytes from `offset` on, even if the input was finished. `None`
    /// means that the caller continues as before and the reader skips the rows before the position:
    /// gzip cannot be entered in the middle. A gzip stream cannot move back either: an earlier
    /// position changes nothing.
    pub fn seek(&mut self, position: Position) -> Option<u64> {
        let plain = matches!(self.source, Source::Plain) && self.header.is_some();
        if !plain {
            if position.offset > self.next.offset {
                self.scan.restart();
                self.lines.restart();
                self.skipping = None;
                self.discard_to = Some(position.offset);
                self.next = position;
            }
            return None;
        }
        // A position inside the header means the first row.
        self.next = if position.offset <= self.first.offset { self.first } else { position };
        self.buffer.restart(self.next.offset);
        self.scan.restart();
        self.lines.restart();
        self.skipping = None;
        self.discard_to = None;
        self.finished = false;
        self.at_end = false;
        Some(self.next.offset)
    }

    fn sniff_compression(&mut self) {
        let Source::Unknown(seen) = &mut self.source else { return };
        let seen = std::mem::take(seen);
        self.source = if seen.starts_with(&gzip::MAGIC) {
            let mut inflater = Inflater::new(self.limits.max_gzip_ratio);
            inflater.push(&seen);
            Source::Gzip(Box::new(inflater))
        } else {
            self.buffer.extend(&seen);
            Source::Plain
        };
    }

    fn advance(&mut self) -> Result<Step, Refusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.advance_or_refuse().map_err(|(kind, message)| {
            let refusal = Refusal { kind, message, position: self.next };
            self.refusal = Some(refusal.clone());
            refusal
        })
    }

    fn advance_or_refuse(&mut self) -> Result<Step, Problem> {
        loop {
            let step = match self.phase {
                Phase::Rows => self.read_row(),
                _ => self.read_header()?,
            };
            if let Some(step) = step {
                return Ok(step);
            }
            if !self.fill()? {
                return Ok(Step::NeedInput);
            }
        }
    }

    /// Moves more input into the buffer, or marks its end. Returns `false` if it can do neither.
    fn fill(&mut self) -> Result<bool, Problem> {
        let buffer = &mut self.buffer;
        match &mut self.source {
            Source::Unknown(_) => Ok(false),
            Source::Plain => {
                self.at_end = self.finished;
                Ok(self.finished)
            }
            Source::Gzip(inflater) => match inflater.step(|bytes| buffer.extend(bytes)) {
                Ok(gzip::Step::Output) => Ok(true),
                Ok(gzip::Step::NeedInput) => Ok(false),
                Ok(gzip::Step::End) => {
                    self.at_end = true;
                    Ok(true)
                }
                Err((kind, message)) => Err((kind, message.to_owned())),
            },
        }
    }

    /// Reads up to the end of the header; `None` if that needs more input.
    fn read_header(&mut self) -> Result<Option<Step>, Problem> {
        if let Phase::ByteOrderMark = self.phase {
            let pending = self.buffer.pending();
            if pending.starts_with(BYTE_ORDER_MARK) {
                self.buffer.consume(BYTE_ORDER_MARK.len());
            } else if BYTE_ORDER_MARK.starts_with(pending) && !self.at_end {
                return Ok(None);
            }
            self.phase = Phase::Blank { seen: 0, cut: false };
        }
        if let Phase::Blank { seen, cut } = self.phase {
            match self.pass_blank_lines(seen, cut)? {
                None => return Ok(None),
                Some(Format::Csv) => self.phase = Phase::CsvHeader,
                Some(Format::JsonLines) => return Ok(Some(self.begin(Header::default()))),
            }
        }
        let max_bytes = self.limits.max_header_bytes;
        let max_columns = self.limits.max_columns;
        let pending = self.buffer.pending();
        let line = match self.scan.row(pending, self.at_end, max_bytes, max_columns) {
            Scanned::More => return Ok(None),
            Scanned::Row { line, .. } => line,
            Scanned::TooLarge | Scanned::Broken { fault: Fault::Endless, .. } => {
                return Err(fault::header_too_large(max_bytes));
            }
            Scanned::Broken { fault, .. } => return Err(fault::broken_quoting(fault, max_bytes)),
        };
        if self.scan.columns() > max_columns {
            let message = format!("the header has more than {max_columns} columns");
            return Err((ErrorKind::HeaderTooLarge, message));
        }
        let (text, _) =
            check_text(&pending[..line.end]).map_err(|fault| fault.problem("the header"))?;
        let fields =
            csv::fields(self.scan.ends()).map(|field| text_of(text, field).unwrap_or_default());
        let header = Header::csv(fields).map_err(|name| {
            let name = quoted(&name);
            (ErrorKind::DuplicateColumn, format!("the header has the column {name} twice"))
        })?;
        self.buffer.consume(line.next);
        Ok(Some(self.begin(header)))
    }

    fn begin(&mut self, mut header: Header) -> Step {
        header.offset = self.header_offset;
        self.header = Some(header);
        self.phase = Phase::Rows;
        let here = Position { offset: self.buffer.offset(), row: 1 };
        self.first = here;
        // The caller may have called `seek` before the header was known.
        if self.discard_to.is_none_or(|offset| offset <= here.offset) {
            self.next = here;
            self.discard_to = None;
        }
        Step::Header
    }

    /// Drops blank lines up to the first byte that is not blank, and returns the format it selects.
    fn pass_blank_lines(
        &mut self,
        mut seen: usize,
        mut cut: bool,
    ) -> Result<Option<Format>, Problem> {
        loop {
            let pending = self.buffer.pending();
            match pending[seen..].iter().position(|&byte| !is_blank(byte)) {
                Some(blank) if pending[seen + blank] == b'\n' => {
                    self.buffer.consume(seen + blank + 1);
                    (seen, cut) = (0, false);
                }
                Some(_) if cut => {
                    return Err(fault::header_too_large(self.limits.max_header_bytes));
                }
                Some(blank) => {
                    self.header_offset = self.buffer.offset();
                    if self.discard_to.is_none() {
                        self.next.offset = self.header_offset;
                    }
                    let detected = match pending[seen + blank] {
                        b'{' => Format::JsonLines,
                        _ => Format::Csv,
                    };
                    return Ok(Some(self.format.unwrap_or(detected)));
                }
                None if self.at_end => {
                    let message = "there is no header and no row".to_owned();
                    return Err((ErrorKind::EmptyObject, message));
                }
                None => {
                    seen = pending.len();
                    if seen > self.limits.max_header_bytes {
                        self.buffer.consume(seen);
                        (seen, cut) = (0, true);
                    }
                    self.phase = Phase::Blank { seen, cut };
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the next row; `None` if that needs more input.
    fn read_row(&mut self) -> Option<Step> {
        if let Some(offset) = self.discard_to {
            let ahead = offset.saturating_sub(self.buffer.offset());
            let pending = self.buffer.pending().len();
            let count = usize::try_from(ahead).map_or(pending, |ahead| ahead.min(pending));
            self.buffer.consume(count);
            if self.buffer.offset() < offset && !self.at_end {
                return None;
            }
            self.discard_to = None;
        }
        let header = self.header.as_ref()?;
        let (expected, max_bytes) = (header.columns().len(), self.limits.max_row_bytes);
        let format = header.format();
        loop {
            if let Some(blank) = self.skipping {
                let blank = self.skip_line(blank)?;
                let position = self.next;
                self.next.offset = self.buffer.offset();
                if !blank {
                    self.next.row += 1;
                    return Some(Step::TooLarge(position));
                }
            }
            let pending = self.buffer.pending();
            if pending.is_empty() && self.at_end {
                return Some(Step::End);
            }
            let scanned = match format {
                Format::Csv => self.scan.row(pending, self.at_end, max_bytes, expected),
                Format::JsonLines => self.lines.line(pending, self.at_end, max_bytes),
            };
            match scanned {
                Scanned::More => return None,
                Scanned::TooLarge => self.skipping = Some(true),
                Scanned::Row { line, .. } if pending[..line.end].iter().all(|&b| is_blank(b)) => {
                    self.buffer.consume(line.next);
                    self.next.offset = self.buffer.offset();
                }
                Scanned::Row { line, first_line } => {
                    let found = self.scan.columns();
                    if format == Format::JsonLines || found == expected {
                        return Some(self.pass(line, None));
                    }
                    let one_line = line == first_line;
                    let problem = fault::wrong_column_count(found, expected, one_line);
                    return Some(self.pass(first_line, Some(problem)));
                }
                Scanned::Broken { first_line, fault } => {
                    let problem = fault::broken_quoting(fault, max_bytes);
                    return Some(self.pass(first_line, Some(problem)));
                }
            }
        }
    }

    /// Consumes a row.
    fn pass(&mut self, line: Line, problem: Option<Problem>) -> Step {
        let position = self.next;
        let range = self.buffer.consume(line.next);
        self.next = Position { offset: self.buffer.offset(), row: position.row + 1 };
        Step::Row(position, range.start..range.start + line.end, problem)
    }

    /// Drops the buffered part of a line that is too large. At the end of the line, returns whether
    /// all of it is blank.
    fn skip_line(&mut self, blank: bool) -> Option<bool> {
        let pending = self.buffer.pending();
        let (count, ends) = match memchr(b'\n', pending) {
            Some(newline) => (newline + 1, true),
            None => (pending.len(), self.at_end),
        };
        let blank = blank && pending[..count].iter().all(|&b| is_blank(b) || b == b'\n');
        self.buffer.consume(count);
        self.skipping = if ends { None } else { Some(blank) };
        ends.then_some(blank)
    }

    /// Returns the bytes passed by CSV scans and the capacity of the buffer.
    #[cfg(test)]
    pub(super) fn cost(&self) -> (u64, usize) {
        (self.scan.passed, self.buffer.capacity())
    }
}
