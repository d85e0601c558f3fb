//! Mock cluster, and pollers over it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tributary_kafka_bridge::payload::MAX_BYTES;
use tributary_kafka_bridge::poller::{Poller, Report};
use tributary_kafka_bridge::settings::{Limits, Settings};

pub(crate) const PARTITIONS: i32 = 3;
pub(crate) const ALL: i32 = -1;
const TIMEOUT: Duration = Duration::from_secs(20);

/// Mock cluster with the topics `a` and `b`.
pub(crate) struct Kafka {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl Kafka {
    pub(crate) fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for topic in ["a", "b"] {
            cluster.create_topic(topic, PARTITIONS, 1).unwrap();
        }
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    pub(crate) fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Stores `count` records in each partition of a topic; each value names its position.
    pub(crate) fn produce(&self, topic: &str, count: usize) {
        for partition in 0..PARTITIONS {
            for number in 0..count {
                let value = format!("{topic}-{partition}#{number}");
                self.send(topic, partition, value.as_bytes());
            }
        }
        self.producer.flush(TIMEOUT).unwrap();
    }

    pub(crate) fn produce_one(&self, topic: &str, partition: i32, value: &[u8]) {
        self.send(topic, partition, value);
        self.producer.flush(TIMEOUT).unwrap();
    }

    fn send(&self, topic: &str, partition: i32, value: &[u8]) {
        let record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value);
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Returns the offsets that a group has committed for a topic, by partition; -1 for none.
    pub(crate) fn committed(&self, topic: &str, group: &str) -> Vec<i64> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.brokers())
            .set("group.id", group)
            .create()
            .unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, PARTITIONS - 1);
        let committed = consumer.committed_offsets(asked, TIMEOUT).unwrap();
        let offset = |it: Offset| if let Offset::Offset(offset) = it { offset } else { -1 };
        committed.elements().iter().map(|it| offset(it.offset())).collect()
    }
}

pub(crate) fn settings(brokers: &str, topics: &[&str]) -> Settings {
    Settings {
        brokers: brokers.to_owned(),
        topics: topics.iter().map(|it| (*it).to_owned()).collect(),
        group: "g".to_owned(),
        limits: Limits { records: 50, bytes: MAX_BYTES, window: Duration::from_millis(50) },
        until_idle: Some(Duration::from_millis(700)),
    }
}

/// Records that a function received, call by call: each record's partition as `<topic>-<number>`,
/// and its value.
pub(crate) type Calls = Arc<Mutex<Vec<Vec<(String, String)>>>>;

/// Reads a payload as a function does.
pub(crate) fn records(payload: &str) -> Vec<(String, i64, String)> {
    let payload: Value = serde_json::from_str(payload).unwrap();
    assert_eq!(payload["eventSource"], "SelfManagedKafka");
    let mut records = Vec::new();
    for (name, list) in payload["records"].as_object().unwrap() {
        for record in list.as_array().unwrap() {
            let (topic, partition) = (&record["topic"], &record["partition"]);
            assert_eq!(*name, format!("{}-{partition}", topic.as_str().unwrap()));
            let value = record["value"].as_str().unwrap();
            let value = base64_simd::STANDARD.decode_to_vec(value).unwrap();
            let offset = record["offset"].as_i64().unwrap();
            records.push((name.clone(), offset, String::from_utf8(value).unwrap()));
        }
    }
    records
}

/// Builds an answer with these failed offsets.
pub(crate) fn resume_at(at: &[(&str, i64)]) -> String {
    let failure = |(partition, offset): &(&str, i64)| json!({"itemIdentifier": {"partition": partition, "offset": offset}});
    json!({"batchItemFailures": at.iter().map(failure).collect::<Vec<_>>()}).to_string()
}

/// Polls until idle, or until `stop`; `answer` is the function, called with the number of the call
/// and its records.
pub(crate) fn poll(
    settings: Settings,
    stop: &AtomicBool,
    calls: &Calls,
    answer: impl Fn(usize, &[(String, i64, String)]) -> Result<String, String>,
) -> Report {
    let calls = Arc::clone(calls);
    let function = async |payload: String| {
        assert!(payload.len() <= MAX_BYTES);
        let records = records(&payload);
        let number = {
            let mut calls = calls.lock().unwrap();
            calls.push(
                records.iter().map(|(name, _, value)| (name.clone(), value.clone())).collect(),
            );
            calls.len()
        };
        answer(number, &records)
    };
    Poller::new(settings, function, |_| ()).unwrap().run(stop).unwrap()
}

/// Counts the deliveries of each value over all calls.
pub(crate) fn handed(calls: &Calls) -> BTreeMap<String, usize> {
    let mut handed = BTreeMap::new();
    for (_, value) in calls.lock().unwrap().iter().flatten() {
        *handed.entry(value.clone()).or_default() += 1;
    }
    handed
}

/// Checks that the calls had every record of a topic, and no other.
pub(crate) fn assert_all_handed(calls: &Calls, topic: &str, count: usize) {
    let expected = (0..PARTITIONS)
        .flat_map(|partition| (0..count).map(move |number| (partition, number)))
        .map(|(partition, number)| format!("{topic}-{partition}#{number}"));
    let expected: std::collections::BTreeSet<_> = expected.collect();
    let handed: std::collections::BTreeSet<_> = handed(calls).into_keys().collect();
    assert_eq!(handed, expected);
}
