//! Fake of a Kinesis stream for readers: shards that split and merge, iterators that expire, reads
//! that are throttled.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::server::{self, Answer, Request};

/// Records per page.
const PAGE: usize = 4;

/// Shard: its records, and those that arrive once it was read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    pub(crate) id: &'static str,
    pub(crate) parents: &'static [&'static str],
    pub(crate) is_closed: bool,
    pub(crate) records: Vec<Record>,
    pub(crate) later: Vec<Record>,
}

/// Record; `arrived` is in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) data: Vec<u8>,
    pub(crate) arrived: i64,
}

/// Fault of a read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    Throttle,
    Expire,
    Down,
}

#[derive(Default)]
struct State {
    shards: Vec<Shard>,
    faults: VecDeque<Fault>,
    names_children: bool,
    iterators: Vec<Value>,
}

/// Stream `raw`.
pub(crate) struct FakeStream {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl FakeStream {
    /// Creates a stream whose first reads have these faults.
    pub(crate) fn new(shards: Vec<Shard>, faults: &[Fault]) -> Self {
        Self::with_children(shards, faults, true)
    }

    /// Creates a stream whose last page of a shard does not name the child shards.
    pub(crate) fn silent(shards: Vec<Shard>) -> Self {
        Self::with_children(shards, &[], false)
    }

    fn with_children(shards: Vec<Shard>, faults: &[Fault], names_children: bool) -> Self {
        let faults = faults.iter().copied().collect();
        let state = State { shards, faults, names_children, iterators: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let url = server::start(move |request| shared.lock().unwrap().answer(request));
        Self { url, state }
    }

    /// Returns the requests for iterators so far.
    pub(crate) fn iterators(&self) -> Vec<Value> {
        self.state.lock().unwrap().iterators.clone()
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/"));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let operation = request.headers["x-amz-target"].rsplit('.').next().unwrap();
        let answer = match operation {
            "ListShards" if body["StreamName"] != "raw" && body["NextToken"].is_null() => {
                Err("ResourceNotFoundException")
            }
            "ListShards" => Ok(self.list_shards(&body)),
            "GetShardIterator" => Ok(self.iterator(&body)),
            "GetRecords" => match self.faults.pop_front().unwrap_or(Fault::None) {
                Fault::None => Ok(self.records(&body)),
                Fault::Throttle => Err("ProvisionedThroughputExceededException"),
                Fault::Expire => Err("ExpiredIteratorException"),
                Fault::Down => return Answer::Close,
            },
            other => unreachable!("{other}"),
        };
        let (status, body) = match answer {
            Ok(body) => (200, body),
            Err(kind) => (400, json!({ "__type": kind, "message": "no" })),
        };
        Answer::of(status, body.to_string()).with("Content-Type", "application/x-amz-json-1.1")
    }

    /// Returns one shard per page.
    fn list_shards(&self, body: &Value) -> Value {
        let at: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let shard = &self.shards[at];
        let mut numbers = json!({ "StartingSequenceNumber": "0" });
        if shard.is_closed {
            numbers["EndingSequenceNumber"] = json!("9");
        }
        let mut listed = json!({ "ShardId": shard.id, "SequenceNumberRange": numbers,
            "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" } });
        for (name, parent) in ["ParentShardId", "AdjacentParentShardId"].iter().zip(shard.parents) {
            listed[*name] = json!(parent);
        }
        let next = (at + 1 < self.shards.len()).then(|| (at + 1).to_string());
        json!({ "Shards": [listed], "NextToken": next })
    }

    fn iterator(&mut self, body: &Value) -> Value {
        assert_eq!(body["StreamName"], "raw");
        self.iterators.push(body.clone());
        let id = body["ShardId"].as_str().unwrap();
        let shard = self.shards.iter().find(|shard| shard.id == id).unwrap();
        let index = match body["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => 0,
            "LATEST" => shard.records.len(),
            "AFTER_SEQUENCE_NUMBER" => {
                let number = body["StartingSequenceNumber"].as_str().unwrap();
                number.parse::<usize>().unwrap() + 1
            }
            "AT_TIMESTAMP" => {
                let time = body["Timestamp"].as_f64().unwrap();
                let arrived = |record: &Record| f64::from(i32::try_from(record.arrived).unwrap());
                shard.records.iter().filter(|record| arrived(record) < time).count()
            }
            other => unreachable!("{other}"),
        };
        json!({ "ShardIterator": format!("{id}/{index}") })
    }

    fn records(&mut self, body: &Value) -> Value {
        let iterator = body["ShardIterator"].as_str().unwrap().to_owned();
        let (id, index) = iterator.split_once('/').unwrap();
        let index: usize = index.parse().unwrap();
        let at = self.shards.iter().position(|shard| shard.id == id).unwrap();
        let end = self.shards[at].records.len().min(index + PAGE);
        let records: Vec<_> = (index..end).map(|number| self.record(at, number)).collect();
        let is_at_end = end == self.shards[at].records.len();
        if is_at_end && records.is_empty() {
            let later = std::mem::take(&mut self.shards[at].later);
            self.shards[at].records.extend(later);
        }
        let has_ended = is_at_end && self.shards[at].is_closed;
        let mut answer = json!({ "Records": records,
            "MillisBehindLatest": if is_at_end { 0 } else { 1_000 },
            "NextShardIterator": (!has_ended).then(|| format!("{id}/{end}")) });
        if has_ended && self.names_children {
            let children = self.shards.iter().filter(|shard| shard.parents.contains(&id));
            let child = |shard: &Shard| {
                json!({ "ShardId": shard.id, "ParentShards": shard.parents,
                "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" } })
            };
            answer["ChildShards"] = children.map(child).collect();
        }
        answer
    }

    fn record(&self, shard: usize, number: usize) -> Value {
        let record = &self.shards[shard].records[number];
        json!({ "Data": base64_simd::STANDARD.encode_to_string(&record.data),
            "PartitionKey": format!("key-{number}"), "SequenceNumber": number.to_string(),
            "ApproximateArrivalTimestamp": record.arrived })
    }
}
