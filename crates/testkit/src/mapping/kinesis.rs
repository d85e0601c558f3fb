//! Event source mapping of a stream.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html>
//! (settings),
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html> (the
//! lowest reported number is the checkpoint; with bisecting the batch is split there) and
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html> (parked
//! batches).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::{Reported, pause};
use crate::clock;
use crate::fault::Fault;
use crate::lambda::{Failure, Lambda};
use crate::service::{SimBucket, SimStream, Stored};

/// Maximum size of an invocation's payload, base64 included.
const PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// Size of a record in a payload without its data and key.
const RECORD_OVERHEAD: usize = 500;

/// Polling interval of a shard.
const POLL: Duration = Duration::from_secs(1);

/// Settings of a mapping, named as in the template.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `BatchSize`.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`.
    pub batching_window: Duration,
    /// `ParallelizationFactor`.
    pub parallelization_factor: usize,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// `MaximumRetryAttempts`; `None` is -1, unlimited.
    pub max_retries: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; `None` is -1, unlimited.
    pub max_age: Option<Duration>,
    /// True if `FunctionResponseTypes` contains `ReportBatchItemFailures`.
    pub reports_failures: bool,
    /// `FilterCriteria`, as one pattern for `data`: fields with their accepted values.
    pub filter: Option<Value>,
}

/// Simulated mapping of a stream.
pub struct KinesisMapping {
    uuid: String,
    stream: Arc<SimStream>,
    lambda: Lambda,
    settings: Settings,
    on_failure: Arc<SimBucket>,
    parked: Cell<u64>,
    redelivered: Cell<u64>,
    begun: RefCell<BTreeSet<usize>>,
    /// Number of lanes, by shard, that have not reached its end.
    open_lanes: RefCell<Vec<usize>>,
    /// Position of each lane of each shard, as an index into the shard.
    positions: RefCell<Vec<Vec<usize>>>,
    is_stopped: Cell<bool>,
}

/// Consecutive records that are tried together.
struct Attempt {
    records: Vec<Arc<Stored>>,
    /// Number of previous attempts, bisections not counted.
    count: u32,
}

impl KinesisMapping {
    /// Creates a mapping of `stream` to `lambda`; parked batches go to `on_failure`.
    #[must_use]
    pub fn new(
        uuid: &str,
        stream: Arc<SimStream>,
        lambda: Lambda,
        settings: Settings,
        on_failure: Arc<SimBucket>,
    ) -> Rc<Self> {
        Rc::new(Self {
            uuid: uuid.to_owned(),
            stream,
            lambda,
            settings,
            on_failure,
            parked: Cell::new(0),
            redelivered: Cell::new(0),
            begun: RefCell::default(),
            open_lanes: RefCell::default(),
            positions: RefCell::default(),
            is_stopped: Cell::new(false),
        })
    }

    /// Polls until stopped. Must run on a `LocalSet`.
    pub async fn run(self: Rc<Self>) {
        while !self.is_stopped.get() {
            for shard in 0..self.stream.shard_count() {
                if self.is_ready(shard) && self.begun.borrow_mut().insert(shard) {
                    self.begin(shard);
                }
            }
            sleep(POLL).await;
        }
    }

    /// Stops the mapping.
    pub fn stop(&self) {
        self.is_stopped.set(true);
        self.stream.wake_readers();
    }

    /// Returns true if every record was processed or parked.
    pub fn is_drained(&self) -> bool {
        let positions = self.positions.borrow();
        (0..self.stream.shard_count()).all(|shard| {
            match positions.get(shard).filter(|lanes| !lanes.is_empty()) {
                Some(lanes) => lanes.iter().all(|&at| self.is_at_end(shard, at)),
                None => self.is_at_end(shard, 0),
            }
        })
    }

    /// Returns the number of records parked at the on-failure destination.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.get()
    }

    /// Returns the number of redelivered records.
    #[must_use]
    pub fn redelivered(&self) -> u64 {
        self.redelivered.get()
    }

    fn is_at_end(&self, shard: usize, at: usize) -> bool {
        self.stream.read(shard, at, 1).is_none_or(|(_, records)| records.is_empty())
    }

    /// Returns true if all parents of a shard have been read to their ends.
    fn is_ready(&self, shard: usize) -> bool {
        let (begun, open) = (self.begun.borrow(), self.open_lanes.borrow());
        let is_done = |parent: &usize| begun.contains(parent) && open.get(*parent) == Some(&0);
        self.stream.parents(shard).iter().all(is_done)
    }

    fn begin(self: &Rc<Self>, shard: usize) {
        let lanes = self.settings.parallelization_factor.max(1);
        let mut open = self.open_lanes.borrow_mut();
        let shards = open.len().max(shard + 1);
        open.resize(shards, 0);
        open[shard] = lanes;
        let mut positions = self.positions.borrow_mut();
        positions.resize(shards, Vec::new());
        positions[shard] = vec![0; lanes];
        for lane in 0..lanes {
            spawn_local(self.clone().read(shard, lane));
        }
    }

    /// Reads one lane: the records of a shard whose keys belong to it, batch by batch. A key
    /// belongs to one lane, so its order is preserved.
    async fn read(self: Rc<Self>, shard: usize, lane: usize) {
        while !self.is_stopped.get() {
            let at = self.positions.borrow()[shard][lane];
            let Some((batch, next)) = self.gather(shard, lane, at).await else {
                self.open_lanes.borrow_mut()[shard] -= 1;
                return;
            };
            self.process(shard, batch).await;
            self.positions.borrow_mut()[shard][lane] = next;
        }
    }

    /// Gathers the next batch of a lane and returns it with the position after it; `None` at the
    /// end of a closed shard.
    ///
    /// A batch is complete when it is full or its first record has waited for the batching window.
    async fn gather(
        &self,
        shard: usize,
        lane: usize,
        mut at: usize,
    ) -> Option<(Vec<Arc<Stored>>, usize)> {
        let mut since = None;
        loop {
            let lanes = self.settings.parallelization_factor.max(1);
            let read = self.stream.read(shard, at, 10_000);
            let is_ended = read.is_none();
            let (start, records) = read.unwrap_or((at, Vec::new()));
            let (mut batch, mut bytes, mut next, mut is_full) = (Vec::new(), 0, start, false);
            for record in records {
                let is_own = lane_of(&record.partition_key, lanes) == lane;
                if is_own && self.passes(&record) {
                    let size = size_in_payload(&record);
                    if batch.len() >= self.settings.batch_size
                        || (!batch.is_empty() && bytes + size > PAYLOAD_BYTES)
                    {
                        is_full = true;
                        break;
                    }
                    bytes += size;
                    batch.push(record);
                }
                next += 1;
            }
            is_full |= batch.len() >= self.settings.batch_size;
            let waited = clock::elapsed().saturating_sub(since.unwrap_or(clock::elapsed()));
            if batch.is_empty() && is_ended {
                return None;
            }
            if batch.is_empty() {
                if self.is_stopped.get() {
                    return None;
                }
                if next == start {
                    self.idle().await;
                } else {
                    // Only records of other lanes or filtered ones: the lane skips them.
                    at = next;
                    self.positions.borrow_mut()[shard][lane] = next;
                    sleep(POLL).await;
                }
                continue;
            }
            if is_full || is_ended || waited >= self.settings.batching_window {
                return Some((batch, next));
            } else if since.is_none() {
                since = Some(clock::elapsed());
            }
            let at_once = self.settings.batching_window.is_zero();
            sleep(if at_once { Duration::from_millis(1) } else { POLL }).await;
        }
    }

    /// Polls an unchanged stream: waits for a change, then for the next multiple of the polling
    /// interval. A timer for each poll was half of the CPU time of a simulation.
    async fn idle(&self) {
        let begun = clock::elapsed();
        self.stream.changed().await;
        let waited = clock::elapsed() - begun;
        let polls = u32::try_from(waited.as_nanos().div_ceil(POLL.as_nanos())).unwrap_or(u32::MAX);
        sleep((POLL * polls.max(1)).saturating_sub(waited)).await;
    }

    fn passes(&self, record: &Stored) -> bool {
        let Some(pattern) = &self.settings.filter else { return true };
        // A filter on `data` drops records that are not JSON.
        serde_json::from_slice(&record.data).is_ok_and(|data: Value| matches(pattern, &data))
    }

    /// Retries a batch until each of its records is done or parked.
    async fn process(&self, shard: usize, records: Vec<Arc<Stored>>) {
        let mut attempts = VecDeque::from([Attempt { records, count: 0 }]);
        while let Some(Attempt { mut records, count }) = attempts.pop_front() {
            if self.is_stopped.get() {
                return;
            }
            let aged = self.settings.max_age.map_or(0, |max| {
                let oldest = clock::elapsed().saturating_sub(max);
                records.partition_point(|record| record.arrived < oldest)
            });
            if aged > 0 {
                let rest = records.split_off(aged);
                self.park(shard, &records, "RecordAgeExceeded", count);
                records = rest;
                if records.is_empty() {
                    continue;
                }
            }
            if count > 0 {
                self.redelivered.set(self.redelivered.get() + records.len() as u64);
                sleep(pause(count - 1)).await;
            }
            let payload = payload(shard, &records);
            let answer = self.lambda.invoke(payload.clone()).await;
            let checkpoint = self.checkpoint(&records, &answer);
            let done = checkpoint.unwrap_or(0);
            if done == records.len() {
                self.deliver_late(payload);
                continue;
            }
            records.drain(..done);
            // A partial answer splits the batch at the checkpoint; a failure of the whole batch
            // halves it.
            if self.settings.bisect && checkpoint.is_none() && records.len() > 1 {
                let second = records.split_off(records.len() / 2);
                attempts.push_front(Attempt { records: second, count });
                attempts.push_front(Attempt { records, count });
                sleep(pause(0)).await;
            } else if self.settings.max_retries.is_some_and(|max| count >= max) {
                self.park(shard, &records, "RetryAttemptsExhausted", count + 1);
            } else {
                // Splitting a batch uses no retry.
                let is_cut = self.settings.bisect && done > 0;
                let count = if is_cut { count.max(1) } else { count + 1 };
                attempts.push_front(Attempt { records, count });
            }
        }
    }

    fn reported(&self, answer: &Result<String, Failure>) -> Reported {
        match answer {
            Ok(answer) if self.settings.reports_failures => Reported::by(answer),
            Ok(_) => Reported::Nothing,
            Err(_) => Reported::Everything,
        }
    }

    /// Returns the number of completed records, or `None` if the whole batch failed.
    fn checkpoint(
        &self,
        records: &[Arc<Stored>],
        answer: &Result<String, Failure>,
    ) -> Option<usize> {
        match self.reported(answer) {
            Reported::Nothing => Some(records.len()),
            Reported::Everything => None,
            Reported::Items(items) => {
                let index = |item: &Value| {
                    let number = item.as_str()?;
                    records.iter().position(|record| record.sequence_number == number)
                };
                // A number outside the batch makes the answer invalid.
                let all: Option<Vec<_>> = items.iter().map(index).collect();
                all.and_then(|all| all.into_iter().min())
            }
        }
    }

    /// Randomly redelivers a completed batch.
    fn deliver_late(&self, payload: String) {
        let faults = self.lambda.faults();
        if faults.occurs(Fault::DuplicateBatch) {
            let wait = Duration::from_secs(faults.below(120) as u64);
            let lambda = self.lambda.clone();
            spawn_local(async move {
                sleep(wait).await;
                // The mapping ignores the answer to a duplicate.
                let _ = lambda.invoke(payload).await;
            });
        }
    }

    /// Parks records: writes the whole invocation to the on-failure destination.
    fn park(&self, shard: usize, records: &[Arc<Stored>], condition: &str, count: u32) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let number = self.parked.get();
        self.parked.set(number + records.len() as u64);
        let now = clock::now();
        let shard_id = shard_id(shard);
        let key = format!(
            "aws/lambda/{}/{shard_id}/{}-{number:012}",
            self.uuid,
            now.strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S"),
        );
        let object = json!({
            "requestContext": {
                "requestId": format!("{number:012}"),
                "functionArn": function_arn(self.lambda.name()),
                "condition": condition,
                "approximateInvokeCount": count,
            },
            "responseContext": {
                "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            "KinesisBatchInfo": {
                "shardId": shard_id,
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "approximateArrivalOfFirstRecord": first.arrived_at.to_string(),
                "approximateArrivalOfLastRecord": last.arrived_at.to_string(),
                "batchSize": records.len(),
                "streamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/simulated",
            },
            "payload": payload(shard, records),
        });
        self.on_failure.put(&key, object.to_string().into_bytes());
    }
}

/// Returns the id of a shard.
pub(crate) fn shard_id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

fn function_arn(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:function:{name}:$LATEST")
}

/// Returns the lane of a key.
fn lane_of(key: &str, lanes: usize) -> usize {
    let sum = key.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    sum % lanes
}

fn size_in_payload(record: &Stored) -> usize {
    record.data.len().div_ceil(3) * 4 + record.partition_key.len() + RECORD_OVERHEAD
}

/// Returns the payload of a batch, as a function receives it.
fn payload(shard: usize, records: &[Arc<Stored>]) -> String {
    let shard_id = shard_id(shard);
    let record = |record: &Arc<Stored>| {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit")]
        let arrived = record.arrived_at.as_millisecond() as f64 / 1e3;
        json!({
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record.partition_key,
                "sequenceNumber": record.sequence_number,
                "data": base64_simd::STANDARD.encode_to_string(&record.data),
                "approximateArrivalTimestamp": arrived,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": format!("{shard_id}:{}", record.sequence_number),
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::000000000000:role/simulated",
            "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/simulated",
        })
    };
    json!({ "Records": records.iter().map(record).collect::<Vec<_>>() }).to_string()
}

/// Returns true if `data` matches an event pattern: for each field a list of accepted values, or a
/// nested pattern.
///
/// See <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>. Of its
/// comparisons only equality is implemented.
fn matches(pattern: &Value, data: &Value) -> bool {
    let Value::Object(fields) = pattern else { return false };
    fields.iter().all(|(name, wanted)| {
        let Some(value) = data.get(name) else { return false };
        match wanted {
            Value::Array(values) => values.contains(value),
            pattern => matches(pattern, value),
        }
    })
}
