//! A Kinesis stream: raw records, as the ingest functions make them.
//!
//! The caller makes records; one other thread delivers them, through several lanes, each of which
//! has one call in flight. A key is always in the same lane, so that its records keep their order
//! on the first delivery.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::SetUpError;
use tributary_aws::kinesis::{MAX_BYTES, MAX_ENTRIES, Stream, StreamRecord};
use tributary_aws::producer::{Delivery, Outbound, Producer};
use tributary_core::raw::RawRecordWriter;
use tributary_core::time::millis;

use super::{Item, Status, Taken, Target};

/// How long a batch is tried before the feed ends: throttling passes, a missing network does not.
const PATIENCE: Duration = Duration::from_mins(1);

/// A record waits no longer than this for others to go with.
const LINGER: Duration = Duration::from_millis(100);

/// What a stream takes unless its limit has been raised.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The time of arrival is looked up again after so many records.
const LOOK_EVERY: u64 = 64;

type Batch = Vec<Outbound<StreamRecord>>;

/// Sends raw records to a stream.
pub(crate) struct KinesisTarget {
    lanes: Vec<Lane>,
    writer: Option<(&'static str, RawRecordWriter)>,
    received_at: String,
    taken: u64,
    delivery: Arc<Shared>,
    waited: Duration,
}

/// What is gathered for one lane.
struct Lane {
    batch: Batch,
    bytes: usize,
    since: Instant,
    sender: Sender<Batch>,
}

/// What the delivering thread says.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Batches that are on their way.
    outstanding: usize,
    undelivered: u64,
    retried: u64,
    last_error: Option<String>,
    set_up: Option<String>,
    /// How long the delivering thread had nothing to do but to wait for answers.
    idle: Duration,
    idle_since: Option<Instant>,
}

impl State {
    fn end_idle(&mut self) {
        self.idle += self.idle_since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; were it so, counts would still be counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it makes no sense to send anything more.
    fn has_failed(&self) -> bool {
        let state = self.state();
        state.set_up.is_some() || state.undelivered > 0
    }

    /// One batch of `records` records is done with.
    fn done(&self, records: usize, result: Option<Result<Delivery, SetUpError>>) {
        let mut state = self.state();
        state.outstanding -= 1;
        match result {
            Some(Ok(delivery)) => {
                state.undelivered += delivery.undelivered.len() as u64;
                state.retried += delivery.retried as u64;
                state.last_error = delivery.last_error.or(state.last_error.take());
            }
            Some(Err(error)) => {
                state.undelivered += records as u64;
                state.set_up.get_or_insert(error.to_string());
            }
            None => state.undelivered += records as u64,
        }
        self.changed.notify_all();
    }
}

impl KinesisTarget {
    /// The stream `name`, with `connections` calls in flight. Region, credentials and endpoint are
    /// those of the environment.
    pub(crate) fn open(name: &str, connections: usize) -> Result<Self> {
        let delivery = Arc::new(Shared::default());
        let (parks, unparks) = (Arc::clone(&delivery), Arc::clone(&delivery));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parks.state().idle_since = Some(Instant::now()))
            .on_thread_unpark(move || unparks.state().end_idle())
            .build()
            .context("the stream cannot be written")?;
        let (lanes, receivers): (Vec<_>, Vec<_>) = (0..connections)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(1);
                let lane = Lane { batch: Batch::new(), bytes: 0, since: Instant::now(), sender };
                (lane, receiver)
            })
            .unzip();
        let (shared, name) = (Arc::clone(&delivery), name.to_owned());
        thread::spawn(move || runtime.block_on(deliver(name, receivers, shared)));
        Ok(Self {
            lanes,
            writer: None,
            received_at: String::new(),
            taken: 0,
            delivery,
            waited: Duration::ZERO,
        })
    }

    fn record(&mut self, item: &Item<'_>) -> StreamRecord {
        if self.taken.is_multiple_of(LOOK_EVERY) {
            self.received_at = millis(Timestamp::now());
        }
        self.taken += 1;
        let writer = match &mut self.writer {
            Some((dataset, writer)) if *dataset == item.dataset => writer,
            other => &mut other.insert((item.dataset, RawRecordWriter::new(item.dataset))).1,
        };
        let record_id = item.record_id();
        let data = writer.write(&record_id, &item.source(), &self.received_at, |out| {
            out.extend_from_slice(item.payload);
        });
        let key = item.key.trim();
        StreamRecord::new(if key.is_empty() { &record_id } else { key }, data)
    }

    /// Hands a lane's batch over, and waits until the lane takes it.
    fn send_lane(&mut self, lane: usize) -> Result<()> {
        let lane = &mut self.lanes[lane];
        if lane.batch.is_empty() {
            return Ok(());
        }
        lane.bytes = 0;
        let batch = std::mem::replace(&mut lane.batch, Batch::with_capacity(MAX_ENTRIES));
        self.delivery.state().outstanding += 1;
        let started = Instant::now();
        let sent = lane.sender.blocking_send(batch);
        self.waited += started.elapsed();
        if let Err(unsent) = sent {
            self.delivery.done(unsent.0.len(), None);
        }
        self.check()
    }

    fn check(&self) -> Result<()> {
        match &self.delivery.state().set_up {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        }
    }
}

impl Target for KinesisTarget {
    fn send(&mut self, item: &Item<'_>) -> Result<Taken> {
        let record = self.record(item);
        let size = record.size();
        if size > MAX_RECORD_BYTES {
            return Ok(Taken::TooLarge(size));
        }
        let mut hasher = DefaultHasher::new();
        record.partition_key.hash(&mut hasher);
        let at = (hasher.finish() % self.lanes.len() as u64) as usize;
        if self.lanes[at].bytes + size > MAX_BYTES {
            self.send_lane(at)?;
        }
        let lane = &mut self.lanes[at];
        if lane.batch.is_empty() {
            lane.since = Instant::now();
        }
        lane.bytes += size;
        lane.batch.push(Outbound { position: lane.batch.len(), entry: record });
        if lane.batch.len() == MAX_ENTRIES {
            self.send_lane(at)?;
        }
        Ok(Taken::Yes)
    }

    fn nudge(&mut self, pause: Duration) -> Result<()> {
        for lane in 0..self.lanes.len() {
            if pause >= LINGER || self.lanes[lane].since.elapsed() >= LINGER {
                self.send_lane(lane)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        for lane in 0..self.lanes.len() {
            self.send_lane(lane)?;
        }
        let started = Instant::now();
        let mut state = self.delivery.state();
        while state.outstanding > 0 {
            let changed = self.delivery.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.waited += started.elapsed();
        self.check()
    }

    fn make_safe(&mut self) -> Result<Option<u64>> {
        self.settle().map(|()| None)
    }

    fn status(&self) -> Status {
        let state = self.delivery.state();
        let (undelivered, retried) = (state.undelivered, state.retried);
        // Waiting for the delivering thread is waiting for the stream only while that waits too:
        // otherwise it signs and encodes.
        Status { undelivered, retried, waited: self.waited.min(state.idle) }
    }

    fn last_error(&self) -> Option<String> {
        self.delivery.state().last_error.clone()
    }
}

/// Delivers what comes through each lane until its sender is gone.
async fn deliver(name: String, lanes: Vec<Receiver<Batch>>, shared: Arc<Shared>) {
    let config = clients::load().await;
    let producer = Producer::new(Stream::new(clients::kinesis(&config), name, MAX_RECORD_BYTES));
    let lanes: Vec<_> = lanes
        .into_iter()
        .map(|lane| tokio::spawn(deliver_lane(lane, producer.clone(), Arc::clone(&shared))))
        .collect();
    for lane in lanes {
        // A lane ends by returning.
        let _ = lane.await;
    }
}

async fn deliver_lane(mut lane: Receiver<Batch>, producer: Producer<Stream>, shared: Arc<Shared>) {
    while let Some(batch) = lane.recv().await {
        let result = if shared.has_failed() {
            None
        } else {
            Some(producer.send(&batch, Deadline::after(PATIENCE)).await)
        };
        shared.done(batch.len(), result);
    }
}
