//! KPL aggregates in `transform`: user records are separate, the checkpoint counts records.

use std::collections::BTreeSet;
use std::time::Duration;

use fn_transform::handler::Transform;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_testkit::{Answer, MemorySink, aggregated};

use crate::support::{Events, Quarantine, STREAM, case};

fn transform(
    events: impl IntoIterator<Item = Answer>,
    quarantine: impl IntoIterator<Item = Answer>,
) -> Transform<Events, Quarantine> {
    Transform {
        events: Producer::new(MemorySink::scripted(STREAM, StreamRecord::size, events)),
        quarantine: Producer::new(MemorySink::scripted(firehose::LIMITS, Vec::len, quarantine)),
        transformer: Configuration::shipped().unwrap().transformer().unwrap(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("transform", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

async fn handle(transform: &Transform<Events, Quarantine>, payload: &Value) -> BatchResponse {
    let deadline = Deadline::after(Duration::from_secs(5));
    transform.handle(&payload.to_string(), deadline).await.unwrap()
}

fn json(text: impl AsRef<[u8]>) -> Value {
    serde_json::from_slice(text.as_ref()).unwrap()
}

/// Returns seven records with sequence numbers 0 to 6; 0, 2, 4 and 5 are bad.
fn seven() -> Value {
    let mut payload = json(case("one-good-two-bad"));
    let records = payload["Records"].as_array_mut().unwrap();
    let more = json(case("not-json"));
    records.extend(more["Records"].as_array().unwrap().iter().cloned());
    // Both cases begin with the same row: give one of them another id.
    let data = records[1]["kinesis"]["data"].as_str().unwrap();
    let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
    let data = String::from_utf8(data).unwrap().replace("A-9500001", "A-9500099");
    records[1]["kinesis"]["data"] = json!(base64_simd::STANDARD.encode_to_string(data));
    for (number, record) in records.iter_mut().enumerate() {
        record["kinesis"]["sequenceNumber"] = json!(number.to_string());
    }
    payload
}

/// Returns the same seven: the first plain, then an aggregate of three, then another of three.
fn aggregates() -> Value {
    let mut payload = seven();
    let mut rest = payload.clone();
    rest["Records"].as_array_mut().unwrap().remove(0);
    let rest = json(aggregated(&rest.to_string(), 3).unwrap());
    let records = payload["Records"].as_array_mut().unwrap();
    records.truncate(1);
    records.extend(rest["Records"].as_array().unwrap().iter().cloned());
    assert_eq!(records.len(), 3);
    payload
}

fn bad_rows(transform: &Transform<Events, Quarantine>) -> Vec<Value> {
    transform.quarantine.target().stored().iter().map(json).collect()
}

fn failed(number: &str) -> BatchResponse {
    BatchResponse::failed([number.to_owned()])
}

#[tokio::test(start_paused = true)]
async fn aggregated_user_records_match_plain_records() {
    let (alone, together) = (transform([], []), transform([], []));

    assert_eq!(handle(&alone, &seven()).await, BatchResponse::default());
    assert_eq!(handle(&together, &aggregates()).await, BatchResponse::default());

    assert_eq!(together.events.target().stored(), alone.events.target().stored());
    let what = |bad: &Value| [bad["code"].clone(), bad["payload_base64"].clone()];
    let (alone, together) = (bad_rows(&alone), bad_rows(&together));
    assert_eq!(together.len(), 4);
    assert!(together.iter().map(what).eq(alone.iter().map(what)));
}

#[tokio::test(start_paused = true)]
async fn bad_user_record_names_record_and_index() {
    let transform = transform([], []);

    handle(&transform, &aggregates()).await;

    let bad_rows = bad_rows(&transform);
    let place = |bad: &Value| {
        let number = bad["sequence_number"].as_str().unwrap().to_owned();
        (number, bad["source"].as_str().unwrap().to_owned())
    };
    let (number, source) = place(&bad_rows[1]);
    assert_eq!(number, "1");
    assert!(source.starts_with("s3://"), "expected the source of the raw record: {source}");
    let (number, source) = place(&bad_rows[2]);
    assert_eq!((number, source), ("4".into(), "kinesis:shardId-000000000000#4.0".into()));
    let ids: BTreeSet<_> = bad_rows.iter().map(|bad| bad["record_id"].to_string()).collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn broken_aggregate_is_one_bad_row_with_bytes() {
    let mut payload = aggregates();
    let data = payload["Records"][1]["kinesis"]["data"].as_str().unwrap();
    let mut bytes = base64_simd::STANDARD.decode_to_vec(data).unwrap();
    bytes.pop();
    let cut = base64_simd::STANDARD.encode_to_string(&bytes);
    payload["Records"][1]["kinesis"]["data"] = json!(cut);
    let transform = transform([], []);

    assert_eq!(handle(&transform, &payload).await, BatchResponse::default());

    let bad_rows = bad_rows(&transform);
    assert_eq!(bad_rows[1]["code"], "broken_aggregate");
    assert_eq!(bad_rows[1]["payload_base64"], json!(cut));
    assert_eq!(bad_rows[1]["source"], "kinesis:shardId-000000000000#1");
    assert_eq!(bad_rows.len(), 4, "the first record, the aggregate, and two of the last aggregate");
    assert_eq!(transform.events.target().stored().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn undelivered_event_holds_checkpoint_at_its_aggregate() {
    // Records 1, 3 and 6 are good; the second of them, 3, is the last of the first aggregate.
    let transform = transform([Answer::Fail(vec![1]), Answer::Throttle], []);

    assert_eq!(handle(&transform, &aggregates()).await, failed("1"));
}

#[tokio::test(start_paused = true)]
async fn undelivered_bad_row_blocks_its_whole_aggregate() {
    // Records 0, 2, 4 and 5 are bad; 1 and 3 are in one aggregate with 2.
    let transform = transform([], [Answer::Fail(vec![1]), Answer::Throttle]);

    assert_eq!(handle(&transform, &aggregates()).await, failed("1"));

    assert!(transform.events.target().stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn empty_aggregate_produces_no_records() {
    let mut payload = aggregates();
    let nothing = tributary_kpl::Aggregator::new(100).finish();
    let nothing = base64_simd::STANDARD.encode_to_string(nothing);
    payload["Records"][0]["kinesis"]["data"] = json!(nothing);
    let transform = transform([Answer::Fail(vec![0]), Answer::Throttle], []);

    assert_eq!(handle(&transform, &payload).await, failed("1"));

    assert_eq!(bad_rows(&transform).len(), 3);
}

/// Injects 128 combinations of faults and redelivers from each checkpoint. In the end each user
/// record is an event or a bad row, and no others exist.
#[tokio::test(start_paused = true)]
async fn redelivery_from_the_checkpoint_loses_nothing() {
    let alone = transform([], []);
    handle(&alone, &seven()).await;
    let (events, bad) = ids(&alone);
    assert_eq!((events.len(), bad.len()), (3, 4));

    for fault in 0..128 {
        let mut payload = aggregates();
        // Each bit of `fault` fails one of the first calls, at an entry that varies with the call.
        let script = |from: usize| {
            let answer = move |call: usize| match fault >> (from + call) & 1 {
                0 => Answer::Take,
                _ => Answer::Fail(vec![(fault + call) % 4]),
            };
            let throttled = std::iter::repeat_n(Answer::Throttle, fault % 3 * 40);
            (0..4).map(answer).chain(throttled).chain([Answer::Take])
        };
        let transform = transform(script(0), script(3));
        let mut deliveries = 0;
        loop {
            let response = handle(&transform, &payload).await;
            deliveries += 1;
            assert!(deliveries < 100, "fault {fault}: still failing after 100 deliveries");
            let Some(first) = response.batch_item_failures.first() else { break };
            let records = payload["Records"].as_array_mut().unwrap();
            let from = records
                .iter()
                .position(|it| it["kinesis"]["sequenceNumber"] == json!(first.item_identifier));
            records.drain(..from.unwrap());
        }

        let (sent, quarantined) = ids(&transform);
        assert_eq!(sent, events, "fault {fault}");
        assert_eq!(quarantined.len(), bad.len(), "fault {fault}");
    }
}

/// Returns the ids of events, and those of bad rows.
fn ids(transform: &Transform<Events, Quarantine>) -> (BTreeSet<String>, BTreeSet<String>) {
    let events = transform.events.target().stored();
    let event_ids = events.iter().map(|event| json(&event.data)["event_id"].to_string());
    let bad_rows = bad_rows(transform);
    (event_ids.collect(), bad_rows.iter().map(|bad| bad["record_id"].to_string()).collect())
}
