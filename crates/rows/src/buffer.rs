//! The window of decompressed input that has been received and not yet been given out.

use std::ops::Range;

/// Bytes in the order of the object, with their offset in it.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// How many of `bytes` are behind us.
    start: usize,
    /// The offset in the object of the first byte that is not behind us.
    offset: u64,
}

impl Buffer {
    /// The bytes that are still to be read.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The offset in the object of the first pending byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Puts `count` pending bytes behind us, and says where they are until the next
    /// [`extend`](Self::extend).
    pub(super) fn consume(&mut self, count: usize) -> Range<usize> {
        let range = self.start..self.start + count;
        self.start = range.end;
        self.offset += count as u64;
        range
    }

    /// Bytes that [`consume`](Self::consume) has put behind us.
    pub(super) fn consumed(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Appends bytes of the object.
    ///
    /// Moves the pending bytes to the front when they are no more than those behind us, so that
    /// all moves together cost no more than reading, and memory stays below twice the pending
    /// bytes and one piece.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets all bytes and goes on at another offset.
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
