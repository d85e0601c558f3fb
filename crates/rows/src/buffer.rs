//! Buffer of decompressed input that the reader has not yet returned.

use std::ops::Range;

/// Bytes in object order, with their offset in the object.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Number of consumed bytes at the front of `bytes`.
    start: usize,
    /// Offset in the object of the first unconsumed byte.
    offset: u64,
}

impl Buffer {
    /// Returns the unconsumed bytes.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Returns the offset in the object of the first unconsumed byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Consumes `count` pending bytes and returns their range, which is valid until the next
    /// [`extend`](Self::extend).
    pub(super) fn consume(&mut self, count: usize) -> Range<usize> {
        let range = self.start..self.start + count;
        self.start = range.end;
        self.offset += count as u64;
        range
    }

    /// Returns the bytes of a range that [`consume`](Self::consume) returned.
    pub(super) fn consumed(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Appends bytes of the object.
    ///
    /// Moves the pending bytes to the front once they are no more than the consumed ones. All moves
    /// together then cost no more than reading, and memory stays below twice the pending bytes and
    /// one piece.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Drops all bytes and continues at another offset.
    pub(super) fn restart(&mut self, offset: u64) {
        self.bytes.clear();
        self.start = 0;
        self.offset = offset;
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
