//! Event source mapping of Kafka topics, in provisioned mode.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>. A batch
//! holds records of several partitions, and each partition resumes at its lowest reported offset.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Reported, idle, pause};
use crate::clock;
use crate::fault::Fault;
use crate::lambda::Lambda;

const POLL: Duration = Duration::from_secs(1);

/// Record of a partition; its offset is its index.
#[derive(Clone, Debug, Default)]
pub struct KafkaEntry {
    /// Key of the record.
    pub key: Option<Vec<u8>>,
    /// Value of the record; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// Time of writing in milliseconds since 1970.
    pub timestamp: i64,
}

/// Mapping with the topics it reads.
pub struct KafkaMapping {
    lambda: Lambda,
    batch_size: usize,
    /// Partitions by name, such as `readings-0`.
    partitions: RefCell<BTreeMap<String, Partition>>,
    /// Number of redelivered records.
    pub redelivered: Cell<u64>,
    is_stopped: Cell<bool>,
    changed: Notify,
}

/// Range of offsets of each partition in a batch, by the partition's name.
type Batch = BTreeMap<String, Range<usize>>;

#[derive(Default)]
struct Partition {
    topic: String,
    number: u32,
    log: Vec<KafkaEntry>,
    committed: usize,
    furthest: usize,
}

impl KafkaMapping {
    /// Creates a mapping to `lambda`.
    #[must_use]
    pub fn new(lambda: Lambda, batch_size: usize) -> Rc<Self> {
        Rc::new(Self {
            lambda,
            batch_size,
            partitions: RefCell::default(),
            redelivered: Cell::new(0),
            is_stopped: Cell::new(false),
            changed: Notify::new(),
        })
    }

    /// Appends a record and returns its offset.
    pub fn produce(&self, topic: &str, number: u32, mut entry: KafkaEntry) -> usize {
        entry.timestamp = clock::now().as_millisecond();
        let mut partitions = self.partitions.borrow_mut();
        let partition = partitions.entry(format!("{topic}-{number}")).or_default();
        (partition.topic, partition.number) = (topic.to_owned(), number);
        partition.log.push(entry);
        self.changed.notify_waiters();
        partition.log.len() - 1
    }

    /// Polls until stopped.
    pub async fn run(self: Rc<Self>) {
        let mut failures = 0;
        while !self.is_stopped.get() {
            let batch = self.batch();
            if batch.is_empty() {
                idle(POLL, self.changed.notified()).await;
                continue;
            }
            let payload = self.payload(&batch);
            let answer = self.lambda.invoke(payload.clone()).await;
            let reported = answer.as_deref().map_or(Reported::Everything, Reported::by);
            let is_done = self.commit(&batch, &reported);
            if is_done {
                failures = 0;
                if self.lambda.faults.occurs(Fault::DuplicateBatch) {
                    // Rebalance before the commit: Lambda delivers the batch again.
                    let _ = self.lambda.invoke(payload).await;
                }
            } else {
                sleep(pause(failures)).await;
                failures += 1;
            }
        }
    }

    /// Stops the mapping.
    pub fn stop(&self) {
        self.is_stopped.set(true);
        self.changed.notify_waiters();
    }

    /// Returns true if every partition is fully committed.
    pub fn is_drained(&self) -> bool {
        self.partitions.borrow().values().all(|it| it.committed == it.log.len())
    }

    /// Returns the next batch: a range of records for each partition that has any.
    fn batch(&self) -> Batch {
        let mut left = self.batch_size;
        let mut batch = BTreeMap::new();
        for (name, partition) in self.partitions.borrow_mut().iter_mut() {
            let end = partition.log.len().min(partition.committed + left);
            if end > partition.committed {
                let again = partition.furthest.min(end).saturating_sub(partition.committed);
                self.redelivered.set(self.redelivered.get() + again as u64);
                partition.furthest = partition.furthest.max(end);
                left -= end - partition.committed;
                batch.insert(name.clone(), partition.committed..end);
            }
        }
        batch
    }

    /// Commits the completed records and returns true if the whole batch is done.
    fn commit(&self, batch: &Batch, reported: &Reported) -> bool {
        let items = match reported {
            Reported::Nothing => &[][..],
            Reported::Everything => return false,
            Reported::Items(items) => items,
        };
        let mut lowest = BTreeMap::new();
        for item in items {
            let offset = item["offset"].as_u64().and_then(|it| usize::try_from(it).ok());
            let name = item["partition"].as_str().filter(|name| batch.contains_key(*name));
            let (Some(name), Some(offset)) = (name, offset) else { return false };
            let first = lowest.entry(name).or_insert(offset);
            *first = offset.min(*first);
        }
        let mut partitions = self.partitions.borrow_mut();
        for (name, range) in batch {
            if let Some(partition) = partitions.get_mut(name) {
                let done = lowest.get(name.as_str()).copied().unwrap_or(range.end);
                partition.committed = done.clamp(range.start, range.end);
            }
        }
        lowest.is_empty()
    }

    /// Returns the payload of a batch, as a function receives it.
    fn payload(&self, batch: &Batch) -> String {
        let partitions = self.partitions.borrow();
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|bytes| base64_simd::STANDARD.encode_to_string(bytes))
        };
        let mut records = serde_json::Map::new();
        for (name, range) in batch {
            let Partition { topic, number, log, .. } = &partitions[name];
            let record = |offset: usize| {
                json!({
                    "topic": topic,
                    "partition": number,
                    "offset": offset,
                    "timestamp": log[offset].timestamp,
                    "timestampType": "CREATE_TIME",
                    "key": text(&log[offset].key),
                    "value": text(&log[offset].value),
                    "headers": [{"trace": [0, 255, 7]}],
                })
            };
            records.insert(name.clone(), range.clone().map(record).collect());
        }
        json!({
            "eventSource": "aws:kafka",
            "eventSourceArn": "arn:aws:kafka:us-east-1:000000000000:cluster/simulated/1",
            "bootstrapServers": "b-1.simulated:9092",
            "records": records,
        })
        .to_string()
    }
}
