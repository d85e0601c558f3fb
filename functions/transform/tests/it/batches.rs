//! Batches of `transform` with in-memory sinks: stored records and reported failures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fn_transform::handler::Transform;
use serde_json::Value;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_kpl as kpl;
use tributary_testkit::{Answer, MemorySink};

use crate::support::{Events, Quarantine, STREAM, case};

fn transform(events: Events, quarantine: Quarantine) -> Transform<Events, Quarantine> {
    Transform {
        events: Producer::new(events),
        quarantine: Producer::new(quarantine),
        transformer: Configuration::shipped().unwrap().transformer().unwrap(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("transform", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

fn events(script: impl IntoIterator<Item = Answer>) -> Events {
    MemorySink::scripted(STREAM, StreamRecord::size, script)
}

fn quarantine(script: impl IntoIterator<Item = Answer>) -> Quarantine {
    MemorySink::scripted(firehose::LIMITS, Vec::len, script)
}

async fn handle(
    transform: &Transform<Events, Quarantine>,
    payload: &str,
) -> Result<BatchResponse, InvocationError> {
    transform.handle(payload, Deadline::after(Duration::from_secs(5))).await
}

fn sequence_numbers(payload: &str) -> Vec<String> {
    let payload: Value = serde_json::from_str(payload).unwrap();
    let records = payload["Records"].as_array().unwrap();
    let number = |record: &Value| record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned();
    records.iter().map(number).collect()
}

/// Returns the number of user records in a payload, with those in KPL aggregates.
fn user_records(payload: &str) -> usize {
    let payload: Value = serde_json::from_str(payload).unwrap();
    let records = payload["Records"].as_array().unwrap().iter();
    let count = |record: &Value| {
        let data = record["kinesis"]["data"].as_str().unwrap();
        let data = base64_simd::STANDARD.decode_to_vec(data).unwrap_or_default();
        kpl::user_records(&data).and_then(Result::ok).map_or(1, |records| records.len())
    };
    records.map(count).sum()
}

fn failed(response: &BatchResponse) -> Vec<&str> {
    response.batch_item_failures.iter().map(|failure| &failure.item_identifier[..]).collect()
}

fn json(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

#[tokio::test(start_paused = true)]
async fn example_events_get_their_expected_answers() {
    let folder = format!("{}/../../events/transform", env!("CARGO_MANIFEST_DIR"));
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".expected.json") else { continue };
        let transform = transform(events([]), quarantine([]));

        let response = handle(&transform, &case(name)).await.unwrap();

        let expected: Value = serde_json::from_str(&case(&format!("{name}.expected"))).unwrap();
        assert_eq!(serde_json::to_value(response).unwrap(), expected, "{name}");
        let stored = transform.events.target().stored().len();
        let quarantined = transform.quarantine.target().stored().len();
        assert_eq!(stored + quarantined, user_records(&case(name)), "{name}");
        cases += 1;
    }
    assert!(cases >= 8, "{cases} cases");
}

#[tokio::test(start_paused = true)]
async fn bad_rows_are_quarantined_with_their_position() {
    let transform = transform(events([]), quarantine([]));

    handle(&transform, &case("one-good-two-bad")).await.unwrap();

    let events = transform.events.target().stored();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].partition_key, json(&events[0].data)["event_id"]);
    let mut bad_rows: Vec<_> =
        transform.quarantine.target().stored().iter().map(|line| json(line)).collect();
    for row in &mut bad_rows {
        row["payload_base64"] = "[bytes]".into();
    }
    insta::assert_json_snapshot!(bad_rows);
}

#[tokio::test(start_paused = true)]
async fn invalid_base64_becomes_one_bad_row() {
    let transform = transform(events([]), quarantine([]));

    handle(&transform, &case("broken-base64")).await.unwrap();

    assert_eq!(transform.events.target().stored().len(), 2);
    let bad_rows = transform.quarantine.target().stored();
    assert_eq!(bad_rows.len(), 1);
    assert_eq!(json(&bad_rows[0])["code"], "broken_base64");
}

#[tokio::test(start_paused = true)]
async fn only_earliest_undelivered_record_is_reported() {
    let payload = case("broken-base64");
    let transform = transform(events([Answer::Fail(vec![1]), Answer::Throttle]), quarantine([]));

    let response = handle(&transform, &payload).await.unwrap();

    assert_eq!(failed(&response), [&sequence_numbers(&payload)[2]]);
}

#[tokio::test(start_paused = true)]
async fn undelivered_bad_row_holds_the_checkpoint() {
    let payload = case("broken-base64");
    let transform = transform(events([]), quarantine([Answer::Throttle]));

    let response = handle(&transform, &payload).await.unwrap();

    assert_eq!(failed(&response), [&sequence_numbers(&payload)[1]]);
    assert_eq!(
        transform.events.target().stored().len(),
        1,
        "only the record before the bad row is sent"
    );
}

#[tokio::test(start_paused = true)]
async fn transient_throttle_is_retried() {
    let throttled = [Answer::Throttle, Answer::Fail(vec![0]), Answer::Take];
    let transform = transform(events(throttled), quarantine([Answer::Throttle, Answer::Take]));

    let response = handle(&transform, &case("broken-base64")).await.unwrap();

    assert_eq!(response, BatchResponse::default());
    assert_eq!(transform.events.target().stored().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn setup_error_fails_the_invocation() {
    let transform = transform(events([Answer::Deny]), quarantine([]));

    let error = handle(&transform, &case("one-good")).await.unwrap_err();

    assert_eq!(error.to_string(), "memory:Put on memory: AccessDeniedException: not authorized");
}

#[tokio::test(start_paused = true)]
async fn foreign_payload_fails_the_invocation() {
    let transform = transform(events([]), quarantine([]));

    for payload in ["7", r#"{"Records":[{"body":"{}"}]}"#] {
        let error = handle(&transform, payload).await.unwrap_err();
        assert!(matches!(error, InvocationError::Payload(_)), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn filters_drop_events_but_not_bad_rows() {
    let config = "[[filters]]\nid = \"f\"\ndataset = \"accidents\"\ndrop_when = \"true\"";
    let config = Configuration::with_pipeline(config).unwrap();
    let mut transform = transform(events([]), quarantine([]));
    transform.transformer = config.transformer().unwrap();

    let response = handle(&transform, &case("one-good-two-bad")).await.unwrap();

    assert_eq!(response, BatchResponse::default());
    assert!(transform.events.target().stored().is_empty());
    assert_eq!(transform.quarantine.target().stored().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn event_over_record_limit_is_bad_row() {
    let small = Limits { entry_bytes: 200, ..STREAM };
    let events = MemorySink::new(small, StreamRecord::size);
    let transform = transform(events, quarantine([]));

    handle(&transform, &case("one-good")).await.unwrap();

    let bad_rows = transform.quarantine.target().stored();
    assert_eq!(json(&bad_rows[0])["code"], "event_too_large");
    assert_eq!(json(&bad_rows[0])["dataset"], "accidents");
}

#[tokio::test(start_paused = true)]
async fn redelivery_produces_identical_events_and_bad_rows() {
    let transform = transform(events([]), quarantine([]));

    for _ in 0..2 {
        handle(&transform, &case("one-good-two-bad")).await.unwrap();
    }

    let events = transform.events.target().stored();
    assert_eq!(events[0], events[1]);
    let bad_rows = transform.quarantine.target().stored();
    assert_eq!(bad_rows[..2], bad_rows[2..]);
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_waits_for_later_configuration() {
    let payload = case("one-good-two-bad");
    let mut transform = transform(events([]), quarantine([]));
    let mut config = Configuration::shipped().unwrap();
    (config.datasets, config.pipeline) = Default::default();
    transform.transformer = config.transformer().unwrap();
    transform.known = KnownDatasets::new(BTreeSet::new(), Arc::default());

    let error = handle(&transform, &payload).await.unwrap_err();
    assert!(matches!(error, InvocationError::Stale(_)), "{error}");
    assert_eq!(error.kind(), "Plumbing");
    assert!(transform.quarantine.target().calls().is_empty());

    transform.known = KnownDatasets::new(BTreeSet::new(), Arc::new(i64::MAX.into()));
    handle(&transform, &payload).await.unwrap();
    assert_eq!(transform.quarantine.target().stored().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn refused_event_is_quarantined_and_others_delivered() {
    let payload = case("aggregates");
    let good = transform(events([]), quarantine([]));
    handle(&good, &payload).await.unwrap();
    let count = good.events.target().stored().len();
    let transform = transform(events([Answer::Reject(vec![1]), Answer::Take]), quarantine([]));

    let response = handle(&transform, &payload).await.unwrap();

    assert_eq!(response, BatchResponse::default());
    assert_eq!(transform.events.target().stored().len(), count - 1);
    let bad_rows: Vec<_> =
        transform.quarantine.target().stored().iter().map(|line| json(line)).collect();
    let refused: Vec<_> = bad_rows.iter().filter(|row| row["code"] == "refused").collect();
    let [row] = refused[..] else { panic!("{bad_rows:?}") };
    let bytes = base64_simd::STANDARD.decode_to_vec(row["payload_base64"].as_str().unwrap());
    let raw = json(&bytes.unwrap());
    assert_eq!((&row["record_id"], &row["source"]), (&raw["record_id"], &raw["source"]));
    assert_eq!(bad_rows.len(), good.quarantine.target().stored().len() + 1);
}

#[tokio::test(start_paused = true)]
async fn refused_event_waits_for_quarantine() {
    let payload = case("one-good");
    let transform = transform(events([Answer::Refuse]), quarantine([Answer::Throttle]));

    let response = handle(&transform, &payload).await.unwrap();

    assert_eq!(failed(&response), sequence_numbers(&payload));
}
