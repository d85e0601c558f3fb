//! Feeds to a topic, against librdkafka's mock cluster, which speaks the Kafka protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};

use crate::support::summary;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents");
const PARTITIONS: i32 = 3;
const ALL: i32 = -1;

/// Mock cluster with the topic `feed`.
struct Kafka(MockCluster<'static, DefaultProducerContext>);

/// Record stored in the topic.
struct Stored {
    key: Option<String>,
    partition: i32,
    value: Vec<u8>,
}

impl Stored {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.value).unwrap()
    }
}

impl Kafka {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("feed", PARTITIONS, 1).unwrap();
        Self(cluster)
    }

    /// Answers the next produce requests with these errors.
    fn failing_with(self, errors: &[RDKafkaRespErr]) -> Self {
        self.0.request_errors(RDKafkaApiKey::Produce, errors);
        self
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command
            .args(arguments.split_whitespace())
            .arg("--to")
            .arg(format!("kafka:{}/feed", self.0.bootstrap_servers()))
            .args(["--format", "json"])
            .current_dir(FIXTURES)
            .env_clear();
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn spawn(&self, arguments: &str) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn summary(&self, arguments: &str) -> Value {
        summary(&self.run(arguments))
    }

    /// Returns everything in the topic, each partition in order.
    fn stored(&self) -> Vec<Stored> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.0.bootstrap_servers())
            .set("group.id", "check")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let timeout = Duration::from_secs(10);
        let mut stored = Vec::new();
        for partition in 0..PARTITIONS {
            let (low, high) = consumer.fetch_watermarks("feed", partition, timeout).unwrap();
            let mut from = TopicPartitionList::new();
            from.add_partition_offset("feed", partition, Offset::Offset(low)).unwrap();
            consumer.assign(&from).unwrap();
            for _ in low..high {
                let message = consumer.poll(timeout).unwrap().unwrap();
                let key = message.key().map(|key| String::from_utf8(key.to_vec()).unwrap());
                let value = message.payload().unwrap().to_vec();
                stored.push(Stored { key, partition, value });
            }
        }
        stored
    }
}

/// Returns the lines of the same feed on standard output.
fn lines(arguments: &str) -> BTreeSet<Vec<u8>> {
    let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(arguments.split_whitespace())
        .current_dir(FIXTURES)
        .output()
        .unwrap();
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|it| !it.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

/// Asserts that the readings of each key are in the order they were taken.
fn assert_keys_keep_their_order(stored: &[Stored]) {
    let mut newest: BTreeMap<&str, String> = BTreeMap::new();
    for record in stored {
        let key = record.key.as_deref().unwrap();
        let time = record.json()["timestamp"].as_str().unwrap().trim_end_matches('Z').to_owned();
        assert!(newest.get(key).is_none_or(|last| *last < time), "{key} {time}");
        newest.insert(key, time);
    }
}

#[test]
fn simulated_feed_in_topic_matches_lines() {
    let kafka = Kafka::new();
    let feed = "simulate flood --count 3001 --seed 7 --duplicate-rate 0";

    let summary = kafka.summary(feed);

    let stored = kafka.stored();
    assert_eq!((&summary["records"], stored.len()), (&json!(3001), 3001));
    assert_eq!(stored.iter().map(|it| it.value.clone()).collect::<BTreeSet<_>>(), lines(feed));
    let mut partition_of = BTreeMap::new();
    for record in &stored {
        assert_eq!(record.json()["sensor_id"], record.key.as_deref().unwrap());
        let known = *partition_of.entry(record.key.clone()).or_insert(record.partition);
        assert_eq!(known, record.partition, "a key has one partition");
    }
    let used: BTreeSet<_> = partition_of.values().collect();
    assert_eq!(used.len(), 3, "the keys are spread");
}

#[test]
fn rows_use_partition_key_of_dataset() {
    let kafka = Kafka::new();

    let summary = kafka.summary("replay valid.csv valid.jsonl");

    let stored = kafka.stored();
    assert_eq!((&summary["records"], stored.len()), (&json!(84), 84));
    for record in stored {
        assert_eq!(record.json()["ID"], record.key.as_deref().unwrap());
    }
}

#[test]
fn broker_errors_are_retried_once_in_order() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR__TRANSPORT as LOST_CONNECTION,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as NOT_ENOUGH_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
    };
    let kafka =
        Kafka::new().failing_with(&[NOT_LEADER, LOST_CONNECTION, TIMED_OUT, NOT_ENOUGH_REPLICAS]);
    let feed = "simulate telemetry --count 6000 --late-rate 0 --duplicate-rate 0";

    let summary = kafka.summary(feed);

    let stored = kafka.stored();
    assert_eq!((&summary["undelivered"], stored.len()), (&json!(0), 6000));
    assert_eq!(stored.iter().map(|it| it.value.clone()).collect::<BTreeSet<_>>(), lines(feed));
    assert_keys_keep_their_order(&stored);
}

#[test]
fn broker_restart_loses_nothing() {
    let kafka = Kafka::new();
    let feed = "simulate telemetry --count 1500 --late-rate 0 --duplicate-rate 0";

    let feeding = kafka.spawn(&format!("{feed} --rate 1000/s"));
    thread::sleep(Duration::from_millis(500));
    kafka.0.broker_down(ALL).unwrap();
    thread::sleep(Duration::from_millis(800));
    kafka.0.broker_up(ALL).unwrap();

    let summary = summary(&feeding.wait_with_output().unwrap());
    let stored = kafka.stored();
    assert_eq!(&summary["undelivered"], &json!(0));
    // Only a real broker recognizes a retried record that it stored without an answer.
    let mut seen = BTreeSet::new();
    let stored: Vec<_> = stored.into_iter().filter(|it| seen.insert(it.value.clone())).collect();
    assert_eq!(stored.iter().map(|it| it.value.clone()).collect::<BTreeSet<_>>(), lines(feed));
    assert_keys_keep_their_order(&stored);
}

/// Compares counts only, since the share of the time spent waiting depends on the machine. Unit
/// tests of `target::tally` and `summary` check that the wait is measured and reported.
#[test]
fn slow_broker_loses_nothing() {
    let kafka = Kafka::new();
    // Within the time-out of metadata.
    kafka.0.broker_round_trip_time(ALL, Duration::from_millis(700)).unwrap();

    let summary = kafka.summary("simulate covid --count 6000 --duplicate-rate 0");

    assert_eq!((&summary["records"], &summary["undelivered"]), (&json!(6000), &json!(0)));
    kafka.0.broker_round_trip_time(ALL, Duration::ZERO).unwrap();
    assert_eq!(kafka.stored().len(), 6000);
}

#[test]
fn rejected_records_are_counted_and_reported() {
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 64];
    let kafka = Kafka::new().failing_with(&refused);

    let output = kafka.run("simulate flood --count 2000");

    let message = String::from_utf8(output.stderr).unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let undelivered = summary["undelivered"].as_u64().unwrap();
    assert_eq!(undelivered + kafka.stored().len() as u64, summary["records"].as_u64().unwrap());
    assert!(undelivered > 0 && message.contains("were not delivered"), "{message}");
    assert!(message.contains("Broker: Broker failed to validate record"), "{message}");
}

#[test]
fn denied_topic_exits_2_with_one_line() {
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 64];
    for arguments in ["simulate flood --count 2000", "replay valid.csv"] {
        let kafka = Kafka::new().failing_with(&denied);

        let output = kafka.run(arguments);

        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("kafka: topic feed: "), "{message}");
        assert!(message.contains("Broker: Topic authorization failed"), "{message}");
    }
}

#[test]
fn missing_broker_or_topic_exits_2() {
    for (target, expected) in [
        ("kafka:127.0.0.1:1/feed", "Connection refused"),
        ("kafka:127.0.0.1:1/", "a topic is kafka:HOST:PORT/TOPIC"),
        ("kafka:127.0.0.1:1/a$b", "is no topic's name"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(["simulate", "flood", "--count", "5", "--to", target])
            .output()
            .unwrap();

        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.lines().count() == 1 && message.contains(expected), "{message}");
    }
}
