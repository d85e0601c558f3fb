//! Finds one CSV row at a time; a scan can stop and resume at any byte.
//!
//! # Linear time on any input
//!
//! A faulty row loses only its first line, so the lines after it are scanned again. Every byte is
//! still scanned at most twice, because unbroken quoting is a matter of parity: at the end of a
//! line the scan is inside quotes if and only if it has passed an odd number of quotes since the
//! row began. Call a line odd or even by its own number of quotes. A scan from the start of an even
//! line ends with that line. A scan from the start of an odd line ends at the next odd line at the
//! latest, where the sum is even again. So a byte is passed only by the scan that starts with its
//! own line and by the one that starts with the last odd line before it. The search for the end of
//! a line with broken quoting continues where the scan stopped, inside the first line only.

use super::line::Line;

/// Maximum bytes of a row. The end of a field is stored in 29 bits; the highest bits are flags.
pub(super) const MAX_ROW_BYTES: usize = 1 << 28;
const QUOTED: u32 = 1 << 31;
const ESCAPED: u32 = 1 << 30;
/// Spaces precede the opening quote.
const SPACED: u32 = 1 << 29;

/// Range of a field's content in its row, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldSpan {
    /// First byte of the content, from the start of the row.
    pub start: usize,
    /// Byte after the content, from the start of the row.
    pub end: usize,
    /// `true` if the content holds quotes, or escapes before its end.
    pub escaped: bool,
}

impl FieldSpan {
    /// Returns the field of `row` that begins at `start`, and the start of the next one.
    fn unpack(row: &[u8], mut start: usize, packed: u32) -> (Self, usize) {
        let after = end_of(packed);
        if packed & SPACED != 0 {
            start += row[start..].iter().take_while(|&&byte| byte == b' ').count();
        }
        let quotes = usize::from(packed & QUOTED != 0);
        let escaped = packed & ESCAPED != 0;
        (Self { start: start + quotes, end: after - quotes, escaped }, after + 1)
    }
}

fn end_of(packed: u32) -> usize {
    (packed & !(QUOTED | ESCAPED | SPACED)) as usize
}

/// Returns the fields of a row, given their ends.
pub(super) fn fields(row: &[u8], ends: &[u32]) -> impl Iterator<Item = FieldSpan> {
    let mut start = 0;
    ends.iter().map(move |&packed| {
        let (field, next) = FieldSpan::unpack(row, start, packed);
        start = next;
        field
    })
}

/// Returns one field of a row, or `None` if the row has fewer.
pub(super) fn field(row: &[u8], ends: &[u32], index: usize) -> Option<FieldSpan> {
    // The end of the previous field gives the start of this one.
    let start =
        index.checked_sub(1).map_or(0, |before| ends.get(before).map_or(0, |&it| end_of(it) + 1));
    Some(FieldSpan::unpack(row, start, *ends.get(index)?).0)
}

/// Faults of a row's quoting. Numbers are bytes from the start of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A quote inside a field that did not begin with one.
    StrayQuote(usize),
    /// A closing quote followed by something other than a delimiter or the end of the line.
    AfterQuote(usize),
    /// The input ends inside the quoted field that opens at this byte.
    Unclosed(usize),
    /// The row spans several lines and does not end within the limit.
    Endless,
}

/// Result of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    /// No complete row yet.
    More,
    /// A row with correct quoting.
    Row { line: Line, first_line: Line },
    /// A row with broken quoting.
    Broken { first_line: Line, fault: Fault },
    /// The first line alone exceeds the limit.
    TooLarge,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// In an unquoted field, or at the start of any field.
    #[default]
    Bare,
    /// In a quoted field.
    Quoted,
    /// After a quote at this byte of a quoted field: it closes the field or is doubled.
    Closing(usize),
    /// Quoting broke in the first line; the scan is looking for the line's end.
    Broken(Fault),
}

/// Result of passing one byte.
enum Passed {
    On,
    /// The scan stops here, with what it found.
    Stop(Option<Scanned>),
}

/// Scan for one row. All numbers are bytes from the start of the row.
#[derive(Debug)]
pub(super) struct Scan {
    delimiter: u8,
    /// The delimiter in each of eight bytes.
    delimiters: u64,
    /// Byte that makes a quote inside a quoted field data.
    escape: Option<u8>,
    at: usize,
    mode: Mode,
    field_start: usize,
    flags: u32,
    first_line: Option<Line>,
    ends: Vec<u32>,
    columns: usize,
    /// A field after the expected ones has content.
    has_surplus: bool,
    opened: usize,
    /// The row was found: the next call starts with the next one.
    done: bool,
    /// Bytes passed by all scans so far.
    #[cfg(test)]
    pub passed: u64,
}

impl Scan {
    pub(super) fn new(delimiter: u8, escape: Option<u8>) -> Self {
        Self {
            delimiter,
            delimiters: splat(delimiter),
            escape,
            at: 0,
            mode: Mode::Bare,
            field_start: 0,
            flags: 0,
            first_line: None,
            ends: Vec::new(),
            columns: 0,
            has_surplus: false,
            opened: 0,
            done: false,
            #[cfg(test)]
            passed: 0,
        }
    }

    /// Discards the progress on the current row.
    pub(super) fn restart(&mut self) {
        self.at = 0;
        self.mode = Mode::Bare;
        self.field_start = 0;
        self.flags = 0;
        self.first_line = None;
        self.ends.clear();
        self.columns = 0;
        self.has_surplus = false;
        self.done = false;
    }

    /// Returns the ends of the row's fields for [`fields`]; at most one more than the expected
    /// number.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Returns the number of fields of the row.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Returns `true` if a field after the expected ones has content.
    pub(super) fn has_surplus(&self) -> bool {
        self.has_surplus
    }

    /// Searches for the end of the row that starts at `bytes`, resuming where the last call
    /// stopped.
    ///
    /// After [`Scanned::More`], `bytes` must start with everything the last call saw; otherwise
    /// with the next row. The [`ends`](Self::ends) are valid until the next call. `at_end` means
    /// that no input follows. `max_bytes` is the limit of a row without its terminator. The scan
    /// stores the ends of at most `max_columns` + 1 fields.
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
        // A row of `max_bytes` and its CRLF fit in this window. Bytes beyond it are never
        // inspected, so pieces of any size lead to the same result.
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

    /// Returns the result for a row over the limit, whose first line may still fit.
    fn overflow(&self, max_bytes: usize) -> Scanned {
        match self.first_line {
            Some(first_line) if first_line.end <= max_bytes => {
                Scanned::Broken { first_line, fault: Fault::Endless }
            }
            _ => Scanned::TooLarge,
        }
    }

    /// Scans to the end of the row, of the first line if its quoting broke, or of `bytes`.
    fn advance(&mut self, bytes: &[u8], max_columns: usize) -> Option<Scanned> {
        if matches!(self.mode, Mode::Broken(_)) {
            return self.end_of_broken_line(bytes, self.at);
        }
        let delimiters = self.delimiters;
        let mut at = self.at;
        while at < bytes.len() {
            let mut marks = structural(word_at(bytes, at), delimiters);
            while marks != 0 {
                let here = at + (marks.trailing_zeros() / 8) as usize;
                marks &= marks - 1;
                match self.pass(bytes, here, max_columns) {
                    Passed::On => {}
                    Passed::Stop(found) => return found,
                }
            }
            at += 8;
        }
        self.at = bytes.len();
        None
    }

    /// Passes the structural byte at `here`.
    #[inline]
    fn pass(&mut self, bytes: &[u8], here: usize, max_columns: usize) -> Passed {
        match (self.mode, bytes[here]) {
            (Mode::Bare, byte) if byte == self.delimiter => {
                self.end_field(here, max_columns);
                self.field_start = here + 1;
            }
            (Mode::Bare, b'\r' | b'\n') => return self.end_row(bytes, here, max_columns),
            (Mode::Bare, b'"') => {
                let before = &bytes[self.field_start..here];
                if before.iter().any(|&byte| byte != b' ') {
                    return self.break_at(bytes, here, Fault::StrayQuote(here));
                }
                self.mode = Mode::Quoted;
                self.flags = if before.is_empty() { QUOTED } else { QUOTED | SPACED };
                self.opened = here;
            }
            (Mode::Quoted, b'"') => {
                if !self.is_escaped(bytes, here) {
                    self.mode = Mode::Closing(here);
                }
            }
            (Mode::Quoted, b'\r' | b'\n') if self.first_line.is_none() => {
                self.first_line = Line::ending_at(bytes, here);
                if self.first_line.is_none() {
                    return self.wait_at(here);
                }
            }
            (Mode::Closing(quote), byte) if here == quote + 1 => match byte {
                b'"' => {
                    self.mode = Mode::Quoted;
                    self.flags |= ESCAPED;
                }
                b'\r' | b'\n' => return self.end_row(bytes, here, max_columns),
                _ if byte == self.delimiter => {
                    self.mode = Mode::Bare;
                    self.end_field(here, max_columns);
                    self.field_start = here + 1;
                }
                _ => return self.break_at(bytes, here, Fault::AfterQuote(here)),
            },
            (Mode::Closing(quote), _) => {
                return self.break_at(bytes, here, Fault::AfterQuote(quote + 1));
            }
            (Mode::Bare | Mode::Quoted | Mode::Broken(_), _) => {}
        }
        Passed::On
    }

    /// Stops before a byte whose meaning depends on the next one.
    fn wait_at(&mut self, here: usize) -> Passed {
        self.at = here;
        Passed::Stop(None)
    }

    /// Returns `true` if a quote at `here` inside a quoted field is data because of the escapes
    /// before it. They are pairs, each of which stands for one byte, or pairs and one more.
    ///
    /// A run of escapes lies in one line, so parity holds for the quotes that are not escaped.
    fn is_escaped(&mut self, bytes: &[u8], here: usize) -> bool {
        let Some(escape) = self.escape else { return false };
        let content = &bytes[self.opened + 1..here];
        let run = content.iter().rev().take_while(|&&byte| byte == escape).count();
        if run > 0 {
            self.flags |= ESCAPED;
        }
        run % 2 == 1
    }

    /// Records broken quoting, and searches for the end of the first line from `here` if it is not
    /// known.
    fn break_at(&mut self, bytes: &[u8], here: usize, fault: Fault) -> Passed {
        self.at = here;
        if let Some(first_line) = self.first_line {
            return Passed::Stop(Some(Scanned::Broken { first_line, fault }));
        }
        self.mode = Mode::Broken(fault);
        Passed::Stop(self.end_of_broken_line(bytes, here))
    }

    fn end_of_broken_line(&mut self, bytes: &[u8], from: usize) -> Option<Scanned> {
        let Mode::Broken(fault) = self.mode else { return None };
        match Line::first(bytes, from) {
            Ok(first_line) => {
                self.at = first_line.next;
                Some(Scanned::Broken { first_line, fault })
            }
            Err(at) => {
                self.at = at;
                None
            }
        }
    }

    #[inline]
    fn end_field(&mut self, end: usize, max_columns: usize) {
        self.columns += 1;
        if self.columns > max_columns {
            self.end_surplus(end, max_columns);
        } else {
            // No truncation: rows are below `MAX_ROW_BYTES`.
            self.ends.push(end as u32 | self.flags);
        }
        self.flags = 0;
    }

    /// Ends a field after the last column, and notes whether it has content.
    #[cold]
    fn end_surplus(&mut self, end: usize, max_columns: usize) {
        if self.columns == max_columns + 1 {
            self.ends.push(end as u32 | self.flags);
        }
        let is_quoted = self.flags & QUOTED != 0;
        let empty = if is_quoted { self.opened + 2 } else { self.field_start };
        self.has_surplus |= end > empty;
    }

    fn end_row(&mut self, bytes: &[u8], here: usize, max_columns: usize) -> Passed {
        let Some(line) = Line::ending_at(bytes, here) else { return self.wait_at(here) };
        self.at = line.next;
        self.end_field(line.end, max_columns);
        Passed::Stop(Some(Scanned::Row { line, first_line: self.first_line.unwrap_or(line) }))
    }

    /// Returns the last row of an input that ends without a terminator.
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

/// Returns eight bytes as a little-endian word. Bytes that are not ASCII, and hence not structural,
/// pad the end.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = &bytes[at..];
    match rest.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => rest.iter().rev().fold(splat(0x80), |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// Lowest bit of each of eight bytes.
const ONES: u64 = 0x0101_0101_0101_0101;

/// Returns a word of eight times the same byte.
const fn splat(byte: u8) -> u64 {
    byte as u64 * ONES
}

/// Returns a mask of the bytes of `word` that are a delimiter, a quote or below 0x10, as CR and LF
/// are: their highest bits are set.
///
/// One operation on eight bytes replaces four searches: fields are often shorter than the start-up
/// cost of a search. A byte is zero if and only if neither the byte nor the sum of its lower seven
/// bits and 0x7f has the highest bit set. No sum here carries into the next byte, so the mask is
/// exact. A byte is below 0x10 if the four bits above are zero, which takes no more operations than
/// a search for LF. The other bytes below 0x10 are rare in text and harmless.
fn structural(word: u64, delimiters: u64) -> u64 {
    const LOW: u64 = splat(0x7f);
    let is_not_zero = |difference: u64| ((difference & LOW) + LOW) | difference;
    let differs = is_not_zero(word ^ delimiters)
        & is_not_zero(word ^ splat(b'"'))
        & (((word & splat(0x70)) + LOW) | word);
    !differs & !LOW
}
