//! Kinesis Data Streams.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use crate::error::{CallError, SetupError};
use crate::put::{BatchPut, EntryResult, Limits};

/// Maximum number of records of a `PutRecords` call.
///
/// See <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>.
pub const MAX_ENTRIES: usize = 500;

/// Maximum number of bytes of a `PutRecords` call, partition keys included. The service accepts 10
/// MiB since 2025; half of it keeps a call short enough to be worth a retry.
pub const MAX_BYTES: usize = 5 * 1024 * 1024;

/// Maximum length of a partition key, in characters.
pub const MAX_KEY_CHARS: usize = 256;

/// Record to put into a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRecord {
    /// Partition key, which decides the shard. [`StreamRecord::new`] cuts it to [`MAX_KEY_CHARS`].
    pub partition_key: String,
    /// Data of the record.
    pub data: Vec<u8>,
}

impl StreamRecord {
    /// Creates a record whose key the service accepts: not empty, and at most [`MAX_KEY_CHARS`]
    /// long.
    #[must_use]
    pub fn new(partition_key: &str, data: Vec<u8>) -> Self {
        let end =
            partition_key.char_indices().nth(MAX_KEY_CHARS).map_or(partition_key.len(), |c| c.0);
        let partition_key = match &partition_key[..end] {
            "" => "-".to_owned(),
            key => key.to_owned(),
        };
        Self { partition_key, data }
    }

    /// Returns the bytes that the service counts: data and partition key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// Kinesis stream.
#[derive(Clone, Debug)]
pub struct Stream {
    client: Client,
    name: String,
    max_record_bytes: usize,
}

impl Stream {
    /// Creates a sink for the stream `name`. A record may have `max_record_bytes`, partition key
    /// included.
    #[must_use]
    pub fn new(client: Client, name: String, max_record_bytes: usize) -> Self {
        Self { client, name, max_record_bytes }
    }
}

impl BatchPut for Stream {
    type Entry = StreamRecord;

    const OPERATION: &'static str = "kinesis:PutRecords";

    fn limits(&self) -> Limits {
        let entry_bytes = self.max_record_bytes;
        Limits { entries: MAX_ENTRIES, bytes: MAX_BYTES.max(entry_bytes), entry_bytes }
    }

    fn size(&self, entry: &StreamRecord) -> usize {
        entry.size()
    }

    fn key<'e>(&self, entry: &'e StreamRecord) -> Option<&'e str> {
        Some(&entry.partition_key)
    }

    async fn put(&self, entries: &[&StreamRecord]) -> Result<Vec<EntryResult>, CallError> {
        let records = entries
            .iter()
            .map(|entry| {
                PutRecordsRequestEntry::builder()
                    .data(Blob::new(entry.data.as_slice()))
                    .partition_key(&entry.partition_key)
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SetupError::request(Self::OPERATION, &self.name, &error))?;
        let answer = self
            .client
            .put_records()
            .stream_name(&self.name)
            .set_records(Some(records))
            .send()
            .await
            .map_err(|error| CallError::from_sdk(Self::OPERATION, &self.name, &error))?;
        Ok(answer.records().iter().map(|r| verdict(r.error_code(), r.sequence_number())).collect())
    }
}

/// Maps an answer's entry to a result. An entry is stored if it has a sequence number and no error
/// code. An entry with neither has no answer from the service.
fn verdict(error_code: Option<&str>, sequence_number: Option<&str>) -> EntryResult {
    match (error_code, sequence_number) {
        (None, Some(_)) => EntryResult::Stored,
        (Some(code), _) => EntryResult::Failed(code.to_owned()),
        (None, None) => EntryResult::Failed("no_answer".to_owned()),
    }
}
