//! Putting many entries with one call: the capability that Kinesis, Firehose and SNS share.

use std::future::Future;

use crate::error::CallError;

/// What one call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries in a call.
    pub entries: usize,
    /// Bytes in a call, as [`BatchPut::size`] counts them.
    pub bytes: usize,
    /// Bytes in an entry.
    pub entry_bytes: usize,
}

/// What became of one entry of an accepted call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryResult {
    /// The service has it.
    Stored,
    /// Not taken; the same entry may be taken later. Carries the service's code.
    Failed(String),
    /// Never to be taken as it is. Carries the service's code.
    Rejected(String),
}

/// A service that takes entries by the batch and answers for each of them.
pub trait BatchPut: Send + Sync {
    /// What is put.
    type Entry: Send + Sync;

    /// The operation, for messages.
    const OPERATION: &'static str;

    /// What one call takes.
    fn limits(&self) -> Limits;

    /// The bytes an entry counts for.
    fn size(&self, entry: &Self::Entry) -> usize;

    /// What an entry keeps its order with, where the service has such a thing.
    fn key<'e>(&self, _entry: &'e Self::Entry) -> Option<&'e str> {
        None
    }

    /// One call: one verdict for each entry, in order. The caller does not trust the length of the
    /// answer.
    ///
    /// # Errors
    ///
    /// When the call as a whole failed; some or all entries may have been stored all the same.
    fn put(
        &self,
        entries: &[&Self::Entry],
    ) -> impl Future<Output = Result<Vec<EntryResult>, CallError>> + Send;
}
