//! Amazon Data Firehose.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;

use crate::error::{CallError, SetupError};
use crate::put::{BatchPut, EntryResult, Limits};

/// Maximum length of a record: 1,000 KiB.
///
/// See <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>.
pub const MAX_RECORD_BYTES: usize = 1_000 * 1024;

/// Limits of a `PutRecordBatch` call.
///
/// See <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>.
pub const LIMITS: Limits =
    Limits { entries: 500, bytes: 4 * 1024 * 1024, entry_bytes: MAX_RECORD_BYTES };

/// Firehose delivery stream. Its entries are lines that include their newline: the service adds
/// none.
#[derive(Clone, Debug)]
pub struct DeliveryStream {
    client: Client,
    name: String,
}

impl DeliveryStream {
    /// Creates a sink for the delivery stream `name`.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl BatchPut for DeliveryStream {
    type Entry = Vec<u8>;

    const OPERATION: &'static str = "firehose:PutRecordBatch";

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn size(&self, entry: &Vec<u8>) -> usize {
        entry.len()
    }

    async fn put(&self, entries: &[&Vec<u8>]) -> Result<Vec<EntryResult>, CallError> {
        let records = entries
            .iter()
            .map(|entry| Record::builder().data(Blob::new(entry.as_slice())).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| SetupError::request(Self::OPERATION, &self.name, &error))?;
        let answer = self
            .client
            .put_record_batch()
            .delivery_stream_name(&self.name)
            .set_records(Some(records))
            .send()
            .await
            .map_err(CallError::from_sdk(Self::OPERATION, &self.name))?;
        let answers = answer.request_responses().iter();
        Ok(answers.map(|it| EntryResult::of_answer(it.error_code(), it.record_id())).collect())
    }
}
