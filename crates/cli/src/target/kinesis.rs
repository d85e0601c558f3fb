//! Kinesis stream: raw records, identical to those of the ingest functions.
//!
//! The caller creates records; one other thread delivers them through several lanes, each with one
//! call in flight. A key always uses the same lane, so that its records keep their order on the
//! first delivery.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::CallError;
use tributary_aws::kinesis::{MAX_BYTES, MAX_ENTRIES, Stream, StreamRecord};
use tributary_aws::producer::{Delivery, Outbound, Producer};
use tributary_aws::put::{BatchPut, EntryResult, Limits};
use tributary_model::raw::RawRecordWriter;
use tributary_model::time::millis;

use super::lanes::Lanes;
use super::tally::{Outcome, Tally};
use super::{Item, SendResult, Target};

/// Time limit for a batch, after which the feed ends. Throttling passes; a missing network does
/// not.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Maximum time that a record waits for others to share its request.
const LINGER: Duration = Duration::from_millis(100);

/// Maximum record size of a stream, unless its limit was raised.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Number of records that share one reading of the clock for their arrival time.
const CHECK_EVERY: u64 = 64;

type Batch = Vec<Outbound<StreamRecord>>;

/// Sends raw records to a stream.
pub(crate) struct KinesisTarget {
    gathered: Vec<Gathered>,
    lanes: Lanes<Batch>,
    writer: Option<(String, RawRecordWriter)>,
    received_at: String,
    taken: u64,
}

/// Records gathered for one lane.
struct Gathered {
    batch: Batch,
    bytes: usize,
    since: Instant,
}

impl KinesisTarget {
    /// Opens the stream `name` with `connections` calls in flight. Region, credentials and endpoint
    /// come from the environment.
    pub(crate) fn open(name: &str, connections: usize) -> Result<Self> {
        let name = name.to_owned();
        let lanes = Lanes::start(connections, |lanes, tally| deliver(name, lanes, tally))?;
        let empty = || Gathered { batch: Batch::new(), bytes: 0, since: Instant::now() };
        Ok(Self {
            gathered: (0..connections).map(|_| empty()).collect(),
            lanes,
            writer: None,
            received_at: String::new(),
            taken: 0,
        })
    }

    fn record(&mut self, item: &Item<'_>) -> StreamRecord {
        if self.taken.is_multiple_of(CHECK_EVERY) {
            self.received_at = millis(Timestamp::now());
        }
        self.taken += 1;
        let writer = match &mut self.writer {
            Some((dataset, writer)) if dataset == item.dataset => writer,
            other => {
                &mut other.insert((item.dataset.to_owned(), RawRecordWriter::new(item.dataset))).1
            }
        };
        let record_id = item.record_id();
        let data = writer.write(&record_id, &item.source(), &self.received_at, |out| {
            out.extend_from_slice(item.payload);
        });
        let key = item.key.trim();
        StreamRecord::new(if key.is_empty() { &record_id } else { key }, data)
    }

    /// Hands the gathered records to their lane, and waits until the lane accepts them.
    fn send_lane(&mut self, lane: usize) -> Result<()> {
        let gathered = &mut self.gathered[lane];
        if gathered.batch.is_empty() {
            return Ok(());
        }
        gathered.bytes = 0;
        let batch = std::mem::replace(&mut gathered.batch, Batch::with_capacity(MAX_ENTRIES));
        let records = batch.len();
        self.lanes.send(lane, batch, records)
    }
}

impl Target for KinesisTarget {
    fn send(&mut self, item: &Item<'_>) -> Result<SendResult> {
        let record = self.record(item);
        let size = record.size();
        if size > MAX_RECORD_BYTES {
            return Ok(SendResult::TooLarge(size));
        }
        let mut hasher = DefaultHasher::new();
        record.partition_key.hash(&mut hasher);
        let at = (hasher.finish() % self.gathered.len() as u64) as usize;
        if self.gathered[at].bytes + size > MAX_BYTES {
            self.send_lane(at)?;
        }
        let lane = &mut self.gathered[at];
        if lane.batch.is_empty() {
            lane.since = Instant::now();
        }
        lane.bytes += size;
        lane.batch.push(Outbound { position: lane.batch.len(), entry: record });
        if lane.batch.len() == MAX_ENTRIES {
            self.send_lane(at)?;
        }
        Ok(SendResult::Accepted)
    }

    fn flush_if_idle(&mut self, pause: Duration) -> Result<()> {
        for lane in 0..self.gathered.len() {
            if pause >= LINGER || self.gathered[lane].since.elapsed() >= LINGER {
                self.send_lane(lane)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for lane in 0..self.gathered.len() {
            self.send_lane(lane)?;
        }
        self.lanes.flush()
    }

    fn tally(&self) -> &Arc<Tally> {
        &self.lanes.tally
    }
}

/// Stream that reports the result of each call. A batch takes many calls, for up to a minute.
#[derive(Clone)]
struct ObservedStream {
    stream: Stream,
    tally: Arc<Tally>,
}

impl BatchPut for ObservedStream {
    type Entry = StreamRecord;

    const OPERATION: &'static str = Stream::OPERATION;

    fn limits(&self) -> Limits {
        self.stream.limits()
    }

    fn size(&self, entry: &StreamRecord) -> usize {
        self.stream.size(entry)
    }

    fn key<'e>(&self, entry: &'e StreamRecord) -> Option<&'e str> {
        self.stream.key(entry)
    }

    async fn put(&self, entries: &[&StreamRecord]) -> Result<Vec<EntryResult>, CallError> {
        let answer = self.stream.put(entries).await;
        match &answer {
            Err(error) => self.tally.set_stalled(error.to_string()),
            Ok(verdicts) => match verdicts.first() {
                Some(EntryResult::Failed(code)) if !verdicts.contains(&EntryResult::Stored) => {
                    self.tally.set_stalled(code.clone());
                }
                _ => self.tally.clear_stalled(),
            },
        }
        answer
    }
}

/// Delivers the batches of all lanes until their senders are dropped.
async fn deliver(name: String, lanes: Vec<Receiver<Batch>>, tally: Arc<Tally>) {
    let config = clients::load().await;
    let stream = Stream::new(clients::kinesis(&config), name, MAX_RECORD_BYTES);
    let producer = Producer::new(ObservedStream { stream, tally: Arc::clone(&tally) });
    let lane = |lane| deliver_lane(lane, producer.clone(), Arc::clone(&tally));
    let mut lanes: JoinSet<_> = lanes.into_iter().map(lane).collect();
    // Fails only if the task of a lane panicked.
    while lanes.join_next().await.is_some() {}
}

async fn deliver_lane(
    mut lane: Receiver<Batch>,
    producer: Producer<ObservedStream>,
    tally: Arc<Tally>,
) {
    while let Some(batch) = lane.recv().await {
        let result = if tally.has_failed() {
            None
        } else {
            let sent = producer.send(&batch, Deadline::after(TIMEOUT)).await;
            Some(sent.map(outcome).map_err(|error| error.to_string()))
        };
        tally.done(batch.len(), result);
    }
}

fn outcome(delivery: Delivery) -> Outcome {
    Outcome {
        undelivered: delivery.undelivered.len() as u64,
        retried: delivery.retried as u64,
        last_error: delivery.last_error,
        ..Outcome::default()
    }
}
