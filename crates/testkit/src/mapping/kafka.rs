//! Event source mapping of Kafka topics, in provisioned mode.
//!
//! Rules: <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>. A batch
//! holds records of several partitions, and each partition resumes at its lowest reported offset.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Reported, pause};
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
    partitions: RefCell<BTreeMap<(String, u32), Partition>>,
    redelivered: Cell<u64>,
    is_stopped: Cell<bool>,
}

#[derive(Default)]
struct Partition {
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
        })
    }

    /// Appends a record and returns its offset.
    pub fn produce(&self, topic: &str, partition: u32, mut entry: KafkaEntry) -> usize {
        entry.timestamp = clock::now().as_millisecond();
        let mut partitions = self.partitions.borrow_mut();
        let log = &mut partitions.entry((topic.to_owned(), partition)).or_default().log;
        log.push(entry);
        log.len() - 1
    }

    /// Polls until stopped.
    pub async fn run(self: Rc<Self>) {
        let mut failures = 0;
        while !self.is_stopped.get() {
            let batch = self.batch();
            if batch.is_empty() {
                sleep(POLL).await;
                continue;
            }
            let payload = self.payload(&batch);
            let answer = self.lambda.invoke(payload.clone()).await;
            let reported = answer.as_deref().map_or(Reported::Everything, Reported::by);
            let is_done = self.commit(&batch, &reported);
            if is_done {
                failures = 0;
                if self.lambda.faults().occurs(Fault::DuplicateBatch) {
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
    }

    /// Returns true if every partition is fully committed.
    pub fn is_drained(&self) -> bool {
        self.partitions.borrow().values().all(|it| it.committed == it.log.len())
    }

    /// Returns the number of redelivered records.
    #[must_use]
    pub fn redelivered(&self) -> u64 {
        self.redelivered.get()
    }

    /// Returns the next batch: a range of records for each partition that has any.
    fn batch(&self) -> BTreeMap<(String, u32), (usize, usize)> {
        let mut left = self.batch_size;
        let mut batch = BTreeMap::new();
        for (name, partition) in self.partitions.borrow_mut().iter_mut() {
            let end = partition.log.len().min(partition.committed + left);
            if end > partition.committed {
                let again = partition.furthest.min(end).saturating_sub(partition.committed);
                self.redelivered.set(self.redelivered.get() + again as u64);
                partition.furthest = partition.furthest.max(end);
                left -= end - partition.committed;
                batch.insert(name.clone(), (partition.committed, end));
            }
        }
        batch
    }

    /// Commits the completed records and returns true if the whole batch is done.
    fn commit(&self, batch: &BTreeMap<(String, u32), (usize, usize)>, reported: &Reported) -> bool {
        let items = match reported {
            Reported::Nothing => &[][..],
            Reported::Everything => return false,
            Reported::Items(items) => items,
        };
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for item in items {
            let offset = item["offset"].as_u64().and_then(|it| usize::try_from(it).ok());
            let (Some(partition), Some(offset)) = (item["partition"].as_str(), offset) else {
                return false;
            };
            let lowest = first.entry(partition).or_insert(offset);
            *lowest = offset.min(*lowest);
        }
        let names: Vec<_> = batch.keys().map(|(topic, n)| format!("{topic}-{n}")).collect();
        if first.keys().any(|name| !names.iter().any(|known| known == name)) {
            return false;
        }
        let mut partitions = self.partitions.borrow_mut();
        for ((key, (start, end)), name) in batch.iter().zip(&names) {
            let done = first.get(name.as_str()).copied().unwrap_or(*end);
            if let Some(partition) = partitions.get_mut(key) {
                partition.committed = done.clamp(*start, *end);
            }
        }
        first.is_empty()
    }

    /// Returns the payload of a batch, as a function receives it.
    fn payload(&self, batch: &BTreeMap<(String, u32), (usize, usize)>) -> String {
        let partitions = self.partitions.borrow();
        let text = |bytes: &Option<Vec<u8>>| {
            bytes.as_ref().map(|bytes| base64_simd::STANDARD.encode_to_string(bytes))
        };
        let mut records = serde_json::Map::new();
        for ((topic, partition), (start, end)) in batch {
            let Some(log) = partitions.get(&(topic.clone(), *partition)) else { continue };
            let record = |(offset, entry): (usize, &KafkaEntry)| {
                json!({
                    "topic": topic,
                    "partition": partition,
                    "offset": offset,
                    "timestamp": entry.timestamp,
                    "timestampType": "CREATE_TIME",
                    "key": text(&entry.key),
                    "value": text(&entry.value),
                    "headers": [{"trace": [0, 255, 7]}],
                })
            };
            let of_batch = log.log.iter().enumerate().skip(*start).take(end - start);
            let of_batch: Vec<Value> = of_batch.map(record).collect();
            records.insert(format!("{topic}-{partition}"), of_batch.into());
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
