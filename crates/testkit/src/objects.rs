//! In-memory bucket.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use tributary_aws::error::CallError;
use tributary_aws::s3::{ObjectName, ObjectStore, Piece, ReadError};
use tributary_model::id::Id;

use crate::lock;

/// Objects by key, in one unversioned bucket.
#[derive(Debug, Default)]
pub struct MemoryObjects(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, Object>,
    /// Changes before the n-th read, counted from 0.
    changes: HashMap<usize, (String, Option<Vec<u8>>)>,
    /// Failing reads, counted from 0.
    failures: Range<usize>,
    ranges: Vec<Range<u64>>,
}

/// Bytes of an object with their `ETag`, which is computed once: a test may read byte by byte.
#[derive(Debug)]
struct Object {
    bytes: Vec<u8>,
    etag: String,
}

impl Object {
    fn new(bytes: Vec<u8>) -> Self {
        let etag = Id::of([bytes.as_slice()]).to_string();
        Self { bytes, etag }
    }
}

impl MemoryObjects {
    /// Creates a bucket with one object.
    pub fn with(key: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let objects = Self::default();
        objects.put(key, bytes);
        objects
    }

    /// Puts an object.
    pub fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.0).objects.insert(key.to_owned(), Object::new(bytes.into()));
    }

    /// Puts `bytes` at `key`, or deletes the object, immediately before the given read.
    #[must_use]
    pub fn change_before(self, read: usize, key: &str, bytes: Option<&[u8]>) -> Self {
        lock(&self.0).changes.insert(read, (key.to_owned(), bytes.map(<[u8]>::to_vec)));
        self
    }

    /// Makes the given reads fail as if the service were down.
    #[must_use]
    pub fn failing(self, reads: Range<usize>) -> Self {
        lock(&self.0).failures = reads;
        self
    }

    /// Returns the ranges that were read.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        lock(&self.0).ranges.clone()
    }
}

impl ObjectStore for MemoryObjects {
    async fn read(&self, object: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        let mut state = lock(&self.0);
        let number = state.ranges.len();
        state.ranges.push(range.clone());
        match state.changes.remove(&number) {
            Some((key, Some(bytes))) => drop(state.objects.insert(key, Object::new(bytes))),
            Some((key, None)) => drop(state.objects.remove(&key)),
            None => {}
        }
        if state.failures.contains(&number) {
            let message = "we encountered an internal error";
            return Err(CallError::retryable("s3:GetObject", "InternalError", message).into());
        }
        let Object { bytes, etag } = state.objects.get(&object.key).ok_or(ReadError::Missing)?;
        piece(object, bytes, range, None, etag.clone())
    }
}

impl ObjectStore for &MemoryObjects {
    async fn read(&self, object: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        MemoryObjects::read(self, object, range).await
    }
}

/// Returns the part of `range` that an object of these `bytes` has.
pub(crate) fn piece(
    object: &ObjectName,
    bytes: &[u8],
    range: Range<u64>,
    version_id: Option<String>,
    etag: String,
) -> Result<Piece, ReadError> {
    if object.etag.as_ref().is_some_and(|wanted| *wanted != etag) {
        return Err(ReadError::Changed);
    }
    let length = bytes.len();
    let start = usize::try_from(range.start).unwrap_or(length).min(length);
    let end = usize::try_from(range.end).unwrap_or(length).clamp(start, length);
    let (bytes, object_bytes) = (bytes[start..end].to_vec(), length as u64);
    Ok(Piece { bytes, object_bytes, version_id, etag: Some(etag) })
}
