//! From a topic to events, through the deployed handlers, over AWS in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use fn_ingest_kafka::config::Topics;
use fn_ingest_kafka::handler::IngestKafka;
use fn_ingest_kafka::payload::KafkaResponse;
use fn_transform::handler::Transform;
use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::takeover::KnownDatasets;
use tributary_datasets::Dataset;
use tributary_pipeline::transform::Outcome;

use crate::support::{bad_rows, minute, shipped, stream, transformer};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/datasets");

fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// Returns the good rows of each dataset that has some as JSON.
fn feeds() -> Vec<(&'static str, Vec<String>)> {
    let feed = |dataset: &'static Arc<Dataset>| {
        let rows = std::fs::read_to_string(format!("{FIXTURES}/{}/valid.jsonl", dataset.name()));
        let rows = rows.ok()?.lines().map(str::to_owned).collect();
        Some((dataset.name(), rows))
    };
    shipped().datasets.iter().filter_map(feed).collect()
}

/// Returns one batch of the topics `prod.<dataset>`, each with a tombstone, rows spread over
/// several lines.
fn topics(feeds: &[(&str, Vec<String>)]) -> String {
    let mut records = serde_json::Map::new();
    for (dataset, rows) in feeds {
        let record = |(offset, row): (usize, &String)| {
            let row = row.replacen('{', "{\r\n ", 1);
            json!({"topic": format!("prod.{dataset}"), "partition": 0, "offset": offset,
                "key": base64(b"k"), "value": base64(row.as_bytes()), "headers": [{"h": [-1]}]})
        };
        let mut list: Vec<_> = rows.iter().enumerate().map(record).collect();
        let offset = rows.len();
        list.push(json!({"topic": format!("prod.{dataset}"), "partition": 0, "offset": offset}));
        records.insert(format!("prod.{dataset}-0"), json!(list));
    }
    json!({ "records": records }).to_string()
}

/// Returns the batch that Lambda makes of these records.
fn batch(records: &[StreamRecord]) -> String {
    let record = |(n, record): (usize, &StreamRecord)| {
        json!({"eventID": format!("shardId-000000000000:{n:056}"), "kinesis": {
            "sequenceNumber": format!("{n:056}"), "data": base64(&record.data)}})
    };
    json!({ "Records": records.iter().enumerate().map(record).collect::<Vec<_>>() }).to_string()
}

#[tokio::test(start_paused = true)]
async fn topic_rows_become_the_same_events() {
    let feeds = feeds();
    assert!(feeds.len() >= 3, "{} datasets with rows", feeds.len());
    let names: Vec<_> = feeds.iter().map(|(name, _)| format!("prod.{name}={name}")).collect();
    let ingest = IngestKafka {
        raw: stream(),
        quarantine: bad_rows(),
        datasets: shipped().datasets.clone(),
        known: KnownDatasets::default(),
        topics: Topics::parse(&names.join(",")).unwrap(),
        metrics_log: MetricsLog::new("ingest-kafka", "Tributary/test".into()),
        clock: now,
    };
    let transform = Transform {
        events: stream(),
        quarantine: bad_rows(),
        transformer: transformer(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("transform", "Tributary/test".into()),
        clock: now,
    };

    let taken = ingest.handle(&topics(&feeds), minute()).await.unwrap();
    let raw = ingest.raw.target().stored();
    let made = transform.handle(&batch(&raw), minute()).await.unwrap();

    assert_eq!((taken, made), (KafkaResponse::default(), BatchResponse::default()));
    assert_eq!(raw.len(), feeds.iter().map(|(_, rows)| rows.len()).sum::<usize>());
    let events: BTreeSet<_> = transform
        .events
        .target()
        .stored()
        .iter()
        .map(|event| serde_json::from_slice::<Value>(&event.data).unwrap()["event_id"].to_string())
        .collect();
    let transformer = transformer();
    let mut expected = BTreeSet::new();
    for (name, rows) in &feeds {
        for row in rows {
            let dataset = shipped().datasets.by_name(name).unwrap();
            if let Outcome::Event(event) = transformer.payload(dataset, row, Some(now())).unwrap() {
                expected.insert(json!(event.event_id).to_string());
            }
        }
    }
    assert_eq!(events, expected);
}
