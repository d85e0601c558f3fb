//! Reader: source of text, header, rows.

use super::buffer::Buffer;
use super::csv::MAX_ROW_BYTES;
use super::fault::{Problem, check_row, check_text};
use super::header_scan::HeaderScan;
use super::row_scan::{Found, RowScan};
use super::source::Source;
use super::{
    BrokenRow, Dialect, Encoding, ErrorKind, Format, Header, JsonLayout, Limits, Next, Position,
    Refusal, Row,
};

/// Reads the rows of one object from its bytes.
///
/// Memory stays below a few times [`Limits::max_row_bytes`] plus one pushed piece, which is up to
/// three times larger in UTF-8 than in another encoding, as long as the
/// caller pushes only when [`next`](Self::next) returns [`Next::NeedInput`]. Only broken rows
/// allocate.
pub struct ObjectReader {
    limits: Limits,
    source: Source,
    buffer: Buffer,
    header_scan: HeaderScan,
    header: Option<Header>,
    /// Position of the first row.
    first: Position,
    rows: RowScan,
    refusal: Option<Refusal>,
    /// Text of a JSON row that differs from its bytes.
    scratch: String,
}

/// [`Next`] without borrows.
enum Step {
    Header,
    Found(Found),
    NeedInput,
}

impl ObjectReader {
    /// Creates a reader at the start of an object.
    #[must_use]
    pub fn new(mut limits: Limits) -> Self {
        limits.max_row_bytes = limits.max_row_bytes.min(MAX_ROW_BYTES);
        limits.max_header_bytes = limits.max_header_bytes.min(MAX_ROW_BYTES);
        Self {
            source: Source::new(limits.max_gzip_ratio),
            limits,
            buffer: Buffer::default(),
            header_scan: HeaderScan::new(),
            header: None,
            first: Position { offset: 0, row: 1 },
            rows: RowScan::new(),
            refusal: None,
            scratch: String::new(),
        }
    }

    /// Sets the format, if known; otherwise the first byte that is not blank selects it.
    #[must_use]
    pub fn of_format(mut self, format: Option<Format>) -> Self {
        self.header_scan.format = format;
        self
    }

    /// Sets format and layout as the object's name implies.
    #[must_use]
    pub fn of_name(mut self, name: &str) -> Self {
        self.header_scan.json_layout = JsonLayout::of_name(name);
        self.of_format(Format::of_name(name))
    }

    /// Sets the dialect that the object's dataset declares.
    #[must_use]
    pub fn of_dialect(mut self, dialect: Dialect) -> Self {
        self.header_scan.set_dialect(dialect);
        self.source.text.declared = dialect.encoding;
        self
    }

    /// Appends the next bytes of the object as stored, compressed or not.
    ///
    /// Must not be called after [`finish`](Self::finish), except after a [`seek`](Self::seek) that
    /// asks for input.
    pub fn push(&mut self, bytes: &[u8]) {
        self.source.push(bytes, &mut self.buffer);
    }

    /// Marks the end of the object: no bytes follow those pushed.
    pub fn finish(&mut self) {
        self.source.finish(&mut self.buffer);
    }

    /// Returns the next row, or [`Next::NeedInput`] if the row needs more input.
    ///
    /// # Errors
    ///
    /// The rest of the object cannot be read. Every later call returns the same error, unless the
    /// header was rejected and the caller [skips](Self::skip_header) it.
    #[expect(clippy::should_implement_trait, reason = "the rows borrow from the reader")]
    pub fn next(&mut self) -> Result<Next<'_>, Refusal> {
        let step = self.advance()?;
        // `advance` returns no row before the header.
        let Some(header) = &self.header else { return Ok(Next::NeedInput) };
        let found = match step {
            Step::Header => return Ok(Next::Header(header)),
            Step::NeedInput => return Ok(Next::NeedInput),
            Step::Found(found) => found,
        };
        let (position, range, problem) = match found {
            Found::Row(position, range, problem) => (position, range, problem),
            Found::TooLarge(position) => return Ok(self.too_large(position)),
            Found::End => return Ok(Next::End),
        };
        let encoding = self.encoding();
        let (bytes, ends) = (self.buffer.consumed(range), self.rows.ends());
        let checked = match problem {
            None => check_row(header, bytes, ends, encoding, &mut self.scratch),
            // Invalid text is more specific than broken quotes or a wrong number of fields.
            Some(problem) => {
                let not_text = check_text(bytes).err();
                Err((not_text.map_or(problem, |fault| fault.problem("the row", encoding)), None))
            }
        };
        Ok(match checked {
            Ok((text, plain)) => Next::Row(Row { position, bytes, text, header, ends, plain }),
            Err(((kind, message), field)) => {
                let (field, complete) = (field.map(str::to_owned), true);
                Next::Broken(BrokenRow { position, bytes, kind, message, field, complete })
            }
        })
    }

    /// Returns the encoding of the text; UTF-8 while it is unknown.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.source.text.other_encoding().unwrap_or(Encoding::UTF_8)
    }

    fn too_large(&self, position: Position) -> Next<'_> {
        Next::Broken(BrokenRow {
            position,
            bytes: &[],
            kind: ErrorKind::RowTooLarge,
            message: format!("the row has more than {} bytes", self.limits.max_row_bytes),
            field: None,
            complete: false,
        })
    }

    /// Returns the header, once it is known.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Skips the first line of the header, or of what was rejected as a header, because the caller
    /// knows that it precedes the header. The next call of [`next`](Self::next) returns the next
    /// line that is not blank as the header.
    ///
    /// Returns `false`, and changes nothing, if no line can be skipped: a row has been read, the
    /// format is JSON Lines, 64 lines have been skipped, the object was rejected for another reason
    /// than its header, or the line alone is larger than [`Limits::max_header_bytes`].
    pub fn skip_header(&mut self) -> bool {
        let skipped = self.header_scan.skip(&mut self.buffer);
        if skipped {
            self.header = None;
            self.refusal = None;
            self.rows.rewind(self.buffer.offset());
        }
        skipped
    }

    /// Returns the number of lines before the header: those that begin with `#`, which the reader
    /// skips itself, and those that the caller [skipped](Self::skip_header).
    #[must_use]
    pub fn preamble_lines(&self) -> usize {
        self.header_scan.preamble_lines()
    }

    /// Returns the position of the next row, or of the blank lines before it. A continuation
    /// message carries it.
    #[must_use]
    pub fn position(&self) -> Position {
        self.rows.next
    }

    /// Returns `true` if the object can only be read from its beginning, because it is compressed
    /// or its encoding is not UTF-8; valid once the header is known.
    #[must_use]
    pub fn is_sequential(&self) -> bool {
        !self.source.is_seekable()
    }

    /// Moves to a position that [`position`](Self::position) returned for the same object.
    ///
    /// Call it when the header is known. `Some(offset)` means that the buffer is now empty and the
    /// caller must push the object's bytes from `offset` on, even if the input was finished. `None`
    /// means that the caller continues as before and the reader skips the rows before the position:
    /// a [sequential](Self::is_sequential) object cannot be entered in the middle. It cannot move
    /// back either: an earlier position changes nothing.
    pub fn seek(&mut self, position: Position) -> Option<u64> {
        if self.header.is_some() {
            self.header_scan.accept(&mut self.buffer);
        }
        if self.header.is_none() || !self.source.is_seekable() {
            if position.offset > self.rows.next.offset {
                self.rows.discard_to(position);
            }
            return None;
        }
        // A position inside the header means the first row.
        let next = if position.offset <= self.first.offset { self.first } else { position };
        self.rows.restart(next);
        self.buffer.restart(next.offset);
        self.source.restart();
        Some(next.offset)
    }

    fn advance(&mut self) -> Result<Step, Refusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        self.advance_or_refuse().map_err(|(kind, message)| {
            if self.header.is_none() && !self.rows.is_discarding() {
                self.rows.next.offset = self.header_scan.offset();
            }
            let refusal = Refusal { kind, message, position: self.rows.next };
            self.refusal = Some(refusal.clone());
            refusal
        })
    }

    fn advance_or_refuse(&mut self) -> Result<Step, Problem> {
        loop {
            let encoding = self.encoding();
            let (buffer, at_end) = (&mut self.buffer, self.source.at_end());
            if let Some(header) = &self.header {
                self.header_scan.accept(buffer);
                let max_bytes = self.limits.max_row_bytes;
                if let Some(found) = self.rows.read(header, max_bytes, buffer, at_end) {
                    return Ok(Step::Found(found));
                }
            } else if let Some(header) =
                self.header_scan.read(buffer, at_end, &self.limits, encoding)?
            {
                let length = self.header_scan.length() as u64;
                self.first = Position { offset: self.buffer.offset() + length, row: 1 };
                self.rows.begin(self.first, &header);
                self.header = Some(header);
                return Ok(Step::Header);
            }
            if !self.source.fill(&mut self.buffer)? {
                return Ok(Step::NeedInput);
            }
        }
    }

    /// Returns the bytes passed by CSV scans and the capacity of the buffer.
    #[cfg(test)]
    pub(super) fn cost(&self) -> (u64, usize) {
        (self.rows.passed(), self.buffer.capacity())
    }
}
