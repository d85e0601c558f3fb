//! `ingest-http` over an in-memory stream: stored records and answers. No item is reported as
//! stored unless it is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fn_ingest_http::answer::{HttpAnswer, RETRY_AFTER_SECONDS};
use fn_ingest_http::handler::IngestHttp;
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_pipeline::sender::Senders;
use tributary_pipeline::transform::{Outcome, read_raw};
use tributary_testkit::{Answer, MemorySink};

const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

pub(crate) type Raw = MemorySink<StreamRecord>;

pub(crate) fn ingest(script: impl IntoIterator<Item = Answer>) -> IngestHttp<Raw> {
    over(MemorySink::scripted(STREAM, StreamRecord::size, script))
}

fn over(raw: Raw) -> IngestHttp<Raw> {
    IngestHttp {
        raw: Producer::new(raw),
        transformer: Configuration::shipped().unwrap().transformer().unwrap(),
        senders: Senders::default(),
        known: KnownDatasets::default(),
        metrics_log: MetricsLog::new("ingest-http", "Tributary/test".into()),
        clock: || "2026-11-20T10:00:00.123Z".parse().unwrap(),
    }
}

/// Reads a payload of `events/ingest-http`.
fn case(name: &str) -> String {
    let path = format!("{}/../../events/ingest-http/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn accident(id: usize) -> Value {
    json!({
        "ID": format!("A-{id}"), "Severity": 2, "Start_Time": "2020-04-13 06:02:25",
        "Start_Lat": 29.72, "Start_Lng": -95.33, "State": "TX",
    })
}

/// Builds a request of `user/fleet` with a JSON body.
fn request(body: &str, headers: &[(&str, &str)]) -> String {
    let mut all = json!({ "content-type": "application/json" });
    for (name, value) in headers {
        all[*name] = json!(value);
    }
    let iam = json!({ "userArn": "arn:aws:iam::111122223333:user/fleet" });
    let context = json!({ "http": { "method": "POST" }, "authorizer": { "iam": iam } });
    json!({ "rawPath": "/v1/accidents", "headers": all, "requestContext": context, "body": body })
        .to_string()
}

fn array(items: &[Value]) -> String {
    serde_json::to_string(items).unwrap()
}

async fn handle(ingest: &IngestHttp<Raw>, payload: &str) -> Result<HttpAnswer, InvocationError> {
    ingest.handle(payload, Deadline::after(Duration::from_secs(5))).await
}

pub(crate) async fn answer(ingest: &IngestHttp<Raw>, payload: &str) -> (HttpAnswer, Value) {
    let answer = handle(ingest, payload).await.unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["status"], answer.status_code);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(body["error"].is_null(), answer.status_code == 202);
    (answer, body)
}

fn stored(ingest: &IngestHttp<Raw>) -> Vec<Value> {
    let records = ingest.raw.target().stored();
    records.iter().map(|record| serde_json::from_slice(&record.data).unwrap()).collect()
}

/// Returns the record ids of the items with this status.
fn ids(body: &Value, status: &str) -> Vec<String> {
    let items = body["items"].as_array().unwrap().iter().filter(|item| item["status"] == status);
    items.map(|item| item["record_id"].as_str().unwrap().to_owned()).collect()
}

fn stored_ids(ingest: &IngestHttp<Raw>) -> Vec<String> {
    let id = |record: &Value| record["record_id"].as_str().unwrap().to_owned();
    stored(ingest).iter().map(id).collect()
}

#[tokio::test(start_paused = true)]
async fn example_events_get_their_expected_answers() {
    let folder = format!("{}/../../events/ingest-http", env!("CARGO_MANIFEST_DIR"));
    let mut statuses = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".expected.json") else { continue };
        let ingest = ingest([]);

        let (answer, body) = answer(&ingest, &case(name)).await;

        let expected: Value = serde_json::from_str(&case(&format!("{name}.expected"))).unwrap();
        assert_eq!(serde_json::to_value(&answer).unwrap(), expected, "{name}");
        let accepted = body["accepted"].as_u64().unwrap_or(0);
        assert_eq!(stored(&ingest).len() as u64, accepted, "{name}");
        statuses.insert(answer.status_code);
    }
    assert_eq!(statuses, BTreeSet::from([202, 207, 400, 404, 405, 415, 422]));
}

#[tokio::test(start_paused = true)]
async fn each_item_is_one_raw_record() {
    let ingest = ingest([]);
    let pretty = serde_json::to_string_pretty(&[accident(1), accident(2)]).unwrap();

    answer(&ingest, &request(&pretty, &[("idempotency-key", "a #1"), ("x-client-id", "car&7")]))
        .await;

    let records = ingest.raw.target().stored();
    assert_eq!(records[1].partition_key, "A-2");
    assert!(!records[1].data.contains(&b'\n'), "the raw layer has one record on a line");
    insta::assert_json_snapshot!(stored(&ingest)[1]);
}

#[tokio::test(start_paused = true)]
async fn accepted_items_become_events_rejected_do_not() {
    let ingest = ingest([]);
    let transformer = Configuration::shipped().unwrap().transformer().unwrap();
    let path =
        format!("{}/../../fixtures/datasets/accidents/valid.jsonl", env!("CARGO_MANIFEST_DIR"));
    let mut lines = std::fs::read_to_string(path).unwrap();
    lines.push_str("{\"ID\":\"A-1\"}\n{\"ID\":\"A-2\",\"ID\":\"A-3\"}\n");
    let payload = request(&lines, &[("content-type", "application/x-ndjson")]);

    let (_, body) = answer(&ingest, &payload).await;

    assert!(body["accepted"].as_u64().unwrap() > 10, "{body}");
    assert_eq!(body["rejected"], 2);
    for record in ingest.raw.target().stored() {
        let raw = read_raw(&record.data).unwrap();
        assert!(matches!(transformer.record(&raw), Ok(Outcome::Event(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_request_again_has_the_same_ids() {
    let body = array(&[accident(1), accident(2)]);
    for headers in [&[][..], &[("idempotency-key", "k")]] {
        let ingest = ingest([]);

        let (_, first) = answer(&ingest, &request(&body, headers)).await;
        let (_, second) = answer(&ingest, &request(&body, headers)).await;

        assert_eq!(first, second);
        let ids = stored_ids(&ingest);
        assert_eq!(ids[..2], ids[2..]);
        assert_ne!(ids[0], ids[1]);
    }
}

#[tokio::test(start_paused = true)]
async fn record_ids_depend_on_key_client_or_content() {
    let ingest = ingest([]);
    let twice = array(&[accident(1), accident(1)]);

    let requests = [
        request(&twice, &[("idempotency-key", "k")]),
        request(&twice, &[("idempotency-key", "l")]),
        request(&twice, &[("idempotency-key", "k"), ("x-client-id", "car-7")]),
        request(&twice, &[("idempotency-key", "k")]).replace("user/fleet", "user/other"),
    ];
    for payload in &requests {
        answer(&ingest, payload).await;
    }
    assert_eq!(stored_ids(&ingest).into_iter().collect::<BTreeSet<_>>().len(), 8);

    let (_, body) = answer(&ingest, &request(&twice, &[])).await;
    let of_content = ids(&body, "accepted");
    assert_eq!(of_content[0], of_content[1], "without a key, equal items are one");
    let (_, body) = answer(&ingest, &request(&array(&[accident(2), accident(1)]), &[])).await;
    assert_eq!(ids(&body, "accepted")[1], of_content[0], "whatever came before it");
}

#[tokio::test(start_paused = true)]
async fn unstored_items_are_reported_individually() {
    // The first call stores all entries but one; later calls store none.
    let ingest = ingest([Answer::Fail(vec![1]), Answer::Throttle]);
    let bad = json!({ "ID": "A-9" });
    let body = array(&[accident(0), bad, accident(2), accident(3)]);

    let (answer, body) = answer(&ingest, &request(&body, &[])).await;

    assert_eq!(answer.status_code, 503);
    assert_eq!(answer.headers["retry-after"], RETRY_AFTER_SECONDS.to_string());
    assert_eq!(body["send_again"], json!([2]));
    assert_eq!((&body["accepted"], &body["rejected"]), (&json!(2), &json!(1)));
    assert_eq!(ids(&body, "accepted"), stored_ids(&ingest));
    assert_eq!(body["items"][1]["code"], "missing_field");
    insta::assert_json_snapshot!(body);
}

#[tokio::test(start_paused = true)]
async fn resent_items_keep_the_reported_id() {
    let ingest = ingest([Answer::Fail(vec![0]), Answer::Throttle, Answer::Take]);
    let payload = request(&array(&[accident(0), accident(1)]), &[]);
    let short = Deadline::after(Duration::from_millis(130));
    let reported = ingest.handle(&payload, short).await.unwrap();
    let reported: Value = serde_json::from_str(&reported.body).unwrap();
    assert_eq!(reported["send_again"], json!([0]));

    let (_, body) = answer(&ingest, &request(&accident(0).to_string(), &[])).await;

    assert_eq!(ids(&body, "accepted"), ids(&reported, "send_again"));
    assert_eq!(stored_ids(&ingest).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn unavailable_stream_marks_every_item_send_again() {
    for script in [Answer::Throttle, Answer::StoreAndTimeOut, Answer::AnswerFor(1)] {
        let ingest = ingest([script]);

        let (answer, body) = answer(
            &ingest,
            &request(&array(&[accident(0), accident(1)]), &[("idempotency-key", "k")]),
        )
        .await;

        assert_eq!(answer.status_code, 503);
        assert_eq!((&body["accepted"], &body["send_again"]), (&json!(0), &json!([0, 1])));
        assert!(body["message"].as_str().unwrap().ends_with("or these items under another"));
    }
}

#[tokio::test(start_paused = true)]
async fn transient_throttle_only_delays() {
    let ingest = ingest([Answer::Throttle, Answer::Fail(vec![1]), Answer::Take]);

    let (answer, body) = answer(&ingest, &request(&array(&[accident(0), accident(1)]), &[])).await;

    assert_eq!((answer.status_code, stored(&ingest).len()), (202, 2));
    assert_eq!(body["message"], "2 of 2 accepted");
}

#[tokio::test(start_paused = true)]
async fn setup_error_fails_the_invocation() {
    let error = handle(&ingest([Answer::Deny]), &request(&accident(0).to_string(), &[])).await;

    let error = error.unwrap_err();
    assert_eq!(error.to_string(), "memory:Put on memory: AccessDeniedException: not authorized");
}

#[tokio::test(start_paused = true)]
async fn unreadable_payload_fails_the_invocation() {
    for payload in ["7", r#"{"Records":[]}"#] {
        let error = handle(&ingest([]), payload).await.unwrap_err();
        assert!(matches!(error, InvocationError::Payload(_)), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_items_have_one_compact_entry_each() {
    let ingest = ingest([]);
    let items: Vec<_> = (0..10_000).map(accident).collect();

    let (answer, body) = answer(&ingest, &request(&array(&items), &[])).await;

    assert_eq!(answer.status_code, 202);
    assert_eq!(ids(&body, "accepted"), stored_ids(&ingest));
    assert_eq!(ids(&body, "accepted").len(), 10_000);
    let bytes = serde_json::to_string(&answer).unwrap().len();
    assert!(bytes < 110 * 10_000, "{bytes} bytes");
    assert_eq!(ingest.raw.target().calls(), [500; 20]);
}

#[tokio::test(start_paused = true)]
async fn answer_stays_within_lambda_limit() {
    let mut bad = accident(0);
    bad["Severity"] = json!("\"".repeat(64));
    let items = vec![bad; 10_000];

    let (answer, body) = answer(&ingest([]), &request(&array(&items), &[])).await;

    assert_eq!((answer.status_code, &body["rejected"]), (422, &json!(10_000)));
    let bytes = serde_json::to_string(&answer).unwrap().len();
    assert!(bytes < 6_000_000, "{bytes} bytes");
    let items = body["items"].as_array().unwrap();
    assert!(items[0]["message"].is_string());
    assert!(items[9_999]["message"].is_null());
    assert_eq!(
        (&items[9_999]["code"], &items[9_999]["field"]),
        (&json!("invalid_number"), &json!("Severity"))
    );
}

#[tokio::test(start_paused = true)]
async fn oversized_item_is_rejected() {
    let small = Limits { entry_bytes: 400, ..STREAM };
    let ingest = over(MemorySink::new(small, StreamRecord::size));
    let mut long = accident(1);
    long["Description"] = json!("x".repeat(400));
    let mut longer = accident(2);
    longer["Description"] = json!("x".repeat(150));

    let (_, body) = answer(&ingest, &request(&array(&[accident(0), long, longer]), &[])).await;

    assert_eq!(body["items"][0]["status"], "accepted", "{body}");
    for item in [1, 2] {
        assert_eq!(body["items"][item]["code"], "row_too_large");
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_items_are_rejected_by_code() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let lines = [
        ("7", "invalid_json"),
        ("[{}]", "invalid_json"),
        ("null", "invalid_json"),
        ("{\"ID\":", "invalid_json"),
        ("{\"ID\":\"\\ud800\"}", "invalid_json"),
        ("{\"ID\":1e999}", "invalid_json"),
        (&deep, "invalid_json"),
        ("{\"ID\":\"\0\"}", "nul_byte"),
        ("{}", "missing_field"),
    ];
    let body: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
    let payload = request(&body.join("\n"), &[("content-type", "application/x-ndjson")]);

    let (answer, body) = answer(&ingest([]), &payload).await;

    assert_eq!(answer.status_code, 422);
    for (at, (line, code)) in lines.iter().enumerate() {
        let item = &body["items"][at];
        assert_eq!(item["code"], *code, "{line}");
        assert_eq!((&item["item"], &item["line"]), (&json!(at), &json!(at + 1)));
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_utf8_line_is_rejected_alone() {
    let mut lines = accident(1).to_string().into_bytes();
    lines.extend_from_slice(b"\n{\"ID\":\"\xff\"}\n");
    lines.extend_from_slice(accident(2).to_string().as_bytes());
    let base64 = base64_simd::STANDARD.encode_to_string(&lines);
    let payload = request(&base64, &[("content-type", "application/x-ndjson")]);
    let mut payload: Value = serde_json::from_str(&payload).unwrap();
    payload["isBase64Encoded"] = json!(true);

    let (answer, body) = answer(&ingest([]), &payload.to_string()).await;

    assert_eq!((answer.status_code, &body["accepted"]), (207, &json!(2)));
    let item = &body["items"][1];
    assert_eq!((&item["code"], &item["line"]), (&json!("not_utf8"), &json!(2)));
    assert_eq!(item["message"], "byte 7 of the item is not UTF-8");
}

#[tokio::test(start_paused = true)]
async fn unknown_dataset_waits_for_later_configuration() {
    let mut ingest = ingest([]);
    ingest.known = KnownDatasets::new(BTreeSet::new(), Arc::default());
    let mut payload: Value = serde_json::from_str(&request("{}", &[])).unwrap();
    payload["rawPath"] = json!("/v1/rivers");
    payload["requestContext"]["timeEpoch"] = json!(1_795_168_800_123_i64);

    let error = handle(&ingest, &payload.to_string()).await.err().unwrap();
    assert!(matches!(error, InvocationError::Stale(_)), "{error}");
    ingest.known = KnownDatasets::new(BTreeSet::new(), Arc::new(1_795_168_900_000.into()));
    assert_eq!(answer(&ingest, &payload.to_string()).await.1["error"], "unknown_dataset");
}

#[tokio::test(start_paused = true)]
async fn refused_item_is_rejected_and_others_accepted() {
    let ingest = ingest([Answer::Reject(vec![1]), Answer::Take]);

    let (answer, body) = answer(&ingest, &request(&array(&[accident(0), accident(1)]), &[])).await;

    assert_eq!((answer.status_code, stored(&ingest).len()), (207, 1));
    let item = &body["items"][1];
    assert_eq!((&item["status"], &item["code"]), (&json!("rejected"), &json!("refused")));
}

#[tokio::test(start_paused = true)]
async fn throttled_request_is_answered_within_two_seconds() {
    for script in [Answer::Throttle, Answer::Fail(vec![0])] {
        let ingest = ingest([script]);
        let payload = request(&array(&[accident(0), accident(1)]), &[]);
        let begun = tokio::time::Instant::now();

        let deadline = Deadline::after(Duration::from_secs(28));
        let answer = ingest.handle(&payload, deadline).await.unwrap();

        assert_eq!(answer.status_code, 503);
        assert_eq!(answer.headers["retry-after"], RETRY_AFTER_SECONDS.to_string());
        assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
