//! Records that are sent later than they were generated.

use std::collections::BTreeMap;
use std::ops::Range;

/// Record to send later.
#[derive(Debug)]
pub(crate) struct DelayedRecord {
    /// True if the record has been sent before; false if it is late.
    pub(crate) is_duplicate: bool,
    pub(crate) json: Vec<u8>,
    pub(crate) key: Range<usize>,
}

/// Delayed records, earliest first.
#[derive(Debug, Default)]
pub(crate) struct DelayedRecords {
    /// Records by the time at which they are sent, and by order among those of the same time.
    records: BTreeMap<(i64, u64), DelayedRecord>,
    count: u64,
    /// Buffers for reuse; the caller of [`Self::pop`] puts them back.
    pub(crate) free: Vec<Vec<u8>>,
}

impl DelayedRecords {
    pub(crate) fn push(&mut self, due_ms: i64, is_duplicate: bool, json: &[u8], key: Range<usize>) {
        let mut copy = self.free.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(json);
        self.count += 1;
        let late = DelayedRecord { is_duplicate, json: copy, key };
        self.records.insert((due_ms, self.count), late);
    }

    /// Removes the first record that is due by `time_ms`, and returns it with its time; without a
    /// time, the first of all.
    pub(crate) fn pop(&mut self, time_ms: Option<i64>) -> Option<(i64, DelayedRecord)> {
        let first = self.records.first_entry()?;
        let (due_ms, _) = *first.key();
        time_ms.is_none_or(|time| due_ms <= time).then(|| (due_ms, first.remove()))
    }
}
