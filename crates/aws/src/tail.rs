//! Stream reader for the CLI: reads shard by shard, without an event source mapping.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::operation::get_shard_iterator::builders::GetShardIteratorFluentBuilder;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{self, ShardIteratorType};
use jiff::Timestamp;
use thiserror::Error;

use crate::error::CallError;

const LIST_SHARDS: &str = "kinesis:ListShards";
const GET_SHARD_ITERATOR: &str = "kinesis:GetShardIterator";
const GET_RECORDS: &str = "kinesis:GetRecords";

/// Start position of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Records that arrive from now on.
    Latest,
    /// From the oldest record that the stream retains.
    Oldest,
    /// From the first record that arrived at this time or later.
    At(Timestamp),
    /// After the record of this sequence number.
    After(String),
}

/// Shard and its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Id of the shard.
    pub id: String,
    /// Shard it was split from, or two it was merged from. The stream may no longer list them.
    pub parents: Vec<String>,
    /// True while the shard accepts records.
    pub is_open: bool,
}

/// Stored record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Sequence number in the shard.
    pub sequence_number: String,
    /// Partition key, which decided the shard.
    pub partition_key: String,
    /// Arrival time.
    pub arrived_at: Timestamp,
    /// Data of the record.
    pub data: Vec<u8>,
}

/// Result of one `GetRecords` call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Records in the order of the shard.
    pub records: Vec<Record>,
    /// Iterator of the next page; `None` when the shard is closed and fully read.
    pub next: Option<String>,
    /// Child shards that continue the keys of a closed shard.
    pub children: Vec<Shard>,
    /// Lag behind the newest record of the shard.
    pub behind: Duration,
}

/// Error of reading a page.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PageError {
    /// The iterator is older than five minutes.
    #[error("the shard iterator has expired")]
    Expired,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Reads one stream.
///
/// See <https://docs.aws.amazon.com/streams/latest/dev/developing-consumers-with-sdk.html>.
#[derive(Clone, Debug)]
pub struct Reader {
    client: Client,
    stream: String,
}

impl Reader {
    /// Creates a reader of `stream`. It does not retry: the caller decides how long to wait.
    #[must_use]
    pub fn new(client: Client, stream: String) -> Self {
        Self { client, stream }
    }

    /// Returns every shard that the stream lists, open or closed.
    ///
    /// # Errors
    ///
    /// [`CallError`], with the stream where it is the fault.
    pub async fn shards(&self) -> Result<Vec<Shard>, CallError> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            // The service accepts a name or a token, not both.
            let name = token.is_none().then(|| self.stream.clone());
            let request = self.client.list_shards().set_stream_name(name).set_next_token(token);
            let answer = request.send().await;
            let answer = answer.map_err(CallError::from_sdk(LIST_SHARDS, &self.stream))?;
            shards.extend(answer.shards.into_iter().flatten().map(Shard::from));
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    /// Returns an iterator of a shard, which is valid for 5 minutes.
    ///
    /// # Errors
    ///
    /// [`CallError`], with the stream where it is the fault.
    pub async fn iterator(&self, shard: &str, start: &Start) -> Result<String, CallError> {
        let request = self.client.get_shard_iterator().stream_name(&self.stream).shard_id(shard);
        let answer = begun(request, start).send().await;
        let answer = answer.map_err(CallError::from_sdk(GET_SHARD_ITERATOR, &self.stream))?;
        let message = "an answer without an iterator";
        let missing = || CallError::retryable(GET_SHARD_ITERATOR, "response", message);
        answer.shard_iterator.ok_or_else(missing)
    }

    /// Reads the next records of an iterator.
    ///
    /// # Errors
    ///
    /// [`PageError`], which says whether another iterator is needed.
    pub async fn page(&self, iterator: &str) -> Result<Page, PageError> {
        let answer = self.client.get_records().shard_iterator(iterator).send().await;
        let answer = answer.map_err(|error| {
            let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
            if code == Some("ExpiredIteratorException") {
                PageError::Expired
            } else {
                CallError::from_sdk(GET_RECORDS, &self.stream)(error).into()
            }
        })?;
        let behind = u64::try_from(answer.millis_behind_latest.unwrap_or(0)).unwrap_or(0);
        let children = answer.child_shards.into_iter().flatten();
        Ok(Page {
            records: answer.records.into_iter().map(Record::from).collect(),
            next: answer.next_shard_iterator.filter(|next| !next.is_empty()),
            children: children.map(Shard::from).collect(),
            behind: Duration::from_millis(behind),
        })
    }
}

fn begun(request: GetShardIteratorFluentBuilder, start: &Start) -> GetShardIteratorFluentBuilder {
    match start {
        Start::Latest => request.shard_iterator_type(ShardIteratorType::Latest),
        Start::Oldest => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        Start::At(time) => request
            .shard_iterator_type(ShardIteratorType::AtTimestamp)
            .timestamp(DateTime::from_millis(time.as_millisecond())),
        Start::After(number) => request
            .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
            .starting_sequence_number(number),
    }
}

impl From<types::Shard> for Shard {
    fn from(shard: types::Shard) -> Self {
        let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
        let end = shard.sequence_number_range.and_then(|range| range.ending_sequence_number);
        Self {
            id: shard.shard_id,
            parents: parents.into_iter().flatten().collect(),
            is_open: end.is_none(),
        }
    }
}

impl From<types::ChildShard> for Shard {
    fn from(child: types::ChildShard) -> Self {
        Self { id: child.shard_id, parents: child.parent_shards, is_open: true }
    }
}

impl From<types::Record> for Record {
    fn from(record: types::Record) -> Self {
        let arrived_at = record.approximate_arrival_timestamp;
        let nanos = arrived_at.map_or(0, |time| time.as_nanos());
        Self {
            sequence_number: record.sequence_number,
            partition_key: record.partition_key.unwrap_or_default(),
            arrived_at: Timestamp::from_nanosecond(nanos).unwrap_or_default(),
            data: record.data.into_inner(),
        }
    }
}
