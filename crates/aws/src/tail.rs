//! A stream read shard by shard, without an event source mapping: what a person looks at.

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

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Latest,
    /// With the oldest record that the stream still has.
    Oldest,
    /// With the first record that arrived at this time or later.
    At(Timestamp),
    /// After the record of this sequence number.
    After(String),
}

/// A shard and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The id.
    pub id: String,
    /// The shard it was split from, or the two it was merged of; the stream may not have them any more.
    pub parents: Vec<String>,
    /// Whether it takes records.
    pub is_open: bool,
}

/// One record of a stream, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number in the shard.
    pub sequence_number: String,
    /// What decided its shard.
    pub partition_key: String,
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What one call read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Records in the order of the shard.
    pub records: Vec<Record>,
    /// Where to read on; `None` when the shard has ended.
    pub next: Option<String>,
    /// Where the keys of a shard that has ended go on.
    pub children: Vec<Shard>,
    /// How far behind the newest record this is.
    pub behind: Duration,
}

/// Why a page could not be read.
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
    /// A reader of `stream`. It does not retry: who reads knows how long to wait.
    #[must_use]
    pub fn new(client: Client, stream: String) -> Self {
        Self { client, stream }
    }

    /// Every shard that the stream has or still remembers.
    ///
    /// # Errors
    ///
    /// [`CallError`], with the stream where it is the fault.
    pub async fn shards(&self) -> Result<Vec<Shard>, CallError> {
        let mut shards = Vec::new();
        let mut token: Option<String> = None;
        loop {
            // The service takes either of the two.
            let name = token.is_none().then(|| self.stream.clone());
            let request = self.client.list_shards().set_stream_name(name).set_next_token(token);
            let answer = request.send().await;
            let answer =
                answer.map_err(|error| CallError::from_sdk(LIST_SHARDS, &self.stream, &error))?;
            shards.extend(answer.shards.into_iter().flatten().map(Shard::from));
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(shards);
            }
        }
    }

    /// An iterator of a shard, which is good for five minutes.
    ///
    /// # Errors
    ///
    /// [`CallError`], with the stream where it is the fault.
    pub async fn iterator(&self, shard: &str, start: &Start) -> Result<String, CallError> {
        let request = self.client.get_shard_iterator().stream_name(&self.stream).shard_id(shard);
        let answer = begun(request, start).send().await;
        let answer = answer
            .map_err(|error| CallError::from_sdk(GET_SHARD_ITERATOR, &self.stream, &error))?;
        answer.shard_iterator.ok_or_else(|| CallError::Retryable {
            operation: GET_SHARD_ITERATOR,
            code: "response".to_owned(),
            message: "an answer without an iterator".to_owned(),
        })
    }

    /// The next records of an iterator.
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
                CallError::from_sdk(GET_RECORDS, &self.stream, &error).into()
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
