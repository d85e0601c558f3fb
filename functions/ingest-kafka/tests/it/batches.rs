//! Batches of `ingest-kafka` with in-memory sinks: stored records and reported offsets.

use std::time::Duration;

use fn_ingest_kafka::config::Topics;
use fn_ingest_kafka::handler::IngestKafka;
use fn_ingest_kafka::payload::KafkaResponse;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_testkit::{Answer, MemorySink};

const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

type Ingest = IngestKafka<MemorySink<StreamRecord>, MemorySink<Vec<u8>>>;

fn ingest_within(limits: Limits, raw: Vec<Answer>, quarantine: Vec<Answer>) -> Ingest {
    IngestKafka {
        raw: Producer::new(MemorySink::scripted(limits, StreamRecord::size, raw)),
        quarantine: Producer::new(MemorySink::scripted(firehose::LIMITS, Vec::len, quarantine)),
        datasets: Configuration::shipped().unwrap().datasets,
        known: KnownDatasets::default(),
        topics: Topics::parse("crashes=accidents").unwrap(),
        metrics_log: MetricsLog::new("ingest-kafka", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

fn ingest(raw: Vec<Answer>, quarantine: Vec<Answer>) -> Ingest {
    ingest_within(STREAM, raw, quarantine)
}

fn base64(text: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(text)
}

/// Topic, partition number, and the values of the records.
type Partition<'a> = (&'a str, i64, Vec<Option<&'a [u8]>>);

/// Returns a payload of these partitions, with offsets from 100.
fn payload(partitions: &[Partition<'_>]) -> Value {
    let mut records = serde_json::Map::new();
    for (topic, number, values) in partitions {
        let record = |(offset, value): (i64, Option<&[u8]>)| {
            json!({"topic": topic, "partition": number, "offset": offset,
                "timestamp": 1_795_168_800_000_i64, "timestampType": "CREATE_TIME",
                "key": base64(b"A-1"), "value": value.map(base64), "headers": [{"h": [0, -1]}]})
        };
        let list: Vec<_> = (100..).zip(values.iter().copied()).map(record).collect();
        records.insert(format!("{topic}-{number}"), json!(list));
    }
    json!({"eventSource": "aws:kafka", "records": records})
}

async fn answer(ingest: &Ingest, payload: &Value) -> Result<KafkaResponse, InvocationError> {
    ingest.handle(&payload.to_string(), Deadline::after(Duration::from_secs(10))).await
}

async fn handle(ingest: &Ingest, payload: &Value) -> KafkaResponse {
    answer(ingest, payload).await.unwrap()
}

fn failures(response: &KafkaResponse) -> Vec<(&str, i64)> {
    let positions = response.batch_item_failures.iter().map(|failure| &failure.item_identifier);
    positions.map(|position| (position.partition.as_str(), position.offset)).collect()
}

fn stored(ingest: &Ingest) -> Vec<Value> {
    let records = ingest.raw.target().stored();
    records.iter().map(|record| serde_json::from_slice(&record.data).unwrap()).collect()
}

fn keys(ingest: &Ingest) -> Vec<String> {
    ingest.raw.target().stored().into_iter().map(|record| record.partition_key).collect()
}

fn bad_rows(ingest: &Ingest) -> Vec<Value> {
    let lines = ingest.quarantine.target().stored();
    lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn codes(ingest: &Ingest) -> Vec<String> {
    bad_rows(ingest).iter().map(|row| row["code"].as_str().unwrap().to_owned()).collect()
}

const GOOD: Option<&[u8]> = Some(br#"{"ID":"A-1"}"#);
const BAD: Option<&[u8]> = Some(b"[1]");

fn three() -> Vec<Option<&'static [u8]>> {
    vec![GOOD, GOOD, GOOD]
}

#[tokio::test(start_paused = true)]
async fn record_keeps_its_position_and_key() {
    let ingest = ingest(vec![], vec![]);
    let pretty: Option<&[u8]> = Some(b" \n {\n  \"ID\":\t\"A-2\"\r\n}\n");

    let response = handle(&ingest, &payload(&[("crashes", 3, vec![GOOD, pretty])])).await;

    assert_eq!(response, KafkaResponse::default());
    insta::assert_json_snapshot!(stored(&ingest));
    assert_eq!(keys(&ingest), ["A-1", "A-1"]);
    let records = ingest.raw.target().stored();
    assert!(records.iter().all(|record| !record.data.contains(&b'\n')));
}

#[tokio::test(start_paused = true)]
async fn null_or_binary_key_becomes_record_id() {
    let ingest = ingest(vec![], vec![]);
    let mut payload = payload(&[("crashes", 0, vec![GOOD; 6])]);
    let others =
        [json!(null), json!("%"), json!(base64(b"\xff")), json!(base64(b"\0\0\x01")), json!("")];
    for (at, key) in others.into_iter().enumerate() {
        payload["records"]["crashes-0"][at]["key"] = key;
    }
    payload["records"]["crashes-0"][0].as_object_mut().unwrap().remove("headers");

    assert_eq!(handle(&ingest, &payload).await, KafkaResponse::default());

    let ids: Vec<_> =
        stored(&ingest).iter().map(|it| it["record_id"].as_str().unwrap().to_owned()).collect();
    let keys = keys(&ingest);
    assert_eq!(keys[..5], ids[..5]);
    assert_eq!(keys[5], "A-1");
}

#[tokio::test(start_paused = true)]
async fn invalid_row_is_quarantined_and_partition_advances() {
    let ingest = ingest(vec![], vec![]);
    let values = vec![Some(&b"\xff"[..]), BAD, Some(b"{"), Some(b""), Some(b"{\0}"), None, GOOD];

    let payload = payload(&[("crashes", 0, values), ("weather", 0, vec![GOOD, BAD])]);
    let response = handle(&ingest, &payload).await;

    assert_eq!(response, KafkaResponse::default());
    insta::assert_json_snapshot!(bad_rows(&ingest));
    assert_eq!(stored(&ingest).len(), 1, "a tombstone is not a row");
}

#[tokio::test(start_paused = true)]
async fn record_over_stream_limit_is_bad_row() {
    let limits = Limits { entry_bytes: 300, ..STREAM };
    let ingest = ingest_within(limits, vec![], vec![]);
    let near = format!("{{\"ID\":\"{}\"}}", "x".repeat(280));
    let far = format!("{{\"ID\":\"{}\"}}", "x".repeat(400));
    let values = vec![GOOD, Some(near.as_bytes()), Some(far.as_bytes()), GOOD];

    let response = handle(&ingest, &payload(&[("crashes", 0, values)])).await;

    assert_eq!(response, KafkaResponse::default());
    assert_eq!(codes(&ingest), ["row_too_large", "row_too_large"]);
    assert_eq!(stored(&ingest).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn topics_map_to_their_datasets() {
    let ingest = ingest(vec![], vec![]);
    let payload = payload(&[("crashes", 0, vec![GOOD]), ("flood", 7, vec![GOOD])]);

    assert_eq!(handle(&ingest, &payload).await, KafkaResponse::default());

    let datasets: Vec<_> = stored(&ingest).iter().map(|it| it["dataset"].clone()).collect();
    assert_eq!(datasets, ["accidents", "flood"]);
}

#[tokio::test(start_paused = true)]
async fn malformed_record_costs_only_itself() {
    let ingest = ingest(vec![], vec![]);
    let mut payload = payload(&[("crashes", 0, vec![GOOD; 6]), ("crashes", 1, three())]);
    let records = &mut payload["records"]["crashes-0"];
    records[0]["value"] = json!("%");
    records[1]["topic"] = json!(5);
    records[2].as_object_mut().unwrap().remove("offset");
    records[3] = json!("no object");

    assert_eq!(handle(&ingest, &payload).await, KafkaResponse::default());

    assert_eq!(codes(&ingest), ["broken_base64", "invalid_json", "invalid_json", "invalid_json"]);
    let sources: Vec<_> = bad_rows(&ingest).iter().map(|it| it["source"].clone()).collect();
    let of = |offset: i64| format!("kafka:crashes-0#offset={offset}");
    assert_eq!(sources, [of(100), of(101), "kafka:crashes-0".into(), "kafka:crashes-0".into()]);
    assert_eq!(stored(&ingest).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn record_without_offset_is_redelivered_with_predecessor() {
    let mut payload = payload(&[("crashes", 0, three()), ("crashes", 1, three())]);
    payload["records"]["crashes-0"][1].as_object_mut().unwrap().remove("offset");
    let ingest_down = ingest(vec![], vec![Answer::Throttle]);

    let response = handle(&ingest_down, &payload).await;

    assert_eq!(failures(&response), [("crashes-0", 100)]);
    assert_eq!(stored(&ingest_down).len(), 3, "only the records of the other partition");

    payload["records"]["crashes-0"][0].as_object_mut().unwrap().remove("offset");
    assert!(answer(&ingest_down, &payload).await.is_err(), "no offset to report the failure by");
    assert_eq!(handle(&ingest(vec![], vec![]), &payload).await, KafkaResponse::default());
}

#[tokio::test(start_paused = true)]
async fn failed_partition_does_not_redeliver_others() {
    let ingest = ingest(vec![Answer::Fail(vec![3]), Answer::Throttle], vec![]);

    let payload = payload(&[("crashes", 0, three()), ("crashes", 1, three())]);
    let response = handle(&ingest, &payload).await;

    assert_eq!(failures(&response), [("crashes-1", 100)]);
}

#[tokio::test(start_paused = true)]
async fn earliest_failure_per_partition_is_reported() {
    let ingest = ingest(vec![Answer::Fail(vec![1, 2, 5]), Answer::Throttle], vec![]);

    let payload = payload(&[("crashes", 0, three()), ("flood", 1, three())]);
    let response = handle(&ingest, &payload).await;

    assert_eq!(failures(&response), [("crashes-0", 101), ("flood-1", 102)]);
}

#[tokio::test(start_paused = true)]
async fn unordered_records_report_lowest_offset() {
    let ingest = ingest(vec![Answer::Fail(vec![1]), Answer::Throttle], vec![]);
    let mut payload = payload(&[("crashes", 0, three())]);
    payload["records"]["crashes-0"].as_array_mut().unwrap().reverse();

    assert_eq!(failures(&handle(&ingest, &payload).await), [("crashes-0", 101)]);
}

#[tokio::test(start_paused = true)]
async fn failed_quarantine_holds_only_its_partition() {
    let ingest = ingest(vec![], vec![Answer::Throttle]);
    let payload =
        payload(&[("crashes", 0, vec![GOOD, BAD, GOOD]), ("crashes", 1, vec![GOOD, None, GOOD])]);

    let response = handle(&ingest, &payload).await;

    assert_eq!(failures(&response), [("crashes-0", 101)]);
    assert_eq!(stored(&ingest).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn expired_deadline_reports_all_and_sends_nothing() {
    let ingest = ingest(vec![], vec![]);
    let payload = payload(&[
        ("crashes", 0, three()),
        ("crashes", 1, vec![None, BAD]),
        ("flood", 0, vec![None]),
    ]);

    let response =
        ingest.handle(&payload.to_string(), Deadline::after(Duration::ZERO)).await.unwrap();

    assert_eq!(failures(&response), [("crashes-0", 100), ("crashes-1", 101)]);
    assert!(
        ingest.raw.target().calls().is_empty() && ingest.quarantine.target().calls().is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn redelivery_keeps_record_ids() {
    let ingest = ingest(vec![], vec![]);
    let payload = payload(&[("crashes", 0, vec![GOOD, GOOD, BAD]), ("crashes", 1, vec![GOOD])]);

    for _ in 0..2 {
        handle(&ingest, &payload).await;
    }

    let id = |record: &Value| record["record_id"].as_str().unwrap().to_owned();
    let ids: Vec<_> = stored(&ingest).iter().map(id).collect();
    assert_eq!(ids[..3], ids[3..]);
    assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2]);
    let bad: Vec<_> = bad_rows(&ingest).iter().map(id).collect();
    assert_eq!(bad[0], bad[1]);
}

#[tokio::test(start_paused = true)]
async fn sample_payloads_return_expected_responses() {
    let samples = [
        ("one-good", 1, 0),
        ("one-good-two-bad", 1, 2),
        ("two-topics", 4, 0),
        ("tombstones-and-binary-keys", 2, 0),
        ("unknown-topic", 0, 1),
        ("broken-base64", 2, 1),
        ("empty-batch", 0, 0),
    ];
    for (name, good, bad) in samples {
        let read = |end: &str| {
            let path =
                format!("{}/../../events/ingest-kafka/{name}.{end}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap()
        };
        let ingest = ingest(vec![], vec![]);

        let deadline = Deadline::after(Duration::from_secs(10));
        let response = ingest.handle(&read("json"), deadline).await.unwrap();

        let expected: Value = serde_json::from_str(&read("expected.json")).unwrap();
        assert_eq!(serde_json::to_value(&response).unwrap(), expected, "{name}");
        assert_eq!((stored(&ingest).len(), bad_rows(&ingest).len()), (good, bad), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn setup_error_and_foreign_payload_fail_invocation() {
    let good = payload(&[("crashes", 0, three())]);

    let denied = answer(&ingest(vec![Answer::Deny], vec![]), &good).await.unwrap_err();
    assert_eq!(denied.kind(), "SetUp");
    for other in [json!(7), json!({"Records": []}), json!({"records": {"a-0": 1}})] {
        let refused = answer(&ingest(vec![], vec![]), &other).await.unwrap_err();
        assert_eq!(refused.kind(), "Payload");
    }
    let empty = json!({"records": {}});
    assert_eq!(handle(&ingest(vec![], vec![]), &empty).await, KafkaResponse::default());
}

#[tokio::test(start_paused = true)]
async fn refused_record_is_quarantined_and_partition_advances() {
    let ingest = ingest(vec![Answer::Reject(vec![1]), Answer::Take], vec![]);
    let batch = [("crashes", 0, vec![GOOD, BAD, GOOD]), ("crashes", 1, three())];

    let response = handle(&ingest, &payload(&batch)).await;

    assert_eq!(response, KafkaResponse::default());
    assert_eq!(stored(&ingest).len(), 4);
    let rows = bad_rows(&ingest);
    assert_eq!(codes(&ingest), ["invalid_json", "refused"]);
    assert_eq!(rows[1]["source"], "kafka:crashes-0#offset=102");
    assert_eq!(rows[1]["payload_base64"], base64(GOOD.unwrap()));
}
