//! Batched puts: the capability that Kinesis, Firehose and SNS share.

use std::future::Future;

use crate::error::{CallError, is_refusal};

/// Limits of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of entries in a call.
    pub entries: usize,
    /// Maximum number of bytes in a call, as [`BatchPut::size`] counts them.
    pub bytes: usize,
    /// Maximum number of bytes in an entry.
    pub entry_bytes: usize,
}

/// Result of one entry of an accepted call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryResult {
    /// Stored by the service.
    Stored,
    /// Not stored; a retry may succeed. Carries the service's code.
    Failed(String),
    /// Permanently rejected for what it contains. Carries the service's code.
    Rejected(String),
}

impl EntryResult {
    /// Returns the result of an entry that the answer describes with an error code, or with an id
    /// if it is stored. An entry with neither has no answer from the service.
    pub(crate) fn of_answer(error_code: Option<&str>, id: Option<&str>) -> Self {
        match (error_code, id) {
            (None, Some(_)) => Self::Stored,
            (Some(code), _) if is_refusal(code) => Self::Rejected(code.to_owned()),
            (code, _) => Self::Failed(code.unwrap_or("no_answer").to_owned()),
        }
    }
}

/// Service that accepts entries in batches and returns a result for each.
pub trait BatchPut: Send + Sync {
    /// Type of the entries.
    type Entry: Send + Sync;

    /// Name of the operation in messages.
    const OPERATION: &'static str;

    /// Returns the limits of one call.
    fn limits(&self) -> Limits;

    /// Returns the number of bytes that an entry counts for.
    fn size(&self, entry: &Self::Entry) -> usize;

    /// Returns the key that orders the entry, for services that order by key.
    fn key<'e>(&self, _entry: &'e Self::Entry) -> Option<&'e str> {
        None
    }

    /// Puts entries with one call and returns one result for each, in order. The caller checks the
    /// length of the answer.
    ///
    /// # Errors
    ///
    /// Returns an error if the call as a whole failed; some or all entries may be stored all the
    /// same.
    fn put(
        &self,
        entries: &[&Self::Entry],
    ) -> impl Future<Output = Result<Vec<EntryResult>, CallError>> + Send;
}
