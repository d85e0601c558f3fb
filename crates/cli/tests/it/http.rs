//! Feeds over HTTP, against the handler of `ingest-http` behind a local listener that can fail like
//! Lambda and networks do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fn_ingest_http::handler::IngestHttp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tributary_aws::deadline::Deadline;
use tributary_aws::kinesis::StreamRecord;
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::Limits;
use tributary_aws::takeover::KnownDatasets;
use tributary_config::Configuration;
use tributary_pipeline::sender::Senders;
use tributary_testkit::{Answer as Put, MemorySink};

use crate::server::{self, Answer, Request};
use crate::support::summary;

const DATASETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets");
const STREAM: Limits = Limits { entries: 500, bytes: 5 << 20, entry_bytes: 1 << 20 };

/// Function behind a local listener.
struct Function {
    url: String,
    ingest: Arc<IngestHttp<MemorySink<StreamRecord>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Function {
    /// Creates a function that accepts everything.
    fn new() -> Self {
        Self::with([], [])
    }

    /// Creates a function that first gives these answers, over a stream with these results.
    fn with(first: impl IntoIterator<Item = Answer>, puts: impl IntoIterator<Item = Put>) -> Self {
        let ingest = Arc::new(IngestHttp {
            raw: Producer::new(MemorySink::scripted(STREAM, StreamRecord::size, puts)),
            transformer: Configuration::shipped().unwrap().transformer().unwrap(),
            senders: Senders::default(),
            known: KnownDatasets::default(),
            metrics_log: MetricsLog::new("ingest-http", "Tributary/test".into()),
            clock: || "2026-11-20T10:00:00.123Z".parse().unwrap(),
        });
        let requests = Arc::new(Mutex::new(Vec::new()));
        let first = Mutex::new(first.into_iter().collect::<VecDeque<_>>());
        let (handler, seen) = (Arc::clone(&ingest), Arc::clone(&requests));
        let url = server::start(move |request| {
            seen.lock().unwrap().push(request.clone());
            if let Some(answer) = first.lock().unwrap().pop_front() {
                return answer;
            }
            invoke(&handler, request)
        });
        Self { url, ingest, requests }
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command
            .args(arguments.split_whitespace())
            .args(["--to", &self.url, "--format", "json"])
            .current_dir(DATASETS)
            .env_clear()
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "AKID")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_SESSION_TOKEN", "session");
        command
    }

    fn summary(&self, arguments: &str) -> Value {
        summary(&self.command(arguments).output().unwrap())
    }

    fn stored(&self) -> Vec<Value> {
        let records = self.ingest.raw.target().stored();
        records.iter().map(|record| serde_json::from_slice(&record.data).unwrap()).collect()
    }

    fn stored_ids(&self) -> BTreeSet<String> {
        self.stored().iter().map(|record| record["record_id"].to_string()).collect()
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Returns the number of lines in a request.
fn lines(request: &Request) -> usize {
    str::from_utf8(&request.body).unwrap().lines().count()
}

/// Wraps a request into an invocation, as Lambda does.
fn invoke(ingest: &IngestHttp<MemorySink<StreamRecord>>, request: &Request) -> Answer {
    let payload = json!({
        "rawPath": request.path,
        "headers": request.headers,
        "requestContext": { "http": { "method": request.method } },
        "body": base64_simd::STANDARD.encode_to_string(&request.body),
        "isBase64Encoded": true,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let deadline = Deadline::after(Duration::from_secs(20));
    match runtime.block_on(ingest.handle(&payload.to_string(), deadline)) {
        // The function asks for five seconds. Tests do not wait that long.
        Ok(answer) => Answer::of(answer.status_code, &answer.body).with("Retry-After", "0"),
        Err(_) => Answer::of(502, r#"{"Message":"Internal Server Error"}"#),
    }
}

#[test]
fn simulated_feed_arrives_as_signed_lines() {
    let function = Function::new();

    let summary = function.summary("simulate flood --count 4001 --seed 7 --duplicate-rate 0.02");

    assert_eq!((&summary["records"], &summary["undelivered"]), (&json!(4001), &json!(0)));
    let duplicates = usize::try_from(summary["duplicates"].as_u64().unwrap()).unwrap();
    assert!(duplicates > 20 && function.stored_ids().len() == 4001 - duplicates, "{summary}");
    let requests = function.requests();
    let lines: Vec<_> = requests.iter().map(lines).collect();
    assert!(lines.iter().all(|count| *count <= 2_000), "{lines:?}");
    let retried = usize::try_from(summary["retried"].as_u64().unwrap()).unwrap();
    assert_eq!(lines.iter().sum::<usize>(), 4001 + retried, "{lines:?}");
    for request in requests {
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/flood"));
        assert_eq!(request.headers["content-type"], "application/x-ndjson");
        assert_eq!(request.headers["x-amz-security-token"], "session");
        assert!(!request.headers.contains_key("content-encoding"));
        assert_eq!(request.headers["authorization"], signature(&request, "eu-central-1"));
    }
}

#[test]
fn gzip_option_compresses_requests() {
    let function = Function::new();

    function.summary("simulate telemetry --count 3000 --duplicate-rate 0 --gzip");

    assert_eq!(function.stored_ids().len(), 3000);
    for request in function.requests() {
        assert_eq!(request.headers["content-encoding"], "gzip");
        assert!(request.body.len() < 150_000, "{}", request.body.len());
        assert_eq!(request.headers["authorization"], signature(&request, "eu-central-1"));
    }
}

#[test]
fn only_unaccepted_items_are_retried() {
    // The stream did not take every third item within the time of the function.
    let every_third = |count: usize| {
        let status = |item| if item % 3 == 0 { "send_again" } else { "accepted" };
        let entry = |item| json!({"item": item, "status": status(item), "record_id": "r"});
        let items: Vec<_> = (0..count).map(entry).collect();
        let body = json!({"status": 503, "error": "send_again", "items": items}).to_string();
        Answer::of(503, &body).with("Retry-After", "1")
    };
    let function = Function::with([every_third(1_500), every_third(500)], []);

    let summary =
        function.summary("simulate flood --count 1500 --duplicate-rate 0 --connections 1");

    assert_eq!((&summary["retried"], &summary["undelivered"]), (&json!(500 + 167), &json!(0)));
    assert_eq!(function.stored_ids().len(), 167);
    let requests: Vec<_> = function.requests().iter().map(lines).collect();
    assert_eq!(requests, [1_500, 500, 167]);
}

#[test]
fn throttles_and_lost_connections_lose_nothing() {
    let function = Function::with(
        [
            Answer::of(429, r#"{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}"#),
            Answer::Close,
            Answer::of(502, r#"{"Message":"Internal Server Error"}"#),
            Answer::of(503, "").with("Retry-After", "1"),
            // The answer lists other items than the request, so it is ignored.
            Answer::of(202, r#"{"accepted":1,"items":[{"item":0,"status":"accepted"}]}"#),
        ],
        [],
    );

    let summary = function.summary("simulate flood --count 6000 --duplicate-rate 0");

    assert_eq!((&summary["undelivered"], &summary["rejected"]), (&json!(0), &json!(0)));
    assert!(summary["retried"].as_u64().unwrap() >= 3_000, "{summary}");
    assert_eq!((function.stored_ids().len(), function.stored().len()), (6000, 6000));
}

#[test]
fn too_large_request_is_halved() {
    let function = Function::with(
        [
            Answer::of(413, r#"{"status":413,"error":"too_many_items","message":"2000 of 1000"}"#),
            Answer::of(413, r#"{"Message":"Request Too Long"}"#),
        ],
        [],
    );

    let summary = function.summary("simulate flood --count 100 --duplicate-rate 0");

    assert_eq!((&summary["rejected"], function.stored_ids().len()), (&json!(0), 100));
    let requests: Vec<_> = function.requests().iter().map(lines).collect();
    assert_eq!(requests, [100, 50, 25, 25, 50]);
}

#[test]
fn rejected_items_are_reported_and_counted_by_code() {
    let function = Function::new();

    let output =
        function.command("replay flood/valid.jsonl flood/bad-rows.jsonl").output().unwrap();

    let summary = summary(&output);
    let rejected = summary["rejected"].as_u64().unwrap();
    let by_code: BTreeMap<String, u64> =
        serde_json::from_value(summary["rejected_by_code"].clone()).unwrap();
    assert!(rejected > 5 && by_code.len() > 3, "{summary}");
    assert_eq!(by_code.values().sum::<u64>(), rejected);
    assert!(by_code["invalid_time"] > 0, "{summary}");
    let stored = function.stored().len() as u64;
    assert_eq!(summary["records"].as_u64().unwrap(), stored + rejected);
    let message = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = message.lines().filter(|line| line.contains("rejected: record")).collect();
    assert_eq!(lines.len(), 5, "{message}");
    assert!(lines[0].contains(": {") || lines[0].contains(": \"{"), "{message}");
}

#[test]
fn datasets_do_not_share_requests() {
    let function = Function::new();

    function.summary("replay flood/valid.jsonl telemetry/valid.jsonl covid/valid.csv");

    let paths: Vec<_> = function.requests().into_iter().map(|request| request.path).collect();
    let paths: BTreeSet<_> = paths.iter().map(String::as_str).collect();
    assert_eq!(paths, BTreeSet::from(["/v1/covid", "/v1/flood", "/v1/telemetry"]));
}

#[test]
fn replay_with_checkpoint_sends_rows_once() {
    let function = Function::with([Answer::of(503, "")], []);
    let name = format!("tributary-http-{}", std::process::id());
    let at: PathBuf = std::env::temp_dir().join(name);
    let run = format!("replay accidents/valid.csv --limit 25 --checkpoint {}", at.display());

    while function.summary(&run)["finished"] != true {}

    assert_eq!((function.stored_ids().len(), function.stored().len()), (60, 60));
    std::fs::remove_file(at).unwrap();
}

#[test]
fn permanent_error_exits_2_with_one_line() {
    for (answer, expected) in [
        (Answer::of(403, r#"{"Message":"Forbidden"}"#), "403: Forbidden"),
        (Answer::of(404, r#"{"error":"unknown_dataset","message":"none"}"#), "404 unknown_dataset"),
        (Answer::of(301, "").with("Location", "https://example.org"), "301"),
    ] {
        let function = Function::with(vec![answer; 8], []);

        let output = function.command("simulate flood --count 5000").output().unwrap();

        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.lines().count() == 1 && message.contains(expected), "{message}");
    }
}

#[test]
fn unsigned_requests_need_no_aws_settings() {
    let function = Function::new();
    let run = |arguments: &str| {
        let mut command = function.command(arguments);
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_REGION").output().unwrap()
    };

    summary(&run("simulate flood --count 10 --unsigned"));
    let refused = run("simulate flood --count 10");

    assert!(function.requests().iter().all(|it| !it.headers.contains_key("authorization")));
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.lines().count() == 1 && message.contains("--unsigned"), "{message}");
}

#[test]
fn url_options_require_url_target() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    let output = command.args(["simulate", "flood", "--count", "1", "--gzip"]).output().unwrap();

    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("not for stdout"), "{message}");
}

/// Computes the `Authorization` header that the received request should have.
///
/// See
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
fn signature(request: &Request, region: &str) -> String {
    let given = &request.headers["authorization"];
    let signed = given.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    for header in ["content-type", "host", "x-amz-date", "x-amz-security-token"] {
        assert!(signed.split(';').any(|it| it == header), "{signed}");
    }
    let headers = signed
        .split(';')
        .fold(String::new(), |text, name| text + &format!("{name}:{}\n", request.headers[name]));
    let (method, path) = (&request.method, &request.path);
    let hash = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let canonical = format!("{method}\n{path}\n\n{headers}\n{signed}\n{}", hash(&request.body));
    let time = &request.headers["x-amz-date"];
    let scope = format!("{}/{region}/lambda/aws4_request", &time[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hash(canonical.as_bytes()));
    let key = [&time[..8], region, "lambda", "aws4_request"]
        .iter()
        .fold(b"AWS4secret".to_vec(), |key, part| hmac(&key, part.as_bytes()));
    let signature = hex(&hmac(&key, text.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
}

/// Computes HMAC-SHA256 for keys of at most one block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::digest([&pad(0x36), text].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
