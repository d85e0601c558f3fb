//! End to end: from an object to alerts and metrics, through the deployed handlers, over AWS in
//! memory.

use std::collections::{BTreeMap, BTreeSet};

use fn_alerts::handler::Alerts;
use fn_alerts::rule_state::RuleState;
use fn_ingest_s3::handler::IngestS3;
use fn_metrics::handler::Metrics;
use fn_transform::handler::Transform;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tributary_aws::cardinality::Cardinality;
use tributary_aws::claims::RetryingClaims;
use tributary_aws::cloudwatch;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::sns::{self, Notification};
use tributary_aws::takeover::KnownDatasets;
use tributary_operate::quarantine::{
    Fixes, QuarantinedRow, RebuiltRecord, Repair, ReplayVerdict, Replayer,
};
use tributary_pipeline::metric::Datum;
use tributary_rows as rows;
use tributary_testkit::service::{SimAlertState, SimCardinality, SimClaims};
use tributary_testkit::{Faults, MemoryObjects, MemoryQueue, MemorySink};

use crate::support::{STREAM, bad_rows, minute, shipped, stream, transformer};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/datasets");

/// Output of the functions for one object.
struct Ingested {
    raw: Vec<StreamRecord>,
    events: Vec<Value>,
    bad_rows: Vec<Value>,
    alerts: Vec<Notification>,
    metrics: Vec<Datum>,
}

fn metrics_log(function: &'static str) -> MetricsLog {
    MetricsLog::new(function, "Tributary/test".into())
}

fn now() -> jiff::Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

/// Returns the batch that Lambda makes of these records.
fn batch(records: &[StreamRecord]) -> String {
    let record = |(n, record): (usize, &StreamRecord)| {
        json!({"eventID": format!("shardId-000000000000:{n:056}"), "kinesis": {
            "partitionKey": record.partition_key, "sequenceNumber": format!("{n:056}"),
            "data": base64_simd::STANDARD.encode_to_string(&record.data),
            "approximateArrivalTimestamp": 1_795_168_800.25}})
    };
    json!({ "Records": records.iter().enumerate().map(record).collect::<Vec<_>>() }).to_string()
}

fn lines(lines: &[Vec<u8>]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Runs `transform` on raw records and returns events and bad rows.
async fn transform(raw: &[StreamRecord]) -> (Vec<StreamRecord>, Vec<Vec<u8>>) {
    let transform = Transform {
        events: stream(),
        quarantine: bad_rows(),
        transformer: transformer(),
        known: KnownDatasets::default(),
        metrics_log: metrics_log("transform"),
        clock: now,
    };
    transform.handle(&batch(raw), minute()).await.unwrap();
    (transform.events.target().stored(), transform.quarantine.target().stored())
}

async fn take(key: &str, bytes: Vec<u8>) -> Ingested {
    let ingest = IngestS3 {
        objects: MemoryObjects::with(key, bytes),
        raw: stream(),
        quarantine: bad_rows(),
        queue: MemoryQueue::default(),
        datasets: shipped().datasets.clone(),
        limits: rows::Limits::default(),
        segment_bytes: 1 << 20,
        known: KnownDatasets::default(),
        metrics_log: metrics_log("ingest-s3"),
        clock: now,
    };
    let notification = json!({"Records": [{"eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}]});
    let message = json!({"Records": [{"messageId": "m", "body": notification.to_string()}]});
    ingest.handle(serde_json::from_value(message).unwrap(), minute()).await.unwrap();
    let raw = ingest.raw.target().stored();
    let (events, rejected_by_transform) = transform(&raw).await;

    let alerts = Alerts {
        claims: RetryingClaims::new(SimClaims::new(Faults::none(1))),
        topic: Producer::new(MemorySink::new(sns::LIMITS, |entry: &Notification| {
            entry.message.len()
        })),
        quarantine: bad_rows(),
        rules: shipped().rules().unwrap(),
        routes: BTreeMap::new(),
        state: RuleState::new(SimAlertState::new(Faults::none(1)), &[]),
        retention: SignedDuration::from_hours(24),
        known: KnownDatasets::default(),
        metrics_log: metrics_log("alerts"),
        clock: now,
    };
    alerts.handle(&batch(&events), "one", minute()).await.unwrap();

    let metrics = Metrics {
        metrics: Producer::new(MemorySink::new(cloudwatch::LIMITS, |_: &Datum| 100)),
        quarantine: bad_rows(),
        store: SimCardinality::new(Faults::none(1)),
        cardinality: Cardinality::default(),
        specs: shipped().metrics().unwrap(),
        known: KnownDatasets::default(),
        metrics_log: metrics_log("metrics"),
        clock: now,
    };
    metrics.handle(&batch(&events), minute()).await.unwrap();

    let mut rejected = lines(&ingest.quarantine.target().stored());
    rejected.extend(lines(&rejected_by_transform));
    let data: Vec<_> = events.into_iter().map(|event| event.data).collect();
    Ingested {
        raw,
        events: lines(&data),
        bad_rows: rejected,
        alerts: alerts.topic.target().stored(),
        metrics: metrics.metrics.target().stored(),
    }
}

/// Returns the key and the bytes of the CSV, or else of the JSON Lines, of a dataset.
fn fixture(dataset: &str, name: &str) -> (String, Vec<u8>) {
    let files = ["csv", "jsonl"].map(|form| format!("{dataset}/{name}.{form}"));
    let read = |file: String| Some((std::fs::read(format!("{FIXTURES}/{file}")).ok()?, file));
    let (bytes, file) = files.into_iter().find_map(read).unwrap();
    (file, bytes)
}

fn distinct(values: &[Value], field: &str) -> usize {
    values.iter().map(|value| value[field].as_str().unwrap()).collect::<BTreeSet<_>>().len()
}

#[tokio::test(start_paused = true)]
async fn demo_rows_have_the_stated_results() {
    let bytes = std::fs::read(format!("{FIXTURES}/accidents/demo.csv")).unwrap();
    let expected = std::fs::read(format!("{FIXTURES}/accidents/demo.expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let count = |name: &str| usize::try_from(expected[name].as_u64().unwrap()).unwrap();

    let ingested = take("accidents/demo.csv", bytes).await;

    assert_eq!(distinct(&ingested.events, "event_id"), count("good"));
    assert_eq!(distinct(&ingested.bad_rows, "record_id"), count("bad"));
    assert_eq!(ingested.raw.len() + at_ingest(&ingested), count("rows"));
    assert_eq!(alert_ids(&ingested.alerts).len(), count("severity4"));
    let by_severity = ingested.metrics.iter().filter(|datum| {
        datum.name == "accidents" && datum.dimensions.iter().any(|(name, _)| name == "severity")
    });
    let counted: f64 = by_severity.flat_map(|datum| &datum.counts).sum();
    assert_eq!(counted.to_string(), ingested.events.len().to_string());
}

/// Returns the ids of the alerts in messages, with those in digests.
fn alert_ids(messages: &[Notification]) -> BTreeSet<String> {
    let text = |id: &Value| id.as_str().unwrap().to_owned();
    let ids = |message: &Notification| -> Vec<String> {
        let message: Value = serde_json::from_str(&message.message).unwrap();
        match message["keys"].as_array() {
            None => vec![text(&message["alert_id"])],
            Some(keys) => {
                let ids = keys.iter().flat_map(|key| key["alert_ids"].as_array().unwrap());
                ids.map(text).collect()
            }
        }
    };
    messages.iter().flat_map(ids).collect()
}

/// Returns the number of bad rows that ingest rejected.
fn at_ingest(ingested: &Ingested) -> usize {
    ingested.bad_rows.iter().filter(|row| row.get("sequence_number").is_none()).count()
}

#[tokio::test(start_paused = true)]
async fn good_rows_become_events_and_metrics() {
    for dataset in shipped().datasets.iter() {
        let name = dataset.name();
        let (file, bytes) = fixture(name, "valid");

        let ingested = take(&file, bytes).await;

        assert_eq!(ingested.bad_rows, Vec::<Value>::new(), "{name}");
        assert_eq!(ingested.raw.len(), ingested.events.len(), "{name}");
        assert!(!ingested.events.is_empty(), "{name}");
        let has_metrics = shipped().pipeline.metrics.iter().any(|metric| metric.dataset == name);
        assert_eq!(!ingested.metrics.is_empty(), has_metrics, "{name}");
        assert!(ingested.events.iter().all(|event| event["dataset"] == name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn devices_differing_in_last_digit_stay_two() {
    let ids = ["18446744073709551617", "18446744073709551618"];
    let time = "2026-11-20T09:00:00Z";
    let json =
        |id: &str| format!("{{\"sensor_id\":{id},\"timestamp\":\"{time}\",\"temperature\":20}}\n");
    let scientific = |id: &str| json(&format!("{}.{}E+19", &id[..1], &id[1..]));
    let row = |id: &str| format!("{id},{time},20,50\n");
    let header = "sensor_id,timestamp,temperature,humidity\n".to_owned();
    for (key, text) in [
        ("telemetry/a.jsonl", ids.map(json).concat()),
        ("telemetry/b.jsonl", ids.map(scientific).concat()),
        ("telemetry/c.json", format!("[{}]", ids.map(json).join(","))),
        ("telemetry/d.csv", header + &ids.map(row).concat()),
    ] {
        let ingested = take(key, text.into_bytes()).await;

        assert_eq!(distinct(&ingested.events, "event_id"), 2, "{key}");
        for (id, event) in ids.iter().zip(&ingested.events) {
            assert_eq!(
                (&event["entity"], &event["attributes"]["sensor_id"]),
                (&json!(id), &json!(id))
            );
        }
        let keys: Vec<_> = ingested.raw.iter().map(|record| &record.partition_key).collect();
        assert_eq!(keys, ids, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_rows_are_quarantined_with_their_bytes() {
    for dataset in shipped().datasets.iter() {
        let name = dataset.name();
        let (file, bytes) = fixture(name, "bad-rows");

        let ingested = take(&file, bytes).await;

        assert_eq!(ingested.events, Vec::<Value>::new(), "{name}");
        assert!(!ingested.bad_rows.is_empty(), "{name}");
        assert!(ingested.bad_rows.iter().all(|row| row["payload_base64"].is_string()), "{name}");
    }
}

/// Repairs a bad row of the demo: an unreadable one is replaced by the row `good`, a readable one
/// gets the good values in place of its wrong ones.
fn mended(row: &QuarantinedRow<'_>, good: &Value, id: &Value) -> Repair {
    let bytes = row.bytes().unwrap();
    let mut payload = match (&row.field, serde_json::from_slice::<Value>(&bytes)) {
        (Some(_), Ok(record)) => record["payload"].clone(),
        _ => good.clone(),
    };
    if let Some(field) = &row.field {
        payload[field.as_ref()] = good[field.as_ref()].clone();
    }
    payload["ID"] = id.clone();
    Repair { payload: Some(serde_json::value::to_raw_value(&payload).unwrap()), row: None }
}

/// Returns the record of a row that becomes an event.
fn event(verdict: ReplayVerdict) -> Option<RebuiltRecord> {
    match verdict {
        ReplayVerdict::Event(rebuilt) => Some(rebuilt),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn repaired_bad_rows_become_events_once() {
    let bytes = std::fs::read(format!("{FIXTURES}/accidents/demo.csv")).unwrap();
    let expected = std::fs::read(format!("{FIXTURES}/accidents/demo.expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let ingested = take("accidents/demo.csv", bytes).await;
    let ids = |events: &[Value]| -> BTreeSet<String> {
        events.iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect()
    };
    let good: Value = serde_json::from_slice(&ingested.raw[0].data).unwrap();
    let evaluate = Replayer::new(transformer(), STREAM.entry_bytes);

    let rebuilt: Vec<_> = ingested
        .bad_rows
        .iter()
        .map(|line| {
            let line = line.to_string();
            let row = QuarantinedRow::from_json(line.as_bytes()).unwrap();
            let rows = expected["bad_by_line"].as_array().unwrap();
            let place = |bad: &&Value| row.source.contains(&format!("#offset={}&", bad["offset"]));
            let number = rows.iter().find(place).unwrap()["row"].as_u64().unwrap();
            // The generator numbers ids like this; one of the bad rows has lost its id.
            let id = json!(format!("A-{}", 9_100_000 + number));
            let by_hand = mended(&row, &good["payload"], &id);
            let rebuilt = event(evaluate.evaluate(&row, None, &by_hand)).unwrap();
            StreamRecord::new(&rebuilt.partition_key, rebuilt.data)
        })
        .collect();
    let (replayed, rejected) = transform(&rebuilt).await;
    let (again, _) = transform(&rebuilt).await;

    assert_eq!((rebuilt.len(), rejected.len()), (18, 0));
    let of = |events: Vec<StreamRecord>| {
        ids(&lines(&events.into_iter().map(|event| event.data).collect::<Vec<_>>()))
    };
    let (before, replayed, again) = (ids(&ingested.events), of(replayed), of(again));
    assert_eq!((replayed.len(), &again), (18, &replayed));
    assert!(before.is_disjoint(&replayed));
    assert_eq!(before.len() + replayed.len(), 300);
    let record_ids =
        |data: &Vec<u8>| serde_json::from_slice::<Value>(data).unwrap()["record_id"].clone();
    let sent: Vec<_> = rebuilt.iter().map(|record| record_ids(&record.data)).collect();
    let kept: Vec<_> = ingested.bad_rows.iter().map(|row| row["record_id"].clone()).collect();
    assert_eq!(sent, kept);
}

#[tokio::test(start_paused = true)]
async fn one_fix_repairs_all_rows_with_one_fault() {
    let bytes = std::fs::read(format!("{FIXTURES}/accidents/demo.csv")).unwrap();
    let ingested = take("accidents/demo.csv", bytes).await;
    let field = "Start_Lat";
    let set = [format!("{field}=payload['{field}'].replace(',', '.')")];
    let replayer = Replayer {
        fixes: Fixes::compile(None, &set).unwrap(),
        ..Replayer::new(transformer(), STREAM.entry_bytes)
    };
    let commas: Vec<_> = ingested
        .bad_rows
        .iter()
        .filter(|row| row["field"] == field && row["message"].as_str().unwrap().contains(','))
        .map(Value::to_string)
        .collect();
    assert!(!commas.is_empty());

    for line in &commas {
        let row = QuarantinedRow::from_json(line.as_bytes()).unwrap();
        let rebuilt = event(replayer.evaluate(&row, None, &Repair::default()));
        assert!(rebuilt.unwrap().is_repaired);
    }
}
