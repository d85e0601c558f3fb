//! Simulated Kinesis Data Streams: shards, sequence numbers, limits, splits and merges.
//!
//! Rules: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html> and
//! <https://docs.aws.amazon.com/streams/latest/dev/kinesis-using-sdk-java-resharding.html>.

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tributary_aws::kinesis::{self, StreamRecord};
use tributary_aws::put::{EntryResult, Limits};
use tributary_kpl as kpl;

use super::Store;
use crate::clock;

/// Write limits of a shard per second.
const SHARD_RECORDS: f64 = 1_000.0;
const SHARD_BYTES: f64 = 1_048_576.0;

/// Time for which a stream keeps its records.
const RETENTION: Duration = Duration::from_hours(24);

/// Simulated stream.
#[derive(Debug)]
pub struct SimStream {
    max_record_bytes: usize,
    refuses: fn(&[u8]) -> bool,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    numbers: u64,
    shards: Vec<Shard>,
}

/// Shard: a range of hash keys with its records.
#[derive(Debug)]
struct Shard {
    /// Range of hash keys.
    keys: RangeInclusive<u128>,
    /// Parents of the shard; their records precede its own.
    parents: Vec<usize>,
    /// True if it accepts no more records.
    is_closed: bool,
    records: Vec<Arc<Stored>>,
    /// Remaining records and bytes, and the time since which they have been refilled.
    allowance: (f64, f64, Duration),
}

/// Record of a shard.
#[derive(Debug)]
pub struct Stored {
    /// Sequence number, of fixed length, so that its text order is its numeric order.
    pub sequence_number: String,
    /// Partition key, which selects the shard.
    pub partition_key: String,
    /// Data of the record.
    pub data: Vec<u8>,
    /// Arrival time in the stream.
    pub arrived_at: Timestamp,
    /// Arrival time as virtual time since the start of the simulation.
    pub arrived: Duration,
}

impl Shard {
    fn new(keys: RangeInclusive<u128>, parents: Vec<usize>) -> Self {
        let allowance = (SHARD_RECORDS, SHARD_BYTES, clock::elapsed());
        Self { keys, parents, is_closed: false, records: Vec::new(), allowance }
    }

    /// Returns true if the shard accepts a record of this size now.
    fn admits(&mut self, bytes: usize) -> bool {
        let (records, room, since) = self.allowance;
        let now = clock::elapsed();
        let grown = now.saturating_sub(since).as_secs_f64();
        let records = (records + grown * SHARD_RECORDS).min(SHARD_RECORDS);
        let room = (room + grown * SHARD_BYTES).min(SHARD_BYTES);
        #[expect(clippy::cast_precision_loss, reason = "a record has a few MiB at most")]
        let bytes = bytes as f64;
        let admits = records >= 1.0 && room >= bytes;
        self.allowance =
            if admits { (records - 1.0, room - bytes, now) } else { (records, room, now) };
        admits
    }
}

impl SimStream {
    /// Creates a stream of this many equal shards, with records of up to `max_record_bytes`, key
    /// included.
    #[must_use]
    pub fn new(shards: usize, max_record_bytes: usize) -> Self {
        let width = u128::MAX / shards.max(1) as u128;
        let shard = |n: usize| {
            let first = width * n as u128 + u128::from(n > 0);
            let last = if n + 1 >= shards { u128::MAX } else { width * (n as u128 + 1) };
            Shard::new(first..=last, Vec::new())
        };
        let state = State { numbers: 0, shards: (0..shards.max(1)).map(shard).collect() };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Self { max_record_bytes, refuses: |_| false, state, changed }
    }

    /// Refuses calls with a record whose data `refuses` holds for.
    #[must_use]
    pub fn refusing(self, refuses: fn(&[u8]) -> bool) -> Self {
        Self { refuses, ..self }
    }

    /// Returns the number of shards, including closed ones.
    pub fn shard_count(&self) -> usize {
        self.state().shards.len()
    }

    /// Returns the shards that accept records.
    pub fn open_shards(&self) -> Vec<usize> {
        let state = self.state();
        (0..state.shards.len()).filter(|&n| !state.shards[n].is_closed).collect()
    }

    /// Splits a shard in the middle of its hash keys. The parent keeps its records and accepts no
    /// more.
    pub fn split(&self, shard: usize) {
        let mut state = self.state();
        let Some(parent) = state.shards.get_mut(shard).filter(|parent| !parent.is_closed) else {
            return;
        };
        let (first, last) = (*parent.keys.start(), *parent.keys.end());
        if first == last {
            return;
        }
        parent.is_closed = true;
        let middle = first + (last - first) / 2;
        state.shards.push(Shard::new(first..=middle, vec![shard]));
        state.shards.push(Shard::new(middle + 1..=last, vec![shard]));
        self.wake_readers();
    }

    /// Merges two adjacent shards. Returns false if they are not adjacent and open.
    pub fn merge(&self, one: usize, other: usize) -> bool {
        let mut state = self.state();
        let keys = |n: usize| {
            let shard = state.shards.get(n).filter(|shard| !shard.is_closed)?;
            Some((*shard.keys.start(), *shard.keys.end()))
        };
        let (Some(a), Some(b)) = (keys(one), keys(other)) else { return false };
        let (low, high) = if a.0 < b.0 { (a, b) } else { (b, a) };
        if one == other || low.1.checked_add(1) != Some(high.0) {
            return false;
        }
        state.shards[one].is_closed = true;
        state.shards[other].is_closed = true;
        state.shards.push(Shard::new(low.0..=high.1, vec![one, other]));
        self.wake_readers();
        true
    }

    /// Returns the parents of a shard.
    pub fn parents(&self, shard: usize) -> Vec<usize> {
        self.state().shards.get(shard).map(|shard| shard.parents.clone()).unwrap_or_default()
    }

    /// Returns up to `max` records of a shard from `index` on, and the index of the first one;
    /// records beyond the retention are skipped. `None` if the shard is closed and has no more.
    pub fn read(
        &self,
        shard: usize,
        index: usize,
        max: usize,
    ) -> Option<(usize, Vec<Arc<Stored>>)> {
        let state = self.state();
        let shard = state.shards.get(shard)?;
        let oldest = clock::elapsed().saturating_sub(RETENTION);
        let kept = shard.records.partition_point(|record| record.arrived < oldest);
        let start = index.max(kept);
        if start >= shard.records.len() {
            return (!shard.is_closed).then(|| (start, Vec::new()));
        }
        let end = shard.records.len().min(start.saturating_add(max));
        Some((start, shard.records[start..end].to_vec()))
    }

    /// Waits until a record is stored, a shard is closed, or [`Self::wake_readers`] is called.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ends every wait for a change.
    pub fn wake_readers(&self) {
        self.changed.notify_waiters();
    }

    /// Returns all records ever stored in a shard.
    pub fn records(&self, shard: usize) -> Vec<Arc<Stored>> {
        self.state().shards.get(shard).map(|shard| shard.records.clone()).unwrap_or_default()
    }

    /// Returns all records ever stored, shard by shard.
    pub fn all(&self) -> Vec<Arc<Stored>> {
        self.state().shards.iter().flat_map(|shard| shard.records.iter().cloned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        crate::lock(&self.state)
    }
}

impl Store for SimStream {
    type Entry = StreamRecord;

    const OPERATION: &'static str = "kinesis:PutRecords";

    fn limits(&self) -> Limits {
        let entry_bytes = self.max_record_bytes;
        let bytes = kinesis::MAX_BYTES.max(entry_bytes);
        Limits { entries: kinesis::MAX_ENTRIES, bytes, entry_bytes }
    }

    fn size(&self, entry: &StreamRecord) -> usize {
        entry.size()
    }

    fn key<'e>(&self, entry: &'e StreamRecord) -> Option<&'e str> {
        Some(&entry.partition_key)
    }

    fn refuses(&self, entry: &StreamRecord) -> bool {
        (self.refuses)(&entry.data)
    }

    fn take(&self, entry: &StreamRecord) -> EntryResult {
        let key = kpl::hash_key(&entry.partition_key);
        let mut state = self.state();
        let number = state.numbers;
        let open = state.shards.iter_mut().find(|it| !it.is_closed && it.keys.contains(&key));
        let Some(shard) = open else {
            return EntryResult::Failed("InternalFailure".to_owned());
        };
        if !shard.admits(entry.size()) {
            return EntryResult::Failed("ProvisionedThroughputExceededException".to_owned());
        }
        shard.records.push(Arc::new(Stored {
            sequence_number: format!("4959{number:052}"),
            partition_key: entry.partition_key.clone(),
            data: entry.data.clone(),
            arrived_at: clock::now(),
            arrived: clock::elapsed(),
        }));
        state.numbers += 1;
        self.wake_readers();
        EntryResult::Stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(stream: &SimStream, key: &str) -> EntryResult {
        stream.take(&StreamRecord::new(key, b"x".to_vec()))
    }

    fn keys(stream: &SimStream, shard: usize) -> Vec<String> {
        let read = stream.read(shard, 0, 10_000).unwrap_or_default().1;
        read.iter().map(|record| record.partition_key.clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn split_closes_parent_and_children_take_over() {
        let stream = SimStream::new(1, 100);
        (0..20).for_each(|n| assert_eq!(put(&stream, &format!("a{n}")), EntryResult::Stored));

        stream.split(0);
        (0..20).for_each(|n| assert_eq!(put(&stream, &format!("b{n}")), EntryResult::Stored));

        assert_eq!(stream.open_shards(), [1, 2]);
        assert_eq!((stream.parents(1), stream.parents(2)), (vec![0], vec![0]));
        assert_eq!(keys(&stream, 0).len(), 20);
        assert_eq!(stream.read(0, 20, 1).map(|read| read.0), None, "closed and read to its end");
        assert!(!keys(&stream, 1).is_empty() && !keys(&stream, 2).is_empty());
        assert_eq!(keys(&stream, 1).len() + keys(&stream, 2).len(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn only_adjacent_shards_merge() {
        let stream = SimStream::new(3, 100);

        assert!(!stream.merge(0, 2) && !stream.merge(1, 1) && !stream.merge(0, 7));
        assert!(stream.merge(2, 1));

        assert_eq!(stream.open_shards(), [0, 3]);
        assert_eq!(stream.parents(3), [2, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn shard_accepts_1000_records_per_second() {
        clock::begin();
        let stream = SimStream::new(1, 100);
        let stored = |n: usize| (0..n).filter(|_| put(&stream, "k") == EntryResult::Stored).count();

        assert_eq!(stored(1_500), 1_000);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(stored(1_500), 500);
    }

    #[tokio::test(start_paused = true)]
    async fn records_beyond_retention_are_skipped() {
        clock::begin();
        let stream = SimStream::new(1, 100);
        put(&stream, "old");
        tokio::time::advance(Duration::from_hours(20)).await;
        put(&stream, "young");
        tokio::time::advance(Duration::from_hours(5)).await;

        let (index, records) = stream.read(0, 0, 10).unwrap();

        assert_eq!((index, records.len()), (1, 1));
        assert_eq!(records[0].partition_key, "young");
    }
}
