//! Event source mapping of a stream.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-parameters.html>
//! (settings),
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html> (the
//! lowest reported number is the checkpoint; with bisecting the batch is split there) and
//! <https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html> (parked
//! batches).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::{Reported, idle, pause};
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

/// Records of a shard that were done or parked together.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Index of the shard.
    pub shard: usize,
    /// Sequence number of the first record.
    pub first: String,
    /// Sequence number of the last record.
    pub last: String,
    /// Time at which the last invocation with them began.
    pub begun: Timestamp,
    /// Time at which they were done or parked.
    pub ended: Timestamp,
    /// True if they were parked.
    pub is_parked: bool,
}

/// Simulated mapping of a stream.
pub struct KinesisMapping {
    uuid: String,
    stream: Arc<SimStream>,
    lambda: Lambda,
    settings: Settings,
    on_failure: Arc<SimBucket>,
    /// Number of records parked at the on-failure destination.
    pub parked: Cell<u64>,
    /// Number of redelivered records.
    pub redelivered: Cell<u64>,
    /// Lanes of each shard that is being read, or was read to its end.
    shards: RefCell<BTreeMap<usize, Lanes>>,
    /// Records that were done or parked, in order.
    pub settled: RefCell<Vec<Settled>>,
    is_stopped: Cell<bool>,
}

/// Lanes of a shard.
struct Lanes {
    /// Number of lanes that have not reached the end of the shard.
    open: usize,
    /// Position of each lane, as an index into the shard.
    positions: Vec<usize>,
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
            shards: RefCell::default(),
            settled: RefCell::default(),
            is_stopped: Cell::new(false),
        })
    }

    /// Polls until stopped. Must run on a `LocalSet`.
    pub async fn run(self: Rc<Self>) {
        while !self.is_stopped.get() {
            for shard in 0..self.stream.shard_count() {
                if self.is_ready(shard) {
                    self.begin(shard);
                }
            }
            idle(POLL, self.stream.changed()).await;
        }
    }

    /// Stops the mapping.
    pub fn stop(&self) {
        self.is_stopped.set(true);
        self.stream.wake_readers();
    }

    /// Returns true if every record was processed or parked.
    pub fn is_drained(&self) -> bool {
        let shards = self.shards.borrow();
        (0..self.stream.shard_count()).all(|shard| {
            let positions = shards.get(&shard).map_or(&[0][..], |lanes| &lanes.positions);
            let rest = |&at: &usize| self.stream.read(shard, at, 1);
            positions.iter().filter_map(rest).all(|(_, records)| records.is_empty())
        })
    }

    /// Returns true if a shard is not read yet, but all its parents have been, to their ends.
    fn is_ready(&self, shard: usize) -> bool {
        let shards = self.shards.borrow();
        let is_done = |parent| shards.get(parent).is_some_and(|lanes| lanes.open == 0);
        !shards.contains_key(&shard) && self.stream.parents(shard).iter().all(is_done)
    }

    fn begin(self: &Rc<Self>, shard: usize) {
        let open = self.settings.parallelization_factor.max(1);
        self.shards.borrow_mut().insert(shard, Lanes { open, positions: vec![0; open] });
        for lane in 0..open {
            spawn_local(self.clone().read(shard, lane));
        }
    }

    /// Calls `change` with the lanes of a shard that is being read.
    fn with_lanes<T>(&self, shard: usize, change: impl FnOnce(&mut Lanes) -> T) -> Option<T> {
        self.shards.borrow_mut().get_mut(&shard).map(change)
    }

    /// Reads one lane: the records of a shard whose keys belong to it, batch by batch. A key
    /// belongs to one lane, so its order is preserved.
    async fn read(self: Rc<Self>, shard: usize, lane: usize) {
        let mut at = 0;
        while !self.is_stopped.get() {
            let Some((batch, next)) = self.gather(shard, lane, at).await else {
                self.with_lanes(shard, |lanes| lanes.open -= 1);
                self.stream.wake_readers();
                return;
            };
            self.process(shard, batch).await;
            self.with_lanes(shard, |lanes| lanes.positions[lane] = next);
            at = next;
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
            let (start, records) = self.stream.read(shard, at, 10_000)?;
            let (mut batch, mut bytes, mut next, mut is_full) = (Vec::new(), 0, start, false);
            for record in records {
                let is_own = lane_of(&record.partition_key, lanes) == lane;
                if is_own && self.passes(&record) {
                    let (data, key) = (record.data.len(), record.partition_key.len());
                    let size = data.div_ceil(3) * 4 + key + RECORD_OVERHEAD;
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
            if batch.is_empty() {
                if self.is_stopped.get() {
                    return None;
                }
                if next == start {
                    idle(POLL, self.stream.changed()).await;
                } else {
                    // Only records of other lanes or filtered ones: the lane skips them.
                    at = next;
                    self.with_lanes(shard, |lanes| lanes.positions[lane] = next);
                    sleep(POLL).await;
                }
                continue;
            }
            let since = *since.get_or_insert_with(clock::elapsed);
            let waited = clock::elapsed().saturating_sub(since);
            if is_full || waited >= self.settings.batching_window {
                return Some((batch, next));
            }
            let at_once = self.settings.batching_window.is_zero();
            sleep(if at_once { Duration::from_millis(1) } else { POLL }).await;
        }
    }

    fn passes(&self, record: &Stored) -> bool {
        let Some(pattern) = &self.settings.filter else { return true };
        // A filter on `data` drops records that are not JSON.
        serde_json::from_slice(&record.data).is_ok_and(|data: Value| matches(pattern, &data))
    }

    /// Retries a batch until each of its records is done or parked.
    async fn process(&self, shard: usize, records: Vec<Arc<Stored>>) {
        // Records that are tried together, with the number of their attempts so far. Splitting a
        // batch is no attempt.
        let mut attempts = vec![(records, 0)];
        while let Some((mut records, count)) = attempts.pop() {
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
            let begun = clock::now();
            let answer = self.lambda.invoke(payload.clone()).await;
            let checkpoint = self.checkpoint(&records, &answer);
            let done = checkpoint.unwrap_or(0);
            self.settle(shard, &records[..done], begun, false);
            if done == records.len() {
                self.deliver_late(payload);
                continue;
            }
            records.drain(..done);
            // A partial answer splits the batch at the checkpoint; a failure of the whole batch
            // halves it.
            if self.settings.bisect && checkpoint.is_none() && records.len() > 1 {
                let second = records.split_off(records.len() / 2);
                attempts.extend([(second, count), (records, count)]);
                sleep(pause(0)).await;
            } else if self.settings.max_retries.is_some_and(|max| count >= max) {
                self.park(shard, &records, "RetryAttemptsExhausted", count + 1);
            } else {
                // Splitting a batch uses no retry.
                let is_cut = self.settings.bisect && done > 0;
                let count = if is_cut { count.max(1) } else { count + 1 };
                attempts.push((records, count));
            }
        }
    }

    /// Returns the number of completed records, or `None` if the whole batch failed.
    fn checkpoint(
        &self,
        records: &[Arc<Stored>],
        answer: &Result<String, Failure>,
    ) -> Option<usize> {
        let reported = match answer {
            Ok(answer) if self.settings.reports_failures => Reported::by(answer),
            Ok(_) => Reported::Nothing,
            Err(_) => Reported::Everything,
        };
        match reported {
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

    fn settle(&self, shard: usize, records: &[Arc<Stored>], begun: Timestamp, is_parked: bool) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let [first, last] = [first, last].map(|record| record.sequence_number.clone());
        let ended = clock::now();
        self.settled.borrow_mut().push(Settled { shard, first, last, begun, ended, is_parked });
    }

    /// Randomly redelivers a completed batch.
    fn deliver_late(&self, payload: String) {
        let faults = &self.lambda.faults;
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
        self.settle(shard, records, now, true);
        let shard_id = shard_id(shard);
        let key = format!(
            "aws/lambda/{}/{shard_id}/{}-{number:012}",
            self.uuid,
            now.strftime("%Y/%m/%d/%Y-%m-%dT%H.%M.%S"),
        );
        let function_arn =
            format!("arn:aws:lambda:us-east-1:000000000000:function:{}:$LATEST", self.lambda.name);
        let object = json!({
            "requestContext": {
                "requestId": format!("{number:012}"),
                "functionArn": function_arn,
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

/// Returns the lane of a key.
fn lane_of(key: &str, lanes: usize) -> usize {
    let sum = key.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    sum % lanes
}

/// Returns the payload of a batch, as a function receives it. Written as text: a tree of values
/// was a tenth of the CPU time of a simulation.
fn payload(shard: usize, records: &[Arc<Stored>]) -> String {
    let shard_id = shard_id(shard);
    let mut text = String::from("{\"Records\":[");
    for (index, record) in records.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let Stored { sequence_number, partition_key, data, arrived_at, .. } = &**record;
        let milliseconds = arrived_at.as_millisecond();
        let (seconds, rest) = (milliseconds / 1_000, milliseconds % 1_000);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"{comma}{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":{},"sequenceNumber":"{sequence_number}","data":""#,
            json!(partition_key),
        );
        base64_simd::STANDARD.encode_append(data, &mut text);
        let _ = write!(
            text,
            r#"","approximateArrivalTimestamp":{seconds}.{rest:03}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"{shard_id}:{sequence_number}","eventName":"aws:kinesis:record","invokeIdentityArn":"arn:aws:iam::000000000000:role/simulated","awsRegion":"us-east-1","eventSourceARN":"arn:aws:kinesis:us-east-1:000000000000:stream/simulated"}}"#,
        );
    }
    text.push_str("]}");
    text
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
