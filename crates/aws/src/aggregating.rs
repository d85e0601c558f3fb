//! KPL aggregation of small records, so that they share a PUT payload unit and count as one of the
//! 1,000 records per second of a shard.

use std::borrow::Cow;
use std::iter::repeat_n;

use tributary_kpl::{self as kpl, Aggregator, PAYLOAD_UNIT, UserRecord};

use crate::error::CallError;
use crate::kinesis::StreamRecord;
use crate::put::{BatchPut, EntryResult, Limits};

/// Upper bound, in bytes, of what an aggregate adds to a user record besides a second copy of its
/// partition key: tags, lengths, indices, and the record's half of magic number, MD5 and hash key.
const OVERHEAD: usize = 64;

/// Stream that can pack consecutive small records into one [KPL aggregate](kpl).
///
/// The stream's result for an aggregate becomes the result of each record in it, so callers see
/// records, results and positions as without aggregation. A record that fills a payload unit by
/// itself is sent unchanged. A retry may pack other records together than the first attempt.
///
/// The records of an aggregate go to the shard of the first one. Records of one partition key then
/// end up on several shards, and their order is lost between those.
#[derive(Clone, Debug)]
pub struct Aggregating<P> {
    target: P,
    on: bool,
}

impl<P> Aggregating<P> {
    /// Creates a stream over `target` that aggregates if `on`.
    pub fn new(target: P, on: bool) -> Self {
        Self { target, on }
    }

    /// Returns the stream behind it.
    pub fn target(&self) -> &P {
        &self.target
    }
}

impl<P: BatchPut<Entry = StreamRecord>> BatchPut for Aggregating<P> {
    type Entry = StreamRecord;

    const OPERATION: &'static str = P::OPERATION;

    fn limits(&self) -> Limits {
        self.target.limits()
    }

    fn size(&self, entry: &StreamRecord) -> usize {
        let size = self.target.size(entry);
        if self.on { size + entry.partition_key.len() + OVERHEAD } else { size }
    }

    fn key<'e>(&self, entry: &'e StreamRecord) -> Option<&'e str> {
        self.target.key(entry)
    }

    async fn put(&self, entries: &[&StreamRecord]) -> Result<Vec<EntryResult>, CallError> {
        if !self.on {
            return self.target.put(entries).await;
        }
        let packs = pack(entries, PAYLOAD_UNIT.min(self.limits().entry_bytes));
        let records: Vec<_> = packs.iter().map(|pack| pack.record.as_ref()).collect();
        let verdicts = self.target.put(&records).await?;
        if verdicts.len() != packs.len() {
            // The results cannot be assigned, and must not be taken for those of these entries.
            return Ok(Vec::new());
        }
        let spread = packs.iter().zip(verdicts);
        Ok(spread.flat_map(|(pack, verdict)| repeat_n(verdict, pack.count)).collect())
    }
}

/// Record for the stream, and the number of entries in it.
struct Pack<'a> {
    record: Cow<'a, StreamRecord>,
    count: usize,
}

/// Packs consecutive entries, as many as fit into `max` bytes with the partition key.
fn pack<'a>(mut entries: &[&'a StreamRecord], max: usize) -> Vec<Pack<'a>> {
    let mut packs = Vec::new();
    while let Some(&first) = entries.first() {
        let key = &first.partition_key;
        // Without the hash key, the KCL would drop records whose own key belongs to another shard.
        let hash_key = kpl::hash_key(key).to_string();
        let mut aggregator = Aggregator::new(max.saturating_sub(key.len()));
        let fits = |entry: &&&StreamRecord| {
            aggregator.push(&UserRecord {
                partition_key: &entry.partition_key,
                explicit_hash_key: Some(&hash_key),
                data: &entry.data,
            })
        };
        let count = entries.iter().take_while(fits).count().max(1);
        let record = if count == 1 {
            Cow::Borrowed(first)
        } else {
            Cow::Owned(StreamRecord::new(key, aggregator.finish()))
        };
        packs.push(Pack { record, count });
        entries = &entries[count..];
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, bytes: usize) -> StreamRecord {
        StreamRecord::new(key, vec![b'x'; bytes])
    }

    fn counts(records: &[StreamRecord]) -> Vec<usize> {
        let entries: Vec<_> = records.iter().collect();
        pack(&entries, PAYLOAD_UNIT).iter().map(|pack| pack.count).collect()
    }

    #[test]
    fn small_records_share_one_payload_unit() {
        let small = vec![record("k", 1_000); 60];
        assert_eq!(counts(&small), [24, 24, 12]);

        let mixed = [record("k", 100), record("k", 30_000), record("k", 100), record("k", 100)];
        assert_eq!(counts(&mixed), [1, 1, 2]);
        let entries: Vec<_> = mixed.iter().collect();
        assert_eq!(*pack(&entries, PAYLOAD_UNIT)[1].record, mixed[1]);

        assert!(counts(&[]).is_empty());
    }

    #[test]
    fn packed_records_unpack_in_order_within_limit() {
        let records: Vec<_> =
            (0..500).map(|n: usize| record(&format!("sensor-{}", n % 7), n * 3 % 700)).collect();
        let entries: Vec<_> = records.iter().collect();

        let packs = pack(&entries, PAYLOAD_UNIT);

        let mut unpacked = Vec::new();
        for pack in &packs {
            assert!(pack.record.size() <= PAYLOAD_UNIT);
            let user_records = kpl::user_records(&pack.record.data).unwrap().unwrap();
            assert_eq!(user_records.len(), pack.count);
            unpacked.extend(
                user_records.iter().map(|it| StreamRecord::new(it.partition_key, it.data.to_vec())),
            );
        }
        assert!(unpacked == records);
    }

    #[test]
    fn user_records_carry_the_aggregate_hash_key() {
        let records = [record("first", 10), record("second", 10)];
        let entries: Vec<_> = records.iter().collect();

        let packs = pack(&entries, PAYLOAD_UNIT);

        assert_eq!(packs[0].record.partition_key, "first");
        let hash_key = kpl::hash_key("first").to_string();
        for user_record in kpl::user_records(&packs[0].record.data).unwrap().unwrap() {
            assert_eq!(user_record.explicit_hash_key, Some(&hash_key[..]));
        }
    }

    #[test]
    fn record_size_covers_aggregate_overhead() {
        for (key, bytes) in [("k".repeat(256), 0), ("k".into(), 0), ("k".into(), 12_000)] {
            let records: Vec<_> =
                (0..2).map(|n| record(&format!("{n}{}", &key[1..]), bytes)).collect();
            let entries: Vec<_> = records.iter().collect();

            let packs = pack(&entries, PAYLOAD_UNIT);

            assert_eq!(packs.len(), 1);
            let counted: usize =
                records.iter().map(|it| it.size() + it.partition_key.len() + OVERHEAD).sum();
            assert!(packs[0].record.size() <= counted);
        }
    }
}
