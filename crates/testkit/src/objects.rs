//! In-memory bucket.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tributary_aws::error::CallError;
use tributary_aws::s3::{ObjectName, ObjectStore, Piece, ReadError};

/// Objects by key, in one unversioned bucket.
#[derive(Debug, Default)]
pub struct MemoryObjects(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    objects: HashMap<String, Stored>,
    /// Changes before the n-th read, counted from 0.
    changes: HashMap<usize, (String, Option<Vec<u8>>)>,
    /// Failing reads, counted from 0.
    failures: Range<usize>,
    ranges: Vec<Range<u64>>,
}

#[derive(Debug)]
struct Stored {
    bytes: Vec<u8>,
    etag: String,
}

impl Stored {
    fn new(bytes: Vec<u8>) -> Self {
        let etag = tributary_model::id::Id::of([bytes.as_slice()]).to_string();
        Self { bytes, etag }
    }
}

impl MemoryObjects {
    /// Creates a bucket with one object.
    pub fn with(key: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let objects = Self::default();
        objects.state().objects.insert(key.to_owned(), Stored::new(bytes.into()));
        objects
    }

    /// Puts `bytes` at `key`, or deletes the object, immediately before the given read.
    #[must_use]
    pub fn change_before(self, read: usize, key: &str, bytes: Option<&[u8]>) -> Self {
        self.state().changes.insert(read, (key.to_owned(), bytes.map(<[u8]>::to_vec)));
        self
    }

    /// Makes the given reads fail as if the service were down.
    #[must_use]
    pub fn failing(self, reads: Range<usize>) -> Self {
        self.state().failures = reads;
        self
    }

    /// Returns the ranges that were read.
    pub fn ranges(&self) -> Vec<Range<u64>> {
        self.state().ranges.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectStore for MemoryObjects {
    async fn read(&self, object: &ObjectName, range: Range<u64>) -> Result<Piece, ReadError> {
        let mut state = self.state();
        let number = state.ranges.len();
        state.ranges.push(range.clone());
        match state.changes.remove(&number) {
            Some((key, Some(bytes))) => drop(state.objects.insert(key, Stored::new(bytes))),
            Some((key, None)) => drop(state.objects.remove(&key)),
            None => {}
        }
        if state.failures.contains(&number) {
            return Err(CallError::Retryable {
                operation: "s3:GetObject",
                code: "InternalError".into(),
                message: "we encountered an internal error".into(),
            }
            .into());
        }
        let stored = state.objects.get(&object.key).ok_or(ReadError::Missing)?;
        if object.etag.as_ref().is_some_and(|etag| *etag != stored.etag) {
            return Err(ReadError::Changed);
        }
        let length = stored.bytes.len();
        let start = usize::try_from(range.start).unwrap_or(length).min(length);
        let end = usize::try_from(range.end).unwrap_or(length).clamp(start, length);
        Ok(Piece {
            bytes: stored.bytes[start..end].to_vec(),
            object_bytes: length as u64,
            version_id: None,
            etag: Some(stored.etag.clone()),
        })
    }
}
