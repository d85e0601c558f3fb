//! Reads and writes KPL aggregates: many user records in one record of a stream.
//!
//! ```text
//! F3 89 9A C2 │ AggregatedRecord, a proto2 message │ MD5 of the message, 16 bytes
//! ```
//!
//! A small record is charged a whole PUT payload unit and takes up one of the 1,000 records per
//! second of a shard. The user records of an aggregate share both. Producers built on the Kinesis
//! Producer Library write this format by default; the KCL and AWS delivery streams read it.
//!
//! Format: <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>.

mod aggregator;
mod wire;

use md5::{Digest, Md5};

use wire::{Fields, Value};

pub use aggregator::Aggregator;

/// First bytes of an aggregate. They are not UTF-8, so no JSON record starts with them.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Bytes of one PUT payload unit: 25 KB, counted conservatively as 25,000 bytes.
///
/// See <https://aws.amazon.com/kinesis/data-streams/pricing/>.
pub const PAYLOAD_UNIT: usize = 25 * 1000;

/// Maximum user records of an aggregate. It bounds the output of one stream record. In a record
/// small enough for a function's payload, this many would average fewer than 50 bytes each, which
/// no raw record or event does.
pub const MAX_USER_RECORDS: usize = 100_000;

const MD5_BYTES: usize = 16;

// Field numbers of AggregatedRecord and of its Record. Tag is unused.
const PARTITION_KEY_TABLE: u64 = 1;
const EXPLICIT_HASH_KEY_TABLE: u64 = 2;
const RECORDS: u64 = 3;
const PARTITION_KEY_INDEX: u64 = 1;
const EXPLICIT_HASH_KEY_INDEX: u64 = 2;
const DATA: u64 = 3;

/// A user record of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Partition key set by the producer. The aggregate's own key selects the shard.
    pub partition_key: &'a str,
    /// Hash key in decimal, which replaces the hash of the partition key if set.
    pub explicit_hash_key: Option<&'a str>,
    /// Payload bytes.
    pub data: &'a [u8],
}

/// Fault of a truncated or damaged aggregate: lower case, no full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BrokenAggregate(pub &'static str);

/// Returns the user records of `record`, borrowed from it, or `None` if it is not an aggregate.
///
/// AWS's own readers treat a record with the magic number and a wrong MD5 as a plain record. Here
/// no plain record starts with the magic number. Treated as plain, it would be quarantined with a
/// misleading reason, so it is reported as a broken aggregate: one bad row with all its bytes.
///
/// # Errors
///
/// [`BrokenAggregate`] if the aggregate is truncated or damaged, or refers to a key that is not in
/// its table. None of its user records can be trusted then.
#[must_use]
pub fn user_records(record: &[u8]) -> Option<Result<Vec<UserRecord<'_>>, BrokenAggregate>> {
    let rest = record.strip_prefix(&MAGIC)?;
    Some(read(rest).map_err(BrokenAggregate))
}

/// Returns the hash key of a partition key, which selects the shard.
///
/// See <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html>.
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// Reads the bytes after the magic number. The error is the fault's message.
fn read(rest: &[u8]) -> Result<Vec<UserRecord<'_>>, &'static str> {
    let Some((message, md5)) = rest.split_last_chunk::<MD5_BYTES>() else {
        return Err("the aggregate ends before its MD5");
    };
    if Md5::digest(message).as_slice() != md5 {
        return Err("the MD5 of the aggregate does not match: it is truncated or damaged");
    }

    // The tables may follow the records that refer to them.
    let (mut keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for field in Fields(message) {
        match field? {
            (PARTITION_KEY_TABLE, value) => keys.push(text(value)?),
            (EXPLICIT_HASH_KEY_TABLE, value) => hash_keys.push(text(value)?),
            (RECORDS, value) if records.len() < MAX_USER_RECORDS => records.push(entry(value)?),
            (RECORDS, _) => return Err("the aggregate has more than 100,000 user records"),
            _ => {}
        }
    }
    let user_records = records.into_iter().map(|Entry { key, hash_key, data }| {
        let explicit_hash_key = hash_key.map(|index| at(&hash_keys, index)).transpose()?;
        Ok(UserRecord { partition_key: at(&keys, key)?, explicit_hash_key, data })
    });
    user_records.collect()
}

/// A decoded Record whose keys are still indices.
struct Entry<'a> {
    key: u64,
    hash_key: Option<u64>,
    data: &'a [u8],
}

/// Decodes a Record. As in any proto2 message, the last of several values of a field counts.
fn entry(value: Value<'_>) -> Result<Entry<'_>, &'static str> {
    let (mut key, mut hash_key, mut data) = (None, None, None);
    for field in Fields(bytes(value)?) {
        match field? {
            (PARTITION_KEY_INDEX, value) => key = Some(number(value)?),
            (EXPLICIT_HASH_KEY_INDEX, value) => hash_key = Some(number(value)?),
            (DATA, value) => data = Some(bytes(value)?),
            _ => {}
        }
    }
    match (key, data) {
        (Some(key), Some(data)) => Ok(Entry { key, hash_key, data }),
        (None, _) => Err("a user record has no partition key"),
        (_, None) => Err("a user record has no data"),
    }
}

fn at<'a>(table: &[&'a str], index: u64) -> Result<&'a str, &'static str> {
    let key = usize::try_from(index).ok().and_then(|index| table.get(index));
    key.copied().ok_or("a user record has a key that is not in the table")
}

fn number(value: Value<'_>) -> Result<u64, &'static str> {
    match value {
        Value::Number(number) => Ok(number),
        _ => Err("an index of the aggregate is not a number"),
    }
}

fn bytes(value: Value<'_>) -> Result<&[u8], &'static str> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err("a field of the aggregate has the wrong type"),
    }
}

fn text(value: Value<'_>) -> Result<&str, &'static str> {
    str::from_utf8(bytes(value)?).map_err(|_| "a key of the aggregate is not UTF-8")
}

#[cfg(test)]
mod tests;
