//! Under any faults a partition resumes at its earliest undelivered record, and loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fn_ingest_kafka::config::Topics;
use fn_ingest_kafka::handler::IngestKafka;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_testkit::{Answer, MemorySink};

const SMALL: Limits = Limits { entries: 3, bytes: 5 << 20, entry_bytes: 1 << 20 };

type Ingest = IngestKafka<MemorySink<StreamRecord>, MemorySink<Vec<u8>>>;

/// Kind of the value of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Good,
    Bad,
    Tombstone,
}

/// Kinds of the records of each partition. Offsets are multiples of 3, since a topic has gaps.
type Partitions = Vec<Vec<Kind>>;

fn partitions() -> impl Strategy<Value = Partitions> {
    let kind = prop_oneof![4 => Just(Kind::Good), 2 => Just(Kind::Bad), 1 => Just(Kind::Tombstone)];
    vec(vec(kind, 0..6), 1..4)
}

/// Generates answers that reach the producer: an entry it reports as undelivered is not stored.
fn script() -> impl Strategy<Value = Vec<Answer>> {
    let answer = prop_oneof![
        Just(Answer::Take),
        Just(Answer::Throttle),
        vec(0..3_usize, 0..3).prop_map(Answer::Fail),
    ];
    vec(answer, 0..5)
}

fn ingest(raw: Vec<Answer>, quarantine: Vec<Answer>) -> Ingest {
    IngestKafka {
        raw: Producer::new(MemorySink::scripted(SMALL, StreamRecord::size, raw)),
        quarantine: Producer::new(MemorySink::scripted(SMALL, Vec::len, quarantine)),
        datasets: Configuration::shipped().unwrap().datasets,
        known: KnownDatasets::default(),
        topics: Topics::default(),
        metrics_log: MetricsLog::new("ingest-kafka", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

/// Returns the batch with the records of each partition from its offset in `from` on.
fn payload(partitions: &Partitions, from: &BTreeMap<String, i64>) -> Value {
    let mut records = serde_json::Map::new();
    for (number, kinds) in partitions.iter().enumerate() {
        let name = format!("flood-{number}");
        let Some(first) = from.get(&name) else { continue };
        let record = |(offset, kind): (i64, &Kind)| {
            let value = match kind {
                Kind::Good => Some(base64_simd::STANDARD.encode_to_string(b"{}")),
                Kind::Bad => Some("%".to_owned()),
                Kind::Tombstone => None,
            };
            json!({"topic": "flood", "partition": number, "offset": offset, "value": value})
        };
        let all = (0..).step_by(3).zip(kinds).filter(|(offset, _)| offset >= first);
        records.insert(name, all.map(record).collect());
    }
    json!({ "records": records })
}

/// Returns `<partition>#<offset>` of every record in the stream or in quarantine.
fn arrived(ingest: &Ingest) -> BTreeSet<String> {
    let records = ingest.raw.target().stored().into_iter().map(|record| record.data);
    let lines = records.chain(ingest.quarantine.target().stored());
    let source = |line: Vec<u8>| {
        let line: Value = serde_json::from_slice(&line).unwrap();
        line["source"].as_str().unwrap().replace("kafka:", "").replace("offset=", "")
    };
    lines.map(source).collect()
}

fn deliver(ingest: &Ingest, payload: &Value) -> BTreeMap<String, i64> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let response = runtime.block_on(async {
        let deadline = Deadline::after(Duration::from_secs(2));
        ingest.handle(&payload.to_string(), deadline).await.unwrap()
    });
    let positions = response.batch_item_failures.into_iter().map(|it| it.item_identifier);
    positions.map(|position| (position.partition, position.offset)).collect()
}

fn beginnings(partitions: &Partitions) -> BTreeMap<String, i64> {
    (0..partitions.len()).map(|number| (format!("flood-{number}"), 0)).collect()
}

proptest! {
    #[test]
    fn partition_resumes_at_earliest_undelivered_record(
        partitions in partitions(), raw in script(), quarantine in script(),
    ) {
        let ingest = ingest(raw, quarantine);

        let reported = deliver(&ingest, &payload(&partitions, &beginnings(&partitions)));

        let arrived = arrived(&ingest);
        for (number, kinds) in partitions.iter().enumerate() {
            let name = format!("flood-{number}");
            let missing = (0..).step_by(3).zip(kinds).find(|(offset, kind)| {
                **kind != Kind::Tombstone && !arrived.contains(&format!("{name}#{offset}"))
            });
            prop_assert_eq!(reported.get(&name).copied(), missing.map(|(offset, _)| offset));
        }
    }

    #[test]
    fn redelivery_from_reported_offsets_loses_nothing(
        partitions in partitions(), mut raw in script(), mut quarantine in script(),
    ) {
        // A permanent fault would park the batch, so these faults end.
        raw.push(Answer::Take);
        quarantine.push(Answer::Take);
        let ingest = ingest(raw, quarantine);

        let mut from = beginnings(&partitions);
        for _ in 0..20 {
            from = deliver(&ingest, &payload(&partitions, &from));
        }

        prop_assert!(from.is_empty());
        let rows = partitions.iter().flatten().filter(|kind| **kind != Kind::Tombstone).count();
        prop_assert_eq!(arrived(&ingest).len(), rows);
    }
}
