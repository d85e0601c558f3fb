//! Kinesis Data Streams.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tributary_model::bad_row::{Code, Rejection, first_chars};

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
        let key = first_chars(partition_key, MAX_KEY_CHARS);
        let partition_key = if key.is_empty() { "-" } else { key }.to_owned();
        Self { partition_key, data }
    }

    /// Returns the record, unless it has more than `max` bytes.
    ///
    /// # Errors
    ///
    /// As [`too_large`].
    pub fn within(self, max: usize) -> Result<Self, Rejection> {
        if self.size() > max { Err(too_large(self.size(), max)) } else { Ok(self) }
    }

    /// Returns the bytes that the service counts: data and partition key.
    #[must_use]
    pub fn size(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// Returns the rejection of a row whose record would have `bytes` bytes, above `max`.
#[must_use]
pub fn too_large(bytes: usize, max: usize) -> Rejection {
    let message = format!("the record would have {bytes} bytes of {max}");
    Rejection::row(Code::RowTooLarge, message)
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
            .map_err(CallError::from_sdk(Self::OPERATION, &self.name))?;
        let answers = answer.records().iter();
        Ok(answers
            .map(|it| EntryResult::of_answer(it.error_code(), it.sequence_number()))
            .collect())
    }
}
