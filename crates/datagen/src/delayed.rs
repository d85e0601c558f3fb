//! Records that are sent later than they were generated.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Record to send later.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DelayedRecord {
    /// Time at which it is sent.
    pub(crate) due_ms: i64,
    /// Order among records that are due at the same time.
    order: u64,
    /// True if the record has been sent before; false if it is late.
    pub(crate) is_duplicate: bool,
    pub(crate) json: Vec<u8>,
    key_start: usize,
    key_end: usize,
}

impl DelayedRecord {
    pub(crate) fn key(&self) -> Range<usize> {
        self.key_start..self.key_end
    }
}

/// Delayed records, earliest first.
#[derive(Debug, Default)]
pub(crate) struct DelayedRecords {
    heap: BinaryHeap<Reverse<DelayedRecord>>,
    count: u64,
    /// Buffers for reuse.
    free: Vec<Vec<u8>>,
}

impl DelayedRecords {
    pub(crate) fn push(&mut self, due_ms: i64, is_duplicate: bool, json: &[u8], key: Range<usize>) {
        let mut copy = self.free.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(json);
        self.count += 1;
        let (key_start, key_end) = (key.start, key.end);
        let order = self.count;
        let late = DelayedRecord { due_ms, order, is_duplicate, json: copy, key_start, key_end };
        self.heap.push(Reverse(late));
    }

    /// Removes the first record that is due by `time_ms`; without a time, the first of all.
    pub(crate) fn pop(&mut self, time_ms: Option<i64>) -> Option<DelayedRecord> {
        let Reverse(first) = self.heap.peek()?;
        if time_ms.is_some_and(|time| first.due_ms > time) {
            return None;
        }
        self.heap.pop().map(|Reverse(late)| late)
    }

    /// Takes a buffer back for reuse.
    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        self.free.push(buffer);
    }
}
