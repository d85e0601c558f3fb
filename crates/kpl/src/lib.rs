//! KPL aggregates: many user records in one record of a stream.
//!
//! ```text
//! F3 89 9A C2 │ AggregatedRecord, a proto2 message │ MD5 of the message, 16 bytes
//! ```
//!
//! A small record pays for a whole PUT payload unit and for one of the 1,000 records that a shard
//! takes a second. Together they share both. Producers built on the Kinesis Producer Library write
//! this format by themselves; the KCL and Firehose read it.
//!
//! Format: <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>.

mod aggregator;
mod wire;

use md5::{Digest, Md5};

use wire::{Fields, Value};

pub use aggregator::Aggregator;

/// What an aggregate begins with. It is not UTF-8, so no JSON record can begin like this.
pub const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// The bytes of one PUT payload unit, 25 KB, with the smaller of the two kilobytes.
///
/// See <https://aws.amazon.com/kinesis/data-streams/pricing/>.
pub const PAYLOAD_UNIT: usize = 25 * 1000;

/// The most user records of an aggregate: in a record that a function can be handed they would have
/// fewer than 50 bytes each, and no raw record or event has. It bounds what one record of a stream
/// can become.
pub const MAX_USER_RECORDS: usize = 100_000;

const MD5_BYTES: usize = 16;

// The fields of AggregatedRecord and of its Record; Tag is not used by anybody yet.
const PARTITION_KEY_TABLE: u64 = 1;
const EXPLICIT_HASH_KEY_TABLE: u64 = 2;
const RECORDS: u64 = 3;
const PARTITION_KEY_INDEX: u64 = 1;
const EXPLICIT_HASH_KEY_INDEX: u64 = 2;
const DATA: u64 = 3;

/// One of the records that an aggregate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// The key that its producer gave it. The shard was decided by the aggregate's own.
    pub partition_key: &'a str,
    /// The hash key, in decimal, that stands in for the partition key's where it is given.
    pub explicit_hash_key: Option<&'a str>,
    /// The bytes.
    pub data: &'a [u8],
}

/// The fault of an aggregate that is truncated or damaged: lower case, no full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BrokenAggregate(pub &'static str);

/// The user records of `record`, borrowed from it; `None` where it is no aggregate.
///
/// AWS's own readers take a record that begins like an aggregate and has another MD5 for a plain
/// one. No record here can be meant so, and as a plain record it would be as bad, with a reason
/// that leads nowhere: so it is a broken aggregate, one bad row with all its bytes.
///
/// # Errors
///
/// [`BrokenAggregate`] where it is truncated or damaged, or refers to a key that it does not
/// have. Then none of its user records can be trusted.
#[must_use]
pub fn user_records(record: &[u8]) -> Option<Result<Vec<UserRecord<'_>>, BrokenAggregate>> {
    let rest = record.strip_prefix(&MAGIC)?;
    Some(read(rest).map_err(BrokenAggregate))
}

/// The hash key of a partition key: it decides the shard.
///
/// See <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecord.html>.
#[must_use]
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// Reads what follows the magic number; the error is what is wrong.
fn read(rest: &[u8]) -> Result<Vec<UserRecord<'_>>, &'static str> {
    let Some((message, md5)) = rest.split_last_chunk::<MD5_BYTES>() else {
        return Err("the aggregate ends before its MD5");
    };
    if Md5::digest(message).as_slice() != md5 {
        return Err("the MD5 of the aggregate is another: it is truncated or damaged");
    }

    // The tables may come after the records that refer to them.
    let (mut keys, mut hash_keys, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for field in Fields::of(message) {
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

/// A Record as it stands: its keys are indices.
struct Entry<'a> {
    key: u64,
    hash_key: Option<u64>,
    data: &'a [u8],
}

/// As in any proto2 message, the last of several values of a field counts.
fn entry(value: Value<'_>) -> Result<Entry<'_>, &'static str> {
    let (mut key, mut hash_key, mut data) = (None, None, None);
    for field in Fields::of(bytes(value)?) {
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
        _ => Err("an index of the aggregate is no number"),
    }
}

fn bytes(value: Value<'_>) -> Result<&[u8], &'static str> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err("a field of the aggregate has another type"),
    }
}

fn text(value: Value<'_>) -> Result<&str, &'static str> {
    str::from_utf8(bytes(value)?).map_err(|_| "a key of the aggregate is not UTF-8")
}

#[cfg(test)]
mod tests;
