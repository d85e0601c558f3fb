//! `ingest-s3` over an in-memory bucket, sinks and queue.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use fn_ingest_s3::handler::IngestS3;
use serde_json::{Value, json};
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
use tributary_rows as rows;
use tributary_testkit::{Answer, MemoryObjects, MemoryQueue, MemorySink};

const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };
pub(crate) const KEY: &str = "accidents/file.csv";
pub(crate) const HEADER: &str = "ID,Severity,Start_Time,Start_Lat,Start_Lng,State,Description\n";

pub(crate) type Ingest =
    IngestS3<MemoryObjects, MemorySink<StreamRecord>, MemorySink<Vec<u8>>, MemoryQueue>;

pub(crate) fn ingest(objects: MemoryObjects) -> Ingest {
    scripted(objects, [], [])
}

fn scripted<R, Q>(objects: MemoryObjects, raw: R, quarantine: Q) -> Ingest
where
    R: IntoIterator<Item = Answer>,
    Q: IntoIterator<Item = Answer>,
{
    IngestS3 {
        objects,
        raw: Producer::new(MemorySink::scripted(STREAM, StreamRecord::size, raw)),
        quarantine: Producer::new(MemorySink::scripted(firehose::LIMITS, Vec::len, quarantine)),
        queue: MemoryQueue::default(),
        datasets: Configuration::shipped().unwrap().datasets,
        limits: rows::Limits::default(),
        segment_bytes: 64 << 20,
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("ingest-s3", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00Z".parse().unwrap(),
    }
}

pub(crate) fn messages(bodies: &[String]) -> SqsEvent {
    let message = |(n, body)| json!({"messageId": format!("m{n}"), "body": body});
    let records: Vec<_> = bodies.iter().enumerate().map(message).collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

pub(crate) fn notification(key: &str) -> String {
    json!({"Records": [{"eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}]})
    .to_string()
}

pub(crate) async fn handle(
    ingest: &Ingest,
    bodies: &[String],
    time: Duration,
) -> Result<BatchResponse, InvocationError> {
    ingest.handle(messages(bodies), Deadline::after(time)).await
}

pub(crate) const MINUTE: Duration = Duration::from_mins(1);

/// Runs one object from its notification to its end. Returns the number of continuations.
pub(crate) async fn run(ingest: &Ingest, key: &str, time: Duration) -> usize {
    let mut bodies = vec![notification(key)];
    for round in 0.. {
        let response = handle(ingest, &bodies, time).await.unwrap();
        assert_eq!(response, BatchResponse::default());
        bodies = ingest.queue.drain();
        if bodies.is_empty() {
            return round;
        }
    }
    unreachable!()
}

fn row(n: usize, description: &str) -> String {
    format!("A-{n},2,2016-02-08 05:46:00,39.8,-84.0,OH,{description}\n")
}

pub(crate) fn csv(count: usize) -> String {
    HEADER.to_owned() + &(1..=count).map(|n| row(n, "on I-70")).collect::<String>()
}

/// Returns the ids of the payloads, in stream order.
pub(crate) fn ids(ingest: &Ingest) -> Vec<String> {
    let id = |record: StreamRecord| {
        let record: Value = serde_json::from_slice(&record.data).unwrap();
        record["payload"]["ID"].as_str().unwrap().to_owned()
    };
    ingest.raw.target().stored().into_iter().map(id).collect()
}

fn record_ids(ingest: &Ingest) -> BTreeSet<String> {
    let id = |record: StreamRecord| {
        let record: Value = serde_json::from_slice(&record.data).unwrap();
        record["record_id"].as_str().unwrap().to_owned()
    };
    ingest.raw.target().stored().into_iter().map(id).collect()
}

fn numbered(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|n| format!("A-{n}")).collect()
}

pub(crate) fn codes(ingest: &Ingest) -> Vec<String> {
    let code = |line: Vec<u8>| {
        let line: Value = serde_json::from_slice(&line).unwrap();
        line["code"].as_str().unwrap().to_owned()
    };
    ingest.quarantine.target().stored().into_iter().map(code).collect()
}

#[tokio::test(start_paused = true)]
async fn each_row_is_one_record_with_its_position() {
    let ingest = ingest(MemoryObjects::with(KEY, csv(2)));

    run(&ingest, KEY, MINUTE).await;

    let records: Vec<Value> = ingest
        .raw
        .target()
        .stored()
        .iter()
        .map(|record| serde_json::from_slice(&record.data).unwrap())
        .collect();
    insta::assert_json_snapshot!(records);
    assert_eq!(ingest.raw.target().stored()[0].partition_key, "A-1");
}

#[tokio::test(start_paused = true)]
async fn bad_rows_are_quarantined_alone() {
    let text =
        HEADER.to_owned() + &row(1, "a") + &row(2, "\"open") + &row(3, "a,b") + &row(4, "\"c\"");
    let ingest = ingest(MemoryObjects::with(KEY, text));

    run(&ingest, KEY, MINUTE).await;

    assert_eq!(ids(&ingest), ["A-1", "A-4"]);
    let bad_rows: Vec<Value> = ingest
        .quarantine
        .target()
        .stored()
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    insta::assert_json_snapshot!(bad_rows);
}

#[tokio::test(start_paused = true)]
async fn a_file_of_any_length_passes_in_continuations() {
    let filler = "x".repeat(400);
    let count = 60_000;
    let text = HEADER.to_owned() + &(1..=count).map(|n| row(n, &filler)).collect::<String>();
    assert!(text.len() > 24 << 20);
    let mut ingest = ingest(MemoryObjects::with(KEY, text));
    ingest.segment_bytes = 1 << 20;

    let continuations = run(&ingest, KEY, MINUTE).await;

    assert!(continuations >= 3, "a range of 8 MiB each: {continuations}");
    assert_eq!(ids(&ingest), numbered(1..=count), "each once, in order");
    assert_eq!(record_ids(&ingest).len(), count);
}

#[tokio::test(start_paused = true)]
async fn near_deadline_the_rest_is_enqueued() {
    let filler = "x".repeat(400);
    let text = HEADER.to_owned() + &(1..=30_000).map(|n| row(n, &filler)).collect::<String>();
    let slow = [Answer::After(Duration::from_millis(300))];
    let ingest = scripted(MemoryObjects::with(KEY, text), slow, []);

    let continuations = run(&ingest, KEY, Duration::from_secs(12)).await;

    assert!(continuations >= 2, "{continuations}");
    let unique: BTreeSet<_> = ids(&ingest).into_iter().collect();
    assert_eq!(unique.len(), 30_000);
    let repeated = ids(&ingest).len() - unique.len();
    assert!(repeated <= 500 * continuations, "{repeated} rows repeated");
}

#[tokio::test(start_paused = true)]
async fn a_gzip_file_goes_on_where_it_stopped() {
    let filler = "x".repeat(400);
    let text = HEADER.to_owned() + &(1..=30_000).map(|n| row(n, &filler)).collect::<String>();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    let objects = MemoryObjects::with(KEY, gzip.finish().unwrap());
    let ingest = scripted(objects, [Answer::After(Duration::from_millis(300))], []);

    let continuations = run(&ingest, KEY, Duration::from_secs(15)).await;

    assert!(continuations >= 1, "{continuations}");
    let unique: BTreeSet<_> = ids(&ingest).into_iter().collect();
    assert_eq!(unique.len(), 30_000);
}

#[tokio::test(start_paused = true)]
async fn stalled_stream_enqueues_from_first_unstored_row() {
    let fail_late = [Answer::Take, Answer::Fail(vec![7]), Answer::Throttle];
    let ingest = scripted(MemoryObjects::with(KEY, csv(1_200)), fail_late, []);
    let response = handle(&ingest, &[notification(KEY)], Duration::from_secs(20)).await.unwrap();
    assert_eq!(response, BatchResponse::default());

    let rest = ingest.queue.drain();

    let rest: Value = serde_json::from_str(&rest[0]).unwrap();
    assert_eq!(rest["row"], 508);
    assert_eq!(rest["dataset"], "accidents");
}

#[tokio::test(start_paused = true)]
async fn message_without_progress_is_redelivered() {
    let down = scripted(MemoryObjects::with(KEY, csv(3)), [Answer::Throttle], []);
    let response = handle(&down, &[notification(KEY)], Duration::from_secs(20)).await.unwrap();
    assert_eq!(response, BatchResponse::failed(["m0".into()]));
    assert!(down.queue.drain().is_empty());

    let unread = ingest(MemoryObjects::with(KEY, csv(3)).failing(0..9));
    let response = handle(&unread, &[notification(KEY)], MINUTE).await.unwrap();
    assert_eq!(response, BatchResponse::failed(["m0".into()]));
}

#[tokio::test(start_paused = true)]
async fn failed_message_does_not_fail_the_others() {
    let other = notification("accidents/other.csv");
    let objects = MemoryObjects::with(KEY, csv(3)).failing(0..1);
    let ingest = ingest(objects);

    let response = handle(&ingest, &[notification(KEY), notification(KEY), other], MINUTE).await;

    assert_eq!(response.unwrap(), BatchResponse::failed(["m0".into()]));
    assert_eq!(ids(&ingest), numbered(1..=3));
    assert_eq!(codes(&ingest), ["object_missing"]);
}

#[tokio::test(start_paused = true)]
async fn failed_continuation_send_fails_the_message() {
    let fail_late = [Answer::Take, Answer::Throttle];
    let ingest = scripted(MemoryObjects::with(KEY, csv(1_200)), fail_late, []);
    ingest.queue.restart([Answer::Throttle]);

    let response = handle(&ingest, &[notification(KEY)], Duration::from_secs(20)).await.unwrap();

    assert_eq!(response, BatchResponse::failed(["m0".into()]));
}

#[tokio::test(start_paused = true)]
async fn failed_quarantine_stops_before_the_bad_row() {
    let text = csv(3) + "bro\"ken\n" + &row(5, "a");
    let ingest = scripted(MemoryObjects::with(KEY, text), [], [Answer::Throttle]);

    let response = handle(&ingest, &[notification(KEY)], Duration::from_secs(20)).await.unwrap();

    assert_eq!(response, BatchResponse::default());
    assert_eq!(ids(&ingest), numbered(1..=3));
    let rest: Value = serde_json::from_str(&ingest.queue.drain()[0]).unwrap();
    assert_eq!(rest["row"], 4);
}

#[tokio::test(start_paused = true)]
async fn missing_object_is_reported_once_without_retry() {
    let ingest = ingest(MemoryObjects::default());

    run(&ingest, KEY, MINUTE).await;

    assert_eq!(codes(&ingest), ["object_missing"]);
}

#[tokio::test(start_paused = true)]
async fn changed_object_is_reported_after_earlier_rows() {
    let filler = "x".repeat(400);
    let text = HEADER.to_owned() + &(1..=2_000).map(|n| row(n, &filler)).collect::<String>();
    let objects = MemoryObjects::with(KEY, text).change_before(1, KEY, Some(b"other"));
    let ingest = ingest(objects);

    run(&ingest, KEY, MINUTE).await;

    assert_eq!(codes(&ingest), ["object_changed"]);
    let read = ids(&ingest);
    assert!(!read.is_empty() && read.len() < 2_000);
    assert_eq!(read, numbered(1..=read.len()));
}

#[tokio::test(start_paused = true)]
async fn fixture_files_yield_expected_records() {
    let folder = format!("{}/../../fixtures/datasets/accidents/files", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read(format!("{folder}/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let expected = expected.as_object().unwrap();
    assert!(expected.len() > 20);

    for (name, case) in expected {
        let bytes = std::fs::read(format!("{folder}/{name}")).unwrap();
        let known = case["refused"] != "unknown_dataset";
        let key = if known { format!("accidents/{name}") } else { format!("other/{name}") };
        let ingest = ingest(MemoryObjects::with(&key, bytes));

        run(&ingest, &key, MINUTE).await;

        let codes = codes(&ingest);
        if let Some(refused) = case["refused"].as_str() {
            assert_eq!(codes.last().map(String::as_str), Some(refused), "{name}");
            continue;
        }
        let rows = ingest.raw.target().stored().len() + codes.len();
        assert_eq!(json!(rows), case["rows"], "{name}: {codes:?}");
        assert_eq!(json!(codes.len()), case["bad"], "{name}: {codes:?}");
        for (code, count) in case["codes"].as_object().unwrap() {
            let found = codes.iter().filter(|found| *found == code).count();
            assert_eq!(json!(found), *count, "{name}: {codes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn example_events_get_their_expected_answers() {
    let folder = format!("{}/../../events/ingest-s3", env!("CARGO_MANIFEST_DIR"));
    let mut cases = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".expected.json") else { continue };
        let read = |file: String| std::fs::read(format!("{folder}/{file}")).unwrap();
        let payload: SqsEvent = serde_json::from_slice(&read(format!("{name}.json"))).unwrap();
        let ingest = ingest(MemoryObjects::with("accidents/valid.csv", csv(3)));

        let response = ingest.handle(payload, Deadline::after(MINUTE)).await.unwrap();

        let expected: Value =
            serde_json::from_slice(&read(format!("{name}.expected.json"))).unwrap();
        assert_eq!(serde_json::to_value(response).unwrap(), expected, "{name}");
        cases += 1;
    }
    assert!(cases >= 5, "{cases} cases");
}

#[tokio::test(start_paused = true)]
async fn record_ids_do_not_depend_on_chunking() {
    let filler = "x".repeat(400);
    let text = HEADER.to_owned() + &(1..=3_000).map(|n| row(n, &filler)).collect::<String>();
    let at_once = ingest(MemoryObjects::with(KEY, text.clone()));
    let slow = [Answer::After(Duration::from_secs(1))];
    let in_parts = scripted(MemoryObjects::with(KEY, text), slow, []);

    run(&at_once, KEY, MINUTE).await;
    let continuations = run(&in_parts, KEY, Duration::from_secs(9)).await;

    assert!(continuations > 0);
    assert_eq!(record_ids(&at_once), record_ids(&in_parts));
}

#[tokio::test(start_paused = true)]
async fn json_lines_continuation_keeps_the_dataset() {
    let key = "uploads/file.jsonl";
    let first = json!({"ID": "A-1", "Severity": 2, "Start_Time": "2016-02-08 05:46:00",
        "Start_Lat": 39.8, "Start_Lng": -84.0, "State": "OH"});
    let rest = (2..=600).map(|n| json!({"ID": format!("A-{n}"), "Description": "x".repeat(1_000)}));
    let lines: Vec<_> = [first].into_iter().chain(rest).map(|line| line.to_string()).collect();
    let mut ingest = ingest(MemoryObjects::with(key, lines.join("\n")));
    ingest.segment_bytes = 1;

    let continuations = run(&ingest, key, MINUTE).await;

    assert!(continuations > 0);
    assert_eq!(ids(&ingest), numbered(1..=600));
    assert!(codes(&ingest).is_empty(), "{:?}", codes(&ingest));
}

#[tokio::test(start_paused = true)]
async fn undecodable_key_fails_its_object_only() {
    let record = |key| json!({"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": key}}});
    let body = json!({"Records": [record("%FF"), record(KEY)]}).to_string();
    let ingest = ingest(MemoryObjects::with(KEY, csv(2)));

    let response = handle(&ingest, &[body], MINUTE).await.unwrap();

    assert_eq!(response, BatchResponse::default());
    assert_eq!(ids(&ingest), numbered(1..=2));
    assert_eq!(codes(&ingest), ["not_utf8"]);
}

#[tokio::test(start_paused = true)]
async fn oversized_row_is_quarantined() {
    let text = csv(1) + &row(2, &"x".repeat(2_000)) + &row(3, "a");
    let mut ingest = ingest(MemoryObjects::with(KEY, text));
    let small = Limits { entry_bytes: 1_000, ..STREAM };
    ingest.raw = Producer::new(MemorySink::new(small, StreamRecord::size));

    run(&ingest, KEY, MINUTE).await;

    assert_eq!(ids(&ingest), ["A-1", "A-3"]);
    assert_eq!(codes(&ingest), ["row_too_large"]);
}

#[tokio::test(start_paused = true)]
async fn broken_set_up_fails_the_invocation() {
    let ingest = scripted(MemoryObjects::with(KEY, csv(1)), [Answer::Deny], []);

    let error = handle(&ingest, &[notification(KEY)], MINUTE).await.unwrap_err();

    assert!(matches!(error, InvocationError::Setup(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn refused_row_is_quarantined_and_others_stored() {
    let raw = [Answer::Reject(vec![1]), Answer::Take];
    let ingest = scripted(MemoryObjects::with(KEY, csv(3)), raw, []);

    assert_eq!(run(&ingest, KEY, MINUTE).await, 0);

    assert_eq!(ids(&ingest), ["A-1", "A-3"]);
    assert_eq!(codes(&ingest), ["refused"]);
    let row: Value = serde_json::from_slice(&ingest.quarantine.target().stored()[0]).unwrap();
    assert!(row["source"].as_str().unwrap().ends_with("&row=2"), "{row}");
}
