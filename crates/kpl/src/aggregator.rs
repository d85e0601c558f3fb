//! Writes aggregates.

use std::collections::HashMap;

use md5::{Digest, Md5};

use super::wire::{field_bytes, put_bytes, put_length, put_number, varint_bytes};
use super::{
    DATA, EXPLICIT_HASH_KEY_INDEX, EXPLICIT_HASH_KEY_TABLE, MAGIC, MAX_USER_RECORDS, MD5_BYTES,
    PARTITION_KEY_INDEX, PARTITION_KEY_TABLE, RECORDS, UserRecord,
};

/// Collects user records into an aggregate of limited size.
///
/// The KCL silently drops user records whose hash key does not belong to the shard it reads the
/// aggregate from. A caller that aggregates records of several partition keys must therefore set
/// the `explicit_hash_key` of each record to the aggregate's own [hash key](super::hash_key).
#[derive(Debug)]
pub struct Aggregator {
    max: usize,
    keys: Table,
    hash_keys: Table,
    records: Vec<u8>,
    count: usize,
}

impl Aggregator {
    /// Creates an empty aggregate of at most `max` bytes. Its partition key counts towards the
    /// stream's limits but is not part of the aggregate.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            keys: Table::new(PARTITION_KEY_TABLE),
            hash_keys: Table::new(EXPLICIT_HASH_KEY_TABLE),
            records: Vec::new(),
            count: 0,
        }
    }

    /// Adds a record. Returns `false` and adds nothing if it no longer fits.
    #[must_use]
    pub fn push(&mut self, record: &UserRecord<'_>) -> bool {
        let key = self.keys.index(record.partition_key);
        let hash_key = record.explicit_hash_key.map(|key| self.hash_keys.index(key));
        let index_bytes = |index: u64| 1 + varint_bytes(index);
        let length =
            index_bytes(key) + hash_key.map_or(0, index_bytes) + field_bytes(record.data.len());
        let new_keys = self.keys.bytes_for(record.partition_key)
            + record.explicit_hash_key.map_or(0, |key| self.hash_keys.bytes_for(key));
        if self.bytes() + new_keys + field_bytes(length) > self.max
            || self.count == MAX_USER_RECORDS
        {
            return false;
        }

        self.keys.add(record.partition_key);
        if let Some(key) = record.explicit_hash_key {
            self.hash_keys.add(key);
        }
        put_length(&mut self.records, RECORDS, length);
        put_number(&mut self.records, PARTITION_KEY_INDEX, key);
        if let Some(hash_key) = hash_key {
            put_number(&mut self.records, EXPLICIT_HASH_KEY_INDEX, hash_key);
        }
        put_bytes(&mut self.records, DATA, record.data);
        self.count += 1;
        true
    }

    /// Returns the current size of the aggregate in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let message = self.keys.fields.len() + self.hash_keys.fields.len() + self.records.len();
        MAGIC.len() + message + MD5_BYTES
    }

    /// Returns the bytes of the aggregate.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.keys.fields);
        out.extend_from_slice(&self.hash_keys.fields);
        out.extend_from_slice(&self.records);
        let md5 = Md5::digest(&out[MAGIC.len()..]);
        out.extend_from_slice(&md5);
        out
    }
}

/// Table of keys. Each key is written once.
#[derive(Debug)]
struct Table {
    field: u64,
    indices: HashMap<String, u64>,
    fields: Vec<u8>,
}

impl Table {
    fn new(field: u64) -> Self {
        Self { field, indices: HashMap::new(), fields: Vec::new() }
    }

    /// Returns the index of `key`, or the index it will get.
    fn index(&self, key: &str) -> u64 {
        self.indices.get(key).copied().unwrap_or(self.indices.len() as u64)
    }

    fn bytes_for(&self, key: &str) -> usize {
        if self.indices.contains_key(key) { 0 } else { field_bytes(key.len()) }
    }

    fn add(&mut self, key: &str) {
        if !self.indices.contains_key(key) {
            self.indices.insert(key.to_owned(), self.indices.len() as u64);
            put_bytes(&mut self.fields, self.field, key.as_bytes());
        }
    }
}
