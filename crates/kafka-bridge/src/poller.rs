//! Poll loop: consumes, invokes, commits.
//!
//! Consumed records, including failed ones, wait in memory until the function has them. Nothing is
//! fetched a second time unless the partition moved to another member of the group. An offset is
//! committed once everything before it was delivered, so the next consumer begins with the first
//! undelivered record.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _, Timestamp};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde::Serialize;
use thiserror::Error;
use tokio::runtime::{self, Runtime};

use crate::answer::{self, FailedOffsets};
use crate::batch::{Partition, Queue, Record};
use crate::payload::{self, Base64, Header, Message};
use crate::settings::Settings;

/// Time that one poll waits for records when there is nothing to do.
const POLL_WAIT: Duration = Duration::from_millis(100);

/// Session timeout: the group reassigns the partitions of a member that sends no heartbeat for this
/// long, in milliseconds.
const SESSION_MS: &str = "6000";

/// Maximum time between two polls before the group reassigns the partitions, in milliseconds.
/// Longer than a function runs.
const MAX_POLL_INTERVAL_MS: &str = "960000";

/// Time limit for a broker to report the end offset of a partition.
const WATERMARKS: Duration = Duration::from_secs(5);

/// Time limit for the last commit.
const LAST_COMMIT: Duration = Duration::from_secs(15);

/// Delay between a failed commit and its retry.
const COMMIT_AGAIN: Duration = Duration::from_millis(250);

/// Number of full batches by which consumption may run ahead of the function.
const PREFETCHED_BATCHES: usize = 2;

/// Report of a finished run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Delivered records, each counted once.
    pub records: u64,
    /// Calls that the function answered.
    pub batches: u64,
    /// All calls.
    pub calls: u64,
    /// Calls that failed as a whole.
    pub failed_calls: u64,
    /// Partitions with a failed record in an answer.
    pub cut_partitions: u64,
    /// Number of repeated deliveries of records.
    pub redelivered: u64,
    /// Commits that the brokers rejected; the poller retried them.
    pub failed_commits: u64,
    /// Skipped offsets: the broker no longer had them, or they were no records.
    pub skipped: u64,
    /// Partitions with uncommitted deliveries; Kafka redelivers those to the next consumer.
    pub uncommitted: u64,
    /// Committed offset of each partition, that is the next record to deliver.
    pub committed: BTreeMap<String, i64>,
}

/// Errors that stop a poller.
#[derive(Debug, Error)]
pub enum PollerError {
    /// Client that could not be created or subscribed.
    #[error("kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// Missing runtime for the function's calls.
    #[error("no runtime: {0}")]
    Runtime(#[from] io::Error),
    /// Record that exceeds the payload limit of any function.
    #[error("{partition} offset {offset} would be a payload of {bytes} bytes of {max}")]
    TooLarge {
        /// Partition of the record.
        partition: Partition,
        /// Offset of the record.
        offset: i64,
        /// Bytes of its payload.
        bytes: usize,
        /// Maximum number of bytes of a payload.
        max: usize,
    },
}

/// Listener for partitions that are no longer assigned.
#[derive(Default)]
struct RebalanceListener {
    lost: Mutex<BTreeSet<Partition>>,
    rebalanced: AtomicBool,
}

impl ClientContext for RebalanceListener {}

impl ConsumerContext for RebalanceListener {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        self.rebalanced.store(true, Ordering::Relaxed);
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.extend(
                partitions.elements().iter().map(|it| Partition::new(it.topic(), it.partition())),
            );
        }
    }
}

/// Poller that delivers topics to a function.
pub struct Poller<F> {
    settings: Settings,
    consumer: BaseConsumer<RebalanceListener>,
    function: F,
    runtime: Runtime,
    queues: BTreeMap<String, Queue>,
    progress: BTreeMap<Partition, PartitionProgress>,
    is_paused: bool,
    last_activity: Instant,
    commit_at: Instant,
    report: Report,
    trouble: fn(&str),
}

/// Progress of a partition, as offsets of the next record.
#[derive(Debug, Default)]
struct PartitionProgress {
    /// Next offset to consume.
    consumed: Option<i64>,
    /// Next offset to hand over for the first time.
    next_offset: i64,
    /// Next offset to deliver for the first time.
    delivered: i64,
    /// Offset to commit, if it is not committed yet.
    dirty: Option<i64>,
}

impl<F: AsyncFn(String) -> Result<String, String>> Poller<F> {
    /// Joins the group. `function` receives a payload and returns its answer, which may be empty;
    /// after an error, nothing is known to be delivered. Errors that are retried are reported to
    /// `trouble`, a line each.
    ///
    /// # Errors
    ///
    /// Returns an error if the client cannot be created. Brokers that do not answer are waited for.
    pub fn new(settings: Settings, function: F, trouble: fn(&str)) -> Result<Self, PollerError> {
        let consumer: BaseConsumer<RebalanceListener> = ClientConfig::new()
            .set("bootstrap.servers", &settings.brokers)
            .set("client.id", "kafka-bridge")
            .set("group.id", &settings.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", SESSION_MS)
            .set("heartbeat.interval.ms", "1000")
            .set("max.poll.interval.ms", MAX_POLL_INTERVAL_MS)
            .set("reconnect.backoff.max.ms", "1000")
            // A topic may be created after its poller was started.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("allow.auto.create.topics", "true")
            .create_with_context(RebalanceListener::default())?;
        let topics: Vec<_> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let now = Instant::now();
        Ok(Self {
            queues: settings.topics.iter().map(|it| (it.clone(), Queue::default())).collect(),
            settings,
            consumer,
            function,
            runtime,
            progress: BTreeMap::new(),
            is_paused: false,
            last_activity: now,
            commit_at: now,
            report: Report::default(),
            trouble,
        })
    }

    /// Runs until `stop` is set, or until idle if so configured. Waits for a call in progress.
    /// Records that were not handed over are left to the next consumer.
    ///
    /// # Errors
    ///
    /// Returns an error if a record can never be handed over. Deliveries before it are committed.
    pub fn run(mut self, stop: &AtomicBool) -> Result<Report, PollerError> {
        let mut ended = Ok(());
        while ended.is_ok() && !stop.load(Ordering::Relaxed) && !self.is_idle() {
            self.consume()?;
            ended = self.call();
            self.commit();
        }
        let deadline = Instant::now() + LAST_COMMIT;
        while self.is_dirty() && Instant::now() < deadline {
            std::thread::sleep(COMMIT_AGAIN);
            self.forget_lost();
            self.commit();
        }
        self.report.uncommitted =
            self.progress.values().filter(|it| it.dirty.is_some()).count() as u64;
        ended.map(|()| self.report)
    }

    /// Consumes available records while no batch is complete.
    fn consume(&mut self) -> Result<(), PollerError> {
        let waiting: usize = self.queues.values().map(|it| it.records.len()).sum();
        self.pause(waiting >= PREFETCHED_BATCHES * self.settings.limits.records)?;
        let now = Instant::now();
        let next = self.queues.values().filter_map(|it| it.next_at(self.settings.limits.window));
        let until =
            next.min().map_or(POLL_WAIT, |at| at.saturating_duration_since(now).min(POLL_WAIT));
        // The first poll may wait until something is due; the others return what is available.
        let mut wait = until;
        for _ in 0..self.settings.limits.records {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let record = record(&message);
                    drop(message);
                    self.forget_lost();
                    self.push(record?);
                }
                Some(Err(error)) => {
                    self.last_activity = Instant::now();
                    (self.trouble)(&format!("consume: {error}"));
                    if error.rdkafka_error_code().is_some_and(is_coordinator_error) {
                        self.resubscribe()?;
                    }
                }
            }
            wait = Duration::ZERO;
        }
        self.forget_lost();
        Ok(())
    }

    fn push(&mut self, record: Record) {
        let place = self.progress.entry(record.partition.clone()).or_default();
        if let Some(expected) = place.consumed {
            self.report.skipped += u64::try_from(record.offset - expected).unwrap_or(0);
        }
        // After a rebalance the partition may begin before its last position.
        place.consumed = Some(place.consumed.unwrap_or(0).max(record.offset + 1));
        self.last_activity = record.arrived;
        if let Some(queue) = self.queues.get_mut(&record.partition.topic) {
            queue.records.push(record);
        }
    }

    /// Pauses consumption while the function has enough records; heartbeats to the group continue.
    fn pause(&mut self, is_wanted: bool) -> KafkaResult<()> {
        if self.consumer.context().rebalanced.swap(false, Ordering::Relaxed) {
            // Newly assigned partitions are not paused.
            self.is_paused = false;
        }
        if is_wanted != self.is_paused {
            let ours = self.consumer.assignment()?;
            if is_wanted {
                self.consumer.pause(&ours)?;
            } else {
                self.consumer.resume(&ours)?;
            }
            self.is_paused = is_wanted;
        }
        Ok(())
    }

    /// Subscribes again. If the group's coordinator could not report the starting offsets, the
    /// client ignores those partitions permanently. It asks again when they are assigned again;
    /// they then begin at the committed offsets, so the waiting records are dropped.
    fn resubscribe(&mut self) -> KafkaResult<()> {
        std::thread::sleep(POLL_WAIT);
        let mut ours = self.consumer.assignment()?;
        if ours.count() == 0 {
            return Ok(());
        }
        for one in ours.elements() {
            if let Some(queue) = self.queues.get_mut(one.topic()) {
                queue.forget(&Partition::new(one.topic(), one.partition()));
            }
        }
        ours.set_all_offsets(Offset::Invalid)?;
        self.is_paused = false;
        self.consumer.assign(&ours)
    }

    /// Drops lost partitions. Their next owner begins at the committed offset, as does this poller
    /// if they return.
    fn forget_lost(&mut self) {
        let context = self.consumer.context();
        let lost =
            std::mem::take(&mut *context.lost.lock().unwrap_or_else(PoisonError::into_inner));
        for partition in lost {
            if let Some(queue) = self.queues.get_mut(&partition.topic) {
                queue.forget(&partition);
            }
            if let Some(place) = self.progress.get_mut(&partition) {
                place.dirty = None;
            }
        }
    }

    /// Hands over the complete batches.
    fn call(&mut self) -> Result<(), PollerError> {
        let frame = payload::frame(&self.settings.brokers);
        for topic in self.settings.topics.clone() {
            let limits = self.settings.limits;
            let queue = self.queues.get_mut(&topic);
            let Some(batch) = queue.and_then(|it| it.take(limits, frame, Instant::now())) else {
                continue;
            };
            let payload = payload::payload(&self.settings.brokers, &batch);
            if payload.len() > limits.bytes {
                let Record { partition, offset, .. } = batch[0].clone();
                let (bytes, max) = (payload.len(), limits.bytes);
                return Err(PollerError::TooLarge { partition, offset, bytes, max });
            }
            self.report.calls += 1;
            self.count_redelivered(&batch);
            let answer = self.runtime.block_on((self.function)(payload));
            let read =
                |text: String| answer::read(&text, &batch).map_err(|error| error.to_string());
            match answer.and_then(read) {
                Ok(failed_offsets) => {
                    self.report.batches += 1;
                    self.finish_batch(&topic, batch, &failed_offsets);
                }
                Err(why) => {
                    (self.trouble)(&format!("call: {why}"));
                    self.report.failed_calls += 1;
                    if let Some(queue) = self.queues.get_mut(&topic) {
                        queue.requeue(batch, Instant::now());
                    }
                }
            }
            self.last_activity = Instant::now();
        }
        Ok(())
    }

    fn count_redelivered(&mut self, batch: &[Record]) {
        for record in batch {
            let place = self.progress.entry(record.partition.clone()).or_default();
            self.report.redelivered += u64::from(record.offset < place.next_offset);
            place.next_offset = place.next_offset.max(record.offset + 1);
        }
    }

    /// Marks everything before a partition's failed offset as delivered, and requeues the rest.
    fn finish_batch(&mut self, topic: &str, batch: Vec<Record>, failed_offsets: &FailedOffsets) {
        self.report.cut_partitions += failed_offsets.len() as u64;
        let is_delivered = |record: &Record| {
            failed_offsets.get(&record.partition).is_none_or(|resume_at| record.offset < *resume_at)
        };
        let (delivered, back): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_delivered);
        let Some(queue) = self.queues.get_mut(topic) else { return };
        for record in delivered {
            let place = self.progress.entry(record.partition.clone()).or_default();
            let next = record.offset + 1;
            self.report.records += u64::from(next > place.delivered);
            place.delivered = place.delivered.max(next);
            place.dirty = Some(next);
            if !failed_offsets.contains_key(&record.partition) {
                queue.delivered(&record.partition);
            }
        }
        queue.requeue(back, Instant::now());
    }

    fn is_dirty(&self) -> bool {
        self.progress.values().any(|it| it.dirty.is_some())
    }

    /// Commits the deliveries. Offsets that the brokers reject are retried later.
    fn commit(&mut self) {
        if !self.is_dirty() || Instant::now() < self.commit_at {
            return;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, place) in &self.progress {
            if let Some(next) = place.dirty {
                let Partition { topic, number } = partition;
                // An invalid offset is rejected here; these are a broker's offsets plus one.
                let _ = offsets.add_partition_offset(topic, *number, Offset::Offset(next));
            }
        }
        match self.consumer.commit(&offsets, CommitMode::Sync) {
            Ok(()) => {
                for (partition, place) in &mut self.progress {
                    if let Some(next) = place.dirty.take() {
                        self.report.committed.insert(partition.to_string(), next);
                    }
                }
            }
            Err(error) => {
                (self.trouble)(&format!("commit: {error}"));
                self.report.failed_commits += 1;
                self.commit_at = Instant::now() + COMMIT_AGAIN;
            }
        }
    }

    /// Returns true if the poller was asked to end and nothing is left: the brokers report that
    /// each partition ends at the poller's position.
    fn is_idle(&mut self) -> bool {
        let Some(patience) = self.settings.until_idle else { return false };
        if self.progress.is_empty()
            || self.is_dirty()
            || self.queues.values().any(|it| !it.records.is_empty())
            || self.last_activity.elapsed() < patience
        {
            return false;
        }
        let at_end = self.is_at_end().unwrap_or_else(|error| {
            (self.trouble)(&format!("is there more: {error}"));
            false
        });
        if !at_end {
            self.last_activity = Instant::now();
        }
        at_end
    }

    fn is_at_end(&self) -> KafkaResult<bool> {
        let ours = self.consumer.assignment()?;
        let committed = self.consumer.committed_offsets(ours.clone(), WATERMARKS)?;
        for one in committed.elements() {
            let (low, high) =
                self.consumer.fetch_watermarks(one.topic(), one.partition(), WATERMARKS)?;
            let next = if let Offset::Offset(next) = one.offset() { next } else { low };
            if next < high {
                return Ok(false);
            }
        }
        Ok(ours.count() > 0)
    }
}

/// Returns true if the error is that the group's coordinator could not answer.
fn is_coordinator_error(code: Code) -> bool {
    matches!(
        code,
        Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress | Code::NotCoordinator
    )
}

/// Converts a message to the record of a payload.
fn record(message: &BorrowedMessage<'_>) -> Result<Record, PollerError> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers: Vec<_> = headers.map(|it| Header(it.key, it.value)).collect();
    let (timestamp, timestamp_type) = match message.timestamp() {
        Timestamp::NotAvailable => (-1, "NO_TIMESTAMP_TYPE"),
        Timestamp::CreateTime(millis) => (millis, "CREATE_TIME"),
        Timestamp::LogAppendTime(millis) => (millis, "LOG_APPEND_TIME"),
    };
    let shape = Message {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp,
        timestamp_type,
        key: message.key().map(Base64),
        value: message.payload().map(Base64),
        headers: &headers,
    };
    Ok(Record {
        partition: Partition::new(message.topic(), message.partition()),
        offset: message.offset(),
        json: serde_json::to_string(&shape).map_err(io::Error::from)?,
        arrived: Instant::now(),
    })
}
