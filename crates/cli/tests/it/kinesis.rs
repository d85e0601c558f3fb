//! Feeds to a stream over HTTP, against a listener that answers like PutRecords.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents");

/// Record as it was put.
#[derive(Clone, Debug)]
struct Put {
    key: String,
    record: Value,
}

/// Behaviour of the stream.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    /// Accepts everything.
    Everything,
    /// Throttles every seventh record, each at most once.
    Throttles,
    /// The stream does not exist.
    NoSuchStream,
}

#[derive(Default)]
struct Seen {
    stored: Vec<Put>,
    entries: u64,
    throttled: BTreeSet<String>,
}

/// Stream behind a local listener.
struct FakeStream {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

impl FakeStream {
    fn with(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(connection.unwrap(), answers, &shared));
            }
        });
        Self { url, seen }
    }

    fn stored(&self) -> Vec<Put> {
        self.seen.lock().unwrap().stored.clone()
    }

    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(arguments.split_whitespace())
            .args(["--to", "kinesis:raw", "--format", "json"])
            .current_dir(FIXTURES)
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env_remove("AWS_PROFILE")
            .output()
            .unwrap()
    }

    fn summary(&self, arguments: &str) -> Value {
        let output = self.run(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {message}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn serve(connection: TcpStream, answers: Answers, seen: &Mutex<Seen>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or_default() == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = answer(&serde_json::from_slice(&body).unwrap(), answers, seen);
        let answer = answer.to_string();
        let kind = "Content-Type: application/x-amz-json-1.1";
        let head =
            format!("HTTP/1.1 {status}\r\n{kind}\r\nContent-Length: {}\r\n\r\n", answer.len());
        writer
            .write_all(head.as_bytes())
            .and_then(|()| writer.write_all(answer.as_bytes()))
            .unwrap();
    }
}

fn answer(request: &Value, answers: Answers, seen: &Mutex<Seen>) -> (&'static str, Value) {
    if answers == Answers::NoSuchStream {
        let message = "Stream raw is not there";
        let answer = json!({"__type": "ResourceNotFoundException", "message": message});
        return ("400 Bad Request", answer);
    }
    assert_eq!(request["StreamName"], "raw");
    let mut seen = seen.lock().unwrap();
    let mut failed = 0;
    let entries: Vec<Value> = request["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            seen.entries += 1;
            let data = entry["Data"].as_str().unwrap().to_owned();
            let throttle = answers == Answers::Throttles && seen.entries.is_multiple_of(7);
            if throttle && seen.throttled.insert(data.clone()) {
                failed += 1;
                return json!({"ErrorCode": "ProvisionedThroughputExceededException",
                    "ErrorMessage": "Rate exceeded"});
            }
            let data = base64_simd::STANDARD.decode_to_vec(&data).unwrap();
            let key = entry["PartitionKey"].as_str().unwrap().to_owned();
            seen.stored.push(Put { key, record: serde_json::from_slice(&data).unwrap() });
            json!({"SequenceNumber": seen.entries.to_string(), "ShardId": "shardId-000000000000"})
        })
        .collect();
    ("200 OK", json!({"FailedRecordCount": failed, "Records": entries}))
}

#[test]
fn simulated_feed_arrives_as_raw_records() {
    let stream = FakeStream::with(Answers::Everything);

    let summary = stream.summary("simulate flood --count 3001 --seed 7 --duplicate-rate 0.02");

    let stored = stream.stored();
    assert_eq!((&summary["records"], stored.len()), (&json!(3001), 3001));
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    for Put { key, record } in &stored {
        assert_eq!(record["dataset"], "flood");
        assert_eq!(record["payload"]["sensor_id"], key.as_str());
        assert!(record["source"].as_str().unwrap().starts_with("simulate:flood?seed=7#record="));
        assert!(record["received_at"].as_str().unwrap().ends_with('Z'));
        // Records have the same id if and only if their content is the same.
        let payload = record["payload"].to_string();
        let id = record["record_id"].as_str().unwrap().to_owned();
        assert_eq!(by_id.entry(id).or_insert_with(|| payload.clone()), &payload);
    }
    let duplicates = usize::try_from(summary["duplicates"].as_u64().unwrap()).unwrap();
    assert!(duplicates > 20 && by_id.len() == 3001 - duplicates, "{summary}");
}

#[test]
fn records_of_a_key_keep_their_order() {
    let stream = FakeStream::with(Answers::Everything);

    stream.summary("simulate telemetry --count 6000 --late-rate 0 --duplicate-rate 0");

    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    for Put { key, record } in stream.stored() {
        let time = record["payload"]["timestamp"].as_str().unwrap().to_owned();
        // "00Z" and "00.100Z" compare as text once the Z is removed.
        let time = time.trim_end_matches('Z').to_owned();
        assert!(newest.get(&key).is_none_or(|last| *last < time), "{key} {time}");
        newest.insert(key, time);
    }
}

#[test]
fn throttled_records_are_retried_without_loss() {
    let stream = FakeStream::with(Answers::Throttles);

    let summary = stream.summary("simulate flood --count 2000 --duplicate-rate 0 --connections 2");

    assert!(summary["retried"].as_u64().unwrap() > 200, "{summary}");
    assert_eq!(summary["undelivered"], 0);
    let ids: BTreeSet<_> =
        stream.stored().iter().map(|put| put.record["record_id"].to_string()).collect();
    assert_eq!((ids.len(), stream.stored().len()), (2_000, 2_000));
}

#[test]
fn rows_arrive_with_key_position_and_id() {
    let stream = FakeStream::with(Answers::Throttles);

    let summary = stream.summary("replay valid.csv valid.jsonl");

    assert_eq!(summary["records"], 84);
    let stored = stream.stored();
    let ids: BTreeSet<_> = stored.iter().map(|put| put.record["record_id"].to_string()).collect();
    assert_eq!((ids.len(), stored.len()), (84, 84));
    for Put { key, record } in stored {
        assert_eq!(record["payload"]["ID"], key.as_str());
        let source = record["source"].as_str().unwrap();
        assert!(source.starts_with("file:valid.") && source.contains("#offset="), "{source}");
    }
}

#[test]
fn replay_with_checkpoint_sends_rows_once() {
    let stream = FakeStream::with(Answers::Throttles);
    let at: PathBuf =
        std::env::temp_dir().join(format!("tributary-kinesis-{}", std::process::id()));
    let run = format!("replay valid.csv --limit 25 --checkpoint {}", at.display());

    while stream.summary(&run)["finished"] != true {}

    let keys: BTreeSet<_> = stream.stored().into_iter().map(|put| put.key).collect();
    assert_eq!((keys.len(), stream.stored().len()), (60, 60));
    std::fs::remove_file(at).unwrap();
}

#[test]
fn paced_feed_sends_partial_batches() {
    let stream = FakeStream::with(Answers::Everything);

    let summary = stream.summary("simulate telemetry --count 30 --rate 20/s");

    assert_eq!((&summary["slower"], stream.stored().len()), (&json!("pace"), 30), "{summary}");
}

#[test]
fn missing_stream_exits_2_with_one_line() {
    let stream = FakeStream::with(Answers::NoSuchStream);
    for arguments in ["simulate flood --count 2000", "replay valid.csv"] {
        let output = stream.run(arguments);

        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        let expected = "kinesis:PutRecords on raw: ResourceNotFoundException";
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn local_commands_need_no_aws_settings() {
    for arguments in ["run demo.csv --format json", "simulate flood --count 3", "replay valid.csv"]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
            .args(arguments.split_whitespace())
            .current_dir(FIXTURES)
            .env_clear()
            .output()
            .unwrap();

        assert_eq!(output.status.code(), Some(0), "{arguments}");
    }
}
