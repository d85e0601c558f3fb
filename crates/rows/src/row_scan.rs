//! Splits the text after the header into rows.

use std::cmp::Ordering;
use std::ops::Range;

use super::buffer::Buffer;
use super::csv::{Scan, Scanned};
use super::fault::{self, Problem};
use super::json_lines::LineScan;
use super::json_stream::{Item, StreamScan};
use super::line::{BYTE_ORDER_MARK, Line, begins_with_mark};
use super::{Format, Header, JsonLayout, Position, is_blank};

/// A row without borrows.
pub(super) enum Found {
    /// A row, and its problem if it is known to be broken.
    Row(Position, Range<usize>, Option<Problem>),
    TooLarge(Position),
    End,
}

/// Scan for the rows of an object.
pub(super) struct RowScan {
    /// Position of the next row.
    pub next: Position,
    csv: Scan,
    lines: LineScan,
    stream: StreamScan,
    /// Inside a line that is too large: `true` while the line is blank so far.
    skipping: Option<bool>,
    /// Offset before which rows are skipped.
    discard_to: Option<u64>,
}

impl RowScan {
    pub(super) fn new() -> Self {
        Self {
            next: Position { offset: 0, row: 1 },
            csv: Scan::new(b',', None),
            lines: LineScan::default(),
            stream: StreamScan::default(),
            skipping: None,
            discard_to: None,
        }
    }

    /// Starts behind the header, unless the caller moved to a later position before.
    pub(super) fn begin(&mut self, first: Position, header: &Header) {
        if let Some(delimiter) = header.delimiter() {
            self.csv = Scan::new(delimiter, header.escape);
        }
        if self.discard_to.is_none_or(|offset| offset <= first.offset) {
            self.next = first;
            self.discard_to = None;
        }
    }

    /// Undoes [`begin`](Self::begin): the header lies behind `offset`.
    pub(super) fn rewind(&mut self, offset: u64) {
        if self.discard_to.is_none() {
            self.next = Position { offset, row: 1 };
        }
    }

    /// Returns `true` if rows before a position are yet to be skipped.
    pub(super) fn is_discarding(&self) -> bool {
        self.discard_to.is_some()
    }

    /// Moves to a row that the next input starts with.
    pub(super) fn restart(&mut self, next: Position) {
        self.csv.restart();
        self.lines.restart();
        self.stream.restart();
        self.skipping = None;
        self.discard_to = None;
        self.next = next;
    }

    /// Skips all rows before `next`.
    pub(super) fn discard_to(&mut self, next: Position) {
        self.restart(next);
        self.discard_to = Some(next.offset);
    }

    /// Returns the ends of the fields of the last row.
    pub(super) fn ends(&self) -> &[u32] {
        self.csv.ends()
    }

    /// Reads the next row; `None` if that needs more input.
    pub(super) fn read(
        &mut self,
        header: &Header,
        max_bytes: usize,
        buffer: &mut Buffer,
        at_end: bool,
    ) -> Option<Found> {
        self.discard(buffer, at_end)?;
        if header.json_layout() == Some(JsonLayout::Stream) {
            return self.read_item(max_bytes, buffer, at_end);
        }
        let (expected, format) = (header.columns().len(), header.format());
        loop {
            if let Some(blank) = self.skipping {
                let blank = self.skip_line(blank, buffer, at_end)?;
                let position = self.next;
                self.next.offset = buffer.offset();
                if !blank {
                    self.next.row += 1;
                    return Some(Found::TooLarge(position));
                }
            }
            let pending = buffer.pending();
            if pending.is_empty() && at_end {
                return Some(Found::End);
            }
            if begins_with_mark(pending, at_end)? {
                buffer.consume(BYTE_ORDER_MARK.len());
                self.next.offset = buffer.offset();
                continue;
            }
            let scanned = match format {
                Format::Csv => self.csv.row(pending, at_end, max_bytes, expected),
                Format::JsonLines => self.lines.line(pending, at_end, max_bytes),
            };
            match scanned {
                Scanned::More => return None,
                Scanned::TooLarge => self.skipping = Some(true),
                Scanned::Row { line, .. } if pending[..line.end].iter().all(|&b| is_blank(b)) => {
                    buffer.consume(line.next);
                    self.next.offset = buffer.offset();
                }
                Scanned::Row { line, first_line } => {
                    let one_line = line == first_line;
                    if format == Format::JsonLines || self.fits(expected, one_line) {
                        return Some(self.pass(line, None, buffer));
                    }
                    let problem = fault::wrong_column_count(self.csv.columns(), expected, one_line);
                    return Some(self.pass(first_line, Some(problem), buffer));
                }
                Scanned::Broken { first_line, fault } => {
                    let problem = fault::broken_quoting(fault, max_bytes);
                    return Some(self.pass(first_line, Some(problem), buffer));
                }
            }
        }
    }

    /// Reads the next object of a stream; `None` if that needs more input.
    fn read_item(&mut self, max_bytes: usize, buffer: &mut Buffer, at_end: bool) -> Option<Found> {
        loop {
            match self.stream.item(buffer.pending(), at_end, max_bytes) {
                Item::More => {
                    buffer.consume(self.stream.dropped(max_bytes));
                    return None;
                }
                Item::Separators(count) => {
                    buffer.consume(count);
                    self.next.offset = buffer.offset();
                }
                Item::Found(line) => return Some(self.pass(line, None, buffer)),
                Item::TooLarge(count) => {
                    let position = self.next;
                    buffer.consume(count);
                    self.next = Position { offset: buffer.offset(), row: position.row + 1 };
                    return Some(Found::TooLarge(position));
                }
                Item::End => return Some(Found::End),
            }
        }
    }

    /// Returns `true` if the row has the right number of fields: fields missing at the end count as
    /// empty, and empty ones after the last column do not count. A row over several lines lacks
    /// none: otherwise a quote that is never closed would take the lines after it.
    fn fits(&self, expected: usize, one_line: bool) -> bool {
        match self.csv.columns().cmp(&expected) {
            Ordering::Less => one_line,
            Ordering::Equal => true,
            Ordering::Greater => !self.csv.has_surplus(),
        }
    }

    /// Drops input before the position that the caller moved to; `None` if that needs more input.
    fn discard(&mut self, buffer: &mut Buffer, at_end: bool) -> Option<()> {
        let Some(offset) = self.discard_to else { return Some(()) };
        let ahead = offset.saturating_sub(buffer.offset());
        let pending = buffer.pending().len();
        let count = usize::try_from(ahead).map_or(pending, |ahead| ahead.min(pending));
        buffer.consume(count);
        if buffer.offset() < offset && !at_end {
            return None;
        }
        self.discard_to = None;
        Some(())
    }

    /// Consumes a row.
    fn pass(&mut self, line: Line, problem: Option<Problem>, buffer: &mut Buffer) -> Found {
        let position = self.next;
        let range = buffer.consume(line.next);
        self.next = Position { offset: buffer.offset(), row: position.row + 1 };
        Found::Row(position, range.start..range.start + line.end, problem)
    }

    /// Drops the buffered part of a line that is too large. At the end of the line, returns whether
    /// all of it is blank.
    fn skip_line(&mut self, blank: bool, buffer: &mut Buffer, at_end: bool) -> Option<bool> {
        let pending = buffer.pending();
        let (line, ends) = match Line::first(pending, 0) {
            Ok(line) => (line, true),
            Err(_) if at_end => (Line::last(pending), true),
            Err(end) => (Line { end, next: end }, false),
        };
        let blank = blank && pending[..line.end].iter().all(|&byte| is_blank(byte));
        buffer.consume(line.next);
        self.skipping = if ends { None } else { Some(blank) };
        ends.then_some(blank)
    }

    /// Returns the bytes passed by CSV scans.
    #[cfg(test)]
    pub(super) fn passed(&self) -> u64 {
        self.csv.passed
    }
}
