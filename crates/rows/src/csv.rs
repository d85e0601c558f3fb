//! Finds one CSV row at a time, and can stop and go on at any byte.
//!
//! # Why this is linear on any input
//!
//! A row with a fault costs only its first line, so the lines after it are read again, and that
//! must not add up. It does not, because quoting that has not broken is a matter of parity: at the
//! end of a line the scan is inside quotes if and only if it has passed an odd number of quotes
//! since the row began. Call a line odd or even by its own number of quotes. A scan from the start
//! of an even line ends with that line. A scan from the start of an odd line ends, at the latest,
//! with the next odd line, since there the sum is even again. So a byte is passed by the scan that
//! starts with its own line and by the one that starts with the last odd line before it, and by no
//! other: at most twice. The search for the end of a line in which quoting broke goes on where the
//! scan stopped, inside the first line only.

use memchr::memchr;

/// Where cells end is kept in 30 bits; the two others say how the cell is quoted.
pub(super) const MAX_ROW_BYTES: usize = 1 << 29;
const QUOTED: u32 = 1 << 31;
const DOUBLED: u32 = 1 << 30;

/// One cell of a row: where its content is, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldSpan {
    /// The first byte of the content, from the row's first.
    pub start: usize,
    /// The byte after the content, from the row's first.
    pub end: usize,
    /// Whether the content holds doubled quotes.
    pub doubled: bool,
}

/// The cells of a row, from where each ends.
pub(super) fn fields(ends: &[u32]) -> impl Iterator<Item = FieldSpan> {
    let mut start = 0;
    ends.iter().map(move |&packed| {
        let end = (packed & !(QUOTED | DOUBLED)) as usize;
        let quotes = usize::from(packed & QUOTED != 0);
        let field =
            FieldSpan { start: start + quotes, end: end - quotes, doubled: packed & DOUBLED != 0 };
        start = end + 1;
        field
    })
}

/// One cell of a row, if it has so many.
pub(super) fn field(ends: &[u32], index: usize) -> Option<FieldSpan> {
    let own = fields(ends.get(index..=index)?).next()?;
    let Some(before) = index.checked_sub(1) else { return Some(own) };
    // The cell before says where this one starts.
    let start = (ends[before] & !(QUOTED | DOUBLED)) as usize + 1;
    Some(FieldSpan { start: own.start + start, ..own })
}

/// A physical line, or a row with its lines: its content, and where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The length without the terminator.
    pub end: usize,
    /// The length with the terminator.
    pub next: usize,
}

impl Line {
    /// The last line, which the end of the input terminates. A CR at its end is half a CRLF.
    pub(super) fn last(bytes: &[u8]) -> Self {
        Self { end: bytes.strip_suffix(b"\r").unwrap_or(bytes).len(), next: bytes.len() }
    }
}

/// Why the quoting of a row is broken. Numbers are bytes from the row's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A quote inside a cell that did not begin with one.
    StrayQuote(usize),
    /// Something other than a comma or the end of the line after a closing quote.
    AfterQuote(usize),
    /// The input ends before the cell's quote, which is at this byte, is closed.
    Unclosed(usize),
    /// The row goes on over more lines and does not end within the limit.
    Endless,
}

/// What a scan came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// There is no whole row yet.
    More,
    /// A row whose quoting is right.
    Row { line: Line, first_line: Line },
    /// A row whose quoting is not.
    Broken { first_line: Line, fault: Fault },
    /// The first line alone is over the limit.
    TooLarge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// In a cell without quotes, or at its beginning.
    Bare,
    /// In a quoted cell.
    Quoted,
    /// After a quote in a quoted cell, at this byte: it closes the cell or is doubled.
    Closing(usize),
    /// Quoting broke in the first line, whose end is looked for.
    Broken(Fault),
}

/// A scan for one row. All numbers are bytes from the row's first.
#[derive(Debug)]
pub(super) struct Scan {
    at: usize,
    mode: Mode,
    field_start: usize,
    flags: u32,
    first_line: Option<Line>,
    ends: Vec<u32>,
    columns: usize,
    opened: usize,
    /// The row was found: the next call looks for the next one.
    done: bool,
    /// All bytes that scans have passed.
    #[cfg(test)]
    pub passed: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            at: 0,
            mode: Mode::Bare,
            field_start: 0,
            flags: 0,
            first_line: None,
            ends: Vec::new(),
            columns: 0,
            opened: 0,
            done: false,
            #[cfg(test)]
            passed: 0,
        }
    }
}

impl Scan {
    /// Forgets what has been seen of a row.
    pub(super) fn restart(&mut self) {
        self.at = 0;
        self.mode = Mode::Bare;
        self.field_start = 0;
        self.flags = 0;
        self.first_line = None;
        self.ends.clear();
        self.columns = 0;
        self.done = false;
    }

    /// Where the cells of the row end, for [`cells`]; no more of them than were asked for and one.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// How many cells the row has.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Looks for the end of the row that begins with `bytes`, going on where the last call stopped.
    ///
    /// `bytes` must begin with all that the last call saw, if that came to [`Scanned::More`], and
    /// with the next row otherwise; then the [`ends`](Self::ends) are valid until it. `at_end` says that nothing follows.
    /// `max_bytes` is what a row may have, without its terminator. The ends of no more than
    /// `max_columns` cells and one are kept.
    pub(super) fn row(
        &mut self,
        bytes: &[u8],
        at_end: bool,
        max_bytes: usize,
        max_columns: usize,
    ) -> Scanned {
        if self.done {
            self.restart();
        }
        // A row of the most bytes and its CRLF: what lies beyond cannot matter, so it is never
        // looked at, and pieces of any size lead to the same answer.
        let window = &bytes[..bytes.len().min(max_bytes + 2)];
        let overflows = bytes.len() >= max_bytes + 2;

        #[cfg(test)]
        let from = self.at;
        let found = self.advance(window, max_columns);
        #[cfg(test)]
        (self.passed += (self.at - from) as u64);

        let scanned = match found {
            Some(Scanned::Row { line, .. }) if line.end > max_bytes => self.overflow(max_bytes),
            Some(Scanned::Broken { first_line, .. }) if first_line.end > max_bytes => {
                Scanned::TooLarge
            }
            Some(found) => found,
            None if overflows => self.overflow(max_bytes),
            None if at_end => self.last_row(window, max_bytes, max_columns),
            None => Scanned::More,
        };
        self.done = scanned != Scanned::More;
        scanned
    }

    /// The row is over the limit; its first line need not be.
    fn overflow(&self, max_bytes: usize) -> Scanned {
        match self.first_line {
            Some(first_line) if first_line.end <= max_bytes => {
                Scanned::Broken { first_line, fault: Fault::Endless }
            }
            _ => Scanned::TooLarge,
        }
    }

    /// Passes the bytes up to the end of the row, of the first line if quoting broke in it, or of
    /// `bytes`.
    fn advance(&mut self, bytes: &[u8], max_columns: usize) -> Option<Scanned> {
        if matches!(self.mode, Mode::Broken(_)) {
            return self.end_of_broken_line(bytes, self.at);
        }
        let mut at = self.at;
        while at < bytes.len() {
            let mut marks = structural(word_at(bytes, at));
            while marks != 0 {
                let here = at + (marks.trailing_zeros() / 8) as usize;
                marks &= marks - 1;
                let found = match (self.mode, bytes[here]) {
                    (Mode::Bare, b',') => {
                        self.end_field(here, max_columns);
                        self.field_start = here + 1;
                        None
                    }
                    (Mode::Bare, b'\n') => return Some(self.end_row(bytes, here, max_columns)),
                    (Mode::Bare, _) if here == self.field_start => {
                        self.mode = Mode::Quoted;
                        self.flags = QUOTED;
                        self.opened = here;
                        None
                    }
                    (Mode::Bare, _) => self.break_at(bytes, here, Fault::StrayQuote(here)),
                    (Mode::Quoted, b'"') => {
                        self.mode = Mode::Closing(here);
                        None
                    }
                    (Mode::Quoted, b'\n') => {
                        self.first_line.get_or_insert_with(|| line_to(bytes, here));
                        None
                    }
                    (Mode::Quoted, _) => None,
                    (Mode::Closing(quote), b'"') if here == quote + 1 => {
                        self.mode = Mode::Quoted;
                        self.flags |= DOUBLED;
                        None
                    }
                    (Mode::Closing(quote), b',') if here == quote + 1 => {
                        self.mode = Mode::Bare;
                        self.end_field(here, max_columns);
                        self.field_start = here + 1;
                        None
                    }
                    (Mode::Closing(quote), b'\n') if line_to(bytes, here).end == quote + 1 => {
                        return Some(self.end_row(bytes, here, max_columns));
                    }
                    (Mode::Closing(quote), _) => {
                        self.break_at(bytes, here, Fault::AfterQuote(quote + 1))
                    }
                    (Mode::Broken(_), _) => return None,
                };
                if found.is_some() {
                    return found;
                }
                if matches!(self.mode, Mode::Broken(_)) {
                    return None;
                }
            }
            at += 8;
        }
        self.at = bytes.len();
        None
    }

    /// Quoting broke: the first line is known already, or its end is looked for from `here`.
    fn break_at(&mut self, bytes: &[u8], here: usize, fault: Fault) -> Option<Scanned> {
        self.at = here;
        if let Some(first_line) = self.first_line {
            return Some(Scanned::Broken { first_line, fault });
        }
        self.mode = Mode::Broken(fault);
        self.end_of_broken_line(bytes, here)
    }

    fn end_of_broken_line(&mut self, bytes: &[u8], from: usize) -> Option<Scanned> {
        let Mode::Broken(fault) = self.mode else { return None };
        let Some(length) = memchr(b'\n', &bytes[from..]) else {
            self.at = bytes.len();
            return None;
        };
        self.at = from + length + 1;
        Some(Scanned::Broken { first_line: line_to(bytes, from + length), fault })
    }

    fn end_field(&mut self, end: usize, max_columns: usize) {
        self.columns += 1;
        if self.ends.len() <= max_columns {
            // Fits: rows are below MAX_ROW_BYTES.
            self.ends.push(end as u32 | self.flags);
        }
        self.flags = 0;
    }

    fn end_row(&mut self, bytes: &[u8], newline: usize, max_columns: usize) -> Scanned {
        self.at = newline + 1;
        let line = line_to(bytes, newline);
        self.end_field(line.end, max_columns);
        Scanned::Row { line, first_line: self.first_line.unwrap_or(line) }
    }

    /// The input ends without a terminator.
    fn last_row(&mut self, bytes: &[u8], max_bytes: usize, max_columns: usize) -> Scanned {
        let line = Line::last(bytes);
        let end = line.end;
        let first_line = self.first_line.unwrap_or(line);
        if first_line.end > max_bytes {
            return Scanned::TooLarge;
        }
        let fault = match self.mode {
            Mode::Broken(fault) => fault,
            Mode::Quoted => Fault::Unclosed(self.opened),
            Mode::Closing(quote) if end != quote + 1 => Fault::AfterQuote(quote + 1),
            _ if end > max_bytes => Fault::Endless,
            Mode::Bare | Mode::Closing(_) => {
                self.end_field(end, max_columns);
                return Scanned::Row { line, first_line };
            }
        };
        Scanned::Broken { first_line, fault }
    }
}

/// The line that ends with the LF at `newline`.
pub(super) fn line_to(bytes: &[u8], newline: usize) -> Line {
    let content = &bytes[..newline];
    Line { end: content.strip_suffix(b"\r").unwrap_or(content).len(), next: newline + 1 }
}

/// Eight bytes as a little-endian word; NULs, which mean nothing here, stand for those after the
/// end.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = &bytes[at..];
    match rest.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// The bytes of `word` that are a comma, a quote or an LF, each marked by its highest bit.
///
/// Eight bytes at once instead of a search for each: cells are short, often shorter than what a
/// search costs to begin. A byte is zero if and only if neither it nor its lower seven bits plus
/// 0x7f have the highest bit set, and no sum here carries into the next byte, so this is exact.
fn structural(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f * ONES;
    let differs_from = |byte: u8| {
        let difference = word ^ (u64::from(byte) * ONES);
        ((difference & LOW) + LOW) | difference
    };
    !(differs_from(b',') & differs_from(b'"') & differs_from(b'\n')) & !LOW
}
