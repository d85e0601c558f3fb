//! `tributary tap`, run against a local fake of Kinesis.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tributary_kpl::{Aggregator, UserRecord};

use crate::stream::{FakeStream, Fault, Record, Shard};

fn reading(name: &str, number: usize) -> Vec<u8> {
    let payload = json!({ "sensor_id": format!("{name}-{number}"), "water_level": number });
    json!({ "dataset": "flood", "record_id": format!("{name}{number}"), "source": "test",
        "received_at": "2026-11-20T10:00:00.000Z", "payload": payload })
    .to_string()
    .into_bytes()
}

fn record(data: impl Into<Vec<u8>>) -> Record {
    Record { data: data.into(), arrived: 1_000 }
}

fn readings(name: &str, count: usize) -> Vec<Record> {
    (0..count).map(|number| record(reading(name, number))).collect()
}

/// Returns an open shard.
fn shard(records: Vec<Record>) -> Shard {
    Shard { id: "shard-0", records, ..Shard::default() }
}

/// Returns a shard that was split in two, which were merged again.
fn family() -> Vec<Shard> {
    let shard = |id, parents, is_closed| Shard {
        id,
        parents,
        is_closed,
        records: readings(id, 6),
        later: Vec::new(),
    };
    vec![
        shard("d", &["b", "c"], false),
        shard("b", &["a"], true),
        shard("c", &["a"], true),
        shard("a", &["long-gone"], true),
    ]
}

fn command(stream: &FakeStream, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command
        .args(["tap", "raw"])
        .args(arguments)
        .env_clear()
        .env("AWS_ENDPOINT_URL", &stream.url)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

fn tap(stream: &FakeStream, arguments: &[&str]) -> Output {
    command(stream, arguments).output().unwrap()
}

/// Runs the command and returns the records shown, and the text on standard error.
fn lines(stream: &FakeStream, arguments: &[&str]) -> (Vec<Value>, String) {
    let output = tap(stream, arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{message}");
    let text = String::from_utf8(output.stdout).unwrap();
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), message)
}

fn ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["record_id"].as_str().unwrap()).collect()
}

#[track_caller]
fn assert_family_in_order(lines: &[Value]) {
    let ids = ids(lines);
    assert_eq!(ids.len(), 24);
    for name in ["a", "b", "c", "d"] {
        let own: Vec<_> = ids.iter().filter(|id| id.starts_with(name)).copied().collect();
        let expected: Vec<_> = (0..6).map(|number| format!("{name}{number}")).collect();
        assert_eq!(own, expected);
    }
    let place = |name: &str| ids.iter().position(|id| *id == name).unwrap();
    assert!(place("a5") < place("b0") && place("a5") < place("c0"), "{ids:?}");
    assert!(place("b5") < place("d0") && place("c5") < place("d0"), "{ids:?}");
}

#[test]
fn tap_follows_splits_and_merges() {
    let stream = FakeStream::new(family(), &[]);

    let (lines, message) = lines(&stream, &["--from", "start", "--limit", "24"]);

    assert_family_in_order(&lines);
    assert!(message.contains("24 shown, 0 filtered, 0 undecodable; 4 shards"), "{message}");
}

#[test]
fn missing_credentials_name_the_settings() {
    let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["tap", "raw"])
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "us-east-1")
        .output()
        .unwrap();

    let message = String::from_utf8(output.stderr).unwrap();
    let error: Vec<_> = message.lines().skip(1).collect();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert_eq!(
        error,
        ["tributary: kinesis:ListShards: dispatch: no credentials: set AWS_PROFILE, or \
          AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"]
    );
}

#[test]
fn connection_error_is_reported_once() {
    let stream = FakeStream::new(family(), &[]);
    let output =
        command(&stream, &[]).env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().unwrap();

    let message = String::from_utf8(output.stderr).unwrap();
    let error = message.lines().nth(1).unwrap_or_default();
    assert!(error.ends_with("Connection refused (os error 111)"), "{message}");
    assert_eq!(error.matches("refused").count(), 1, "{message}");
}

#[test]
fn unnamed_child_shards_are_looked_up() {
    let stream = FakeStream::silent(family());

    assert_family_in_order(&lines(&stream, &["--from", "start", "--limit", "24"]).0);
}

#[test]
fn records_are_shown_verbatim() {
    let stored = "{ \"b\": 1.50,\n  \"a\": \"\\u00e9\" }";
    let stream = FakeStream::new(vec![shard(vec![record(stored)])], &[]);

    let output = tap(&stream, &["--from", "start", "--limit", "1"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "{ \"b\": 1.50,  \"a\": \"\\u00e9\" }\n");
}

#[test]
fn read_faults_lose_and_duplicate_nothing() {
    let faults = [Fault::Throttle, Fault::None, Fault::Down, Fault::Throttle];
    let stream = FakeStream::new(vec![shard(readings("r", 10))], &faults);

    let (lines, message) = lines(&stream, &["--from", "start", "--limit", "10"]);

    let expected: Vec<_> = (0..10).map(|number| format!("r{number}")).collect();
    assert_eq!(ids(&lines), expected);
    assert!(message.contains("; 2 reads throttled"), "{message}");
}

#[test]
fn expired_iterator_resumes_after_last_record() {
    let faults = [Fault::None, Fault::Expire, Fault::Expire, Fault::None];
    let stream = FakeStream::new(vec![shard(readings("r", 10))], &faults);

    let (lines, message) = lines(&stream, &["--from", "start", "--limit", "10"]);

    let expected: Vec<_> = (0..10).map(|number| format!("r{number}")).collect();
    assert_eq!(ids(&lines), expected);
    assert!(message.contains("; 2 iterators renewed"), "{message}");
    assert_eq!(stream.iterators()[1]["StartingSequenceNumber"], "3");
}

#[test]
fn latest_shows_every_later_record() {
    let mut quiet = shard(readings("old", 3));
    quiet.later = readings("new", 2);
    let mut closed = Shard { id: "shard-1", is_closed: true, ..Shard::default() };
    closed.records = readings("closed", 3);
    let expire = [Fault::Expire];
    for faults in [&[], &expire[..]] {
        // After the first iterator has expired, every record since the start is shown: these arrive
        // in 2038.
        quiet.later.iter_mut().for_each(|record| record.arrived = i64::from(i32::MAX));
        let stream = FakeStream::new(vec![quiet.clone(), closed.clone()], faults);

        let (lines, _) = lines(&stream, &["--limit", "2"]);

        assert_eq!(ids(&lines), ["new0", "new1"]);
        assert!(stream.iterators().iter().all(|iterator| iterator["ShardId"] == "shard-0"));
    }
}

#[test]
fn start_time_applies_to_each_shard() {
    let mut shards = family();
    for (hour, name) in (1..).zip(["a", "b", "c", "d"]) {
        let shard = shards.iter_mut().find(|shard| shard.id == name).unwrap();
        shard.records.iter_mut().for_each(|record| record.arrived = hour * 3_600);
    }
    let stream = FakeStream::new(shards, &[]);

    let (lines, _) = lines(&stream, &["--from", "1970-01-01T02:30:00Z", "--limit", "12"]);

    let ids = ids(&lines);
    assert!(ids.iter().all(|id| id.starts_with(['c', 'd'])) && ids.len() == 12, "{ids:?}");
    let output = tap(&stream, &["--from", "-0m"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn aggregates_are_shown_as_user_records() {
    let mut aggregator = Aggregator::new(usize::MAX);
    for number in 0..5 {
        let (data, partition_key) = (reading("k", number), "some-key");
        let record = UserRecord { partition_key, explicit_hash_key: None, data: &data };
        assert!(aggregator.push(&record));
    }
    let aggregate = aggregator.finish();
    let mut broken = aggregate.clone();
    *broken.last_mut().unwrap() ^= 1;
    let records = vec![record(aggregate), record(broken.clone()), record(reading("k", 5))];
    let stream = FakeStream::new(vec![shard(records)], &[]);

    let (lines, message) = lines(&stream, &["--from", "start", "--limit", "7"]);

    assert_eq!(ids(&lines[..5]), ["k0", "k1", "k2", "k3", "k4"]);
    assert_eq!(lines[5]["code"], "broken_aggregate");
    assert_eq!(lines[5]["payload_base64"], base64_simd::STANDARD.encode_to_string(broken));
    assert_eq!(ids(&lines[6..]), ["k5"]);
    assert!(message.contains("7 shown, 0 filtered, 1 undecodable"), "{message}");
}

#[test]
fn undecodable_records_are_shown_with_bytes() {
    let bad: [&[u8]; 5] = [b"\xff\xfe\x00", b"hello", b"[1]", b"", b"{\"a\":"];
    let records = bad.iter().map(|bytes| record(*bytes)).collect();
    let stream = FakeStream::new(vec![shard(records)], &[]);

    let arguments = ["--from", "start", "--limit", "5", "--where", "event.dataset == 'flood'"];
    let (lines, message) = lines(&stream, &arguments);

    for (line, bytes) in lines.iter().zip(bad) {
        let payload = base64_simd::STANDARD.encode_to_string(bytes);
        assert_eq!(line["payload_base64"], payload, "{line}");
        assert!(line["source"].as_str().unwrap().starts_with("kinesis:shard-0#"), "{line}");
    }
    assert_eq!(
        (&lines[0]["code"], &lines[1]["code"]),
        (&json!("not_utf8"), &json!("invalid_json"))
    );
    assert!(message.contains("5 shown, 0 filtered, 5 undecodable"), "{message}");
}

#[test]
fn where_expression_filters_records() {
    let mut records = readings("r", 10);
    records.insert(3, record(r#"{"payload":{"water_level":"high"}}"#));
    let stream = FakeStream::new(vec![shard(records)], &[]);
    let expression = "event.payload.water_level >= 7.0";

    let arguments = ["--from", "start", "--limit", "3", "--where", expression];
    let (lines, message) = lines(&stream, &arguments);

    assert_eq!(ids(&lines), ["r7", "r8", "r9"]);
    assert!(
        message.contains("3 shown, 7 filtered, 0 undecodable, 1 with --where errors"),
        "{message}"
    );
    assert!(message.contains("--where failed for a record"), "{message}");
}

#[test]
fn table_has_line_per_record() {
    let event = r#"{"kind":"reading","dataset":"telemetry","event_id":"e","entity":"device-01",
        "event_time":"2025-11-05T12:00:00Z","received_at":"2026-11-20T10:00:00.000Z",
        "measures":{"temperature_c":27.5},"attributes":{},"tags":["hot"]}"#;
    let records = vec![record(event), record(reading("r", 1)), record(*b"\xff\x1b[2J")];
    let stream = FakeStream::new(vec![shard(records)], &[]);

    let output = tap(&stream, &["--from", "start", "--limit", "3", "--format", "table"]);

    let text = String::from_utf8(output.stdout).unwrap();
    let expected = "\
2025-11-05T12:00:00Z      telemetry   device-01     temperature_c=27.5 hot
2026-11-20T10:00:00.000Z  flood       key-1         {\"sensor_id\":\"r-1\",\"water_level\":1}
1970-01-01T00:16:40.000Z  not_utf8    key-2         byte 0 of the record is not UTF-8: b\"\\xff\\x1b[2J\"
";
    assert_eq!(text, expected);
}

#[test]
fn pretty_format_is_indented_json() {
    let stream = FakeStream::new(vec![shard(vec![record("{\"b\":1,\"a\":[2]}")])], &[]);

    let output = tap(&stream, &["--from", "start", "--limit", "1", "--format", "pretty"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "{\n  \"b\": 1,\n  \"a\": [\n    2\n  ]\n}\n");
}

#[test]
fn closed_pipe_ends_tap_in_order() {
    let mut endless = shard(readings("r", 3));
    endless.later = readings("more", 5);
    let stream = FakeStream::new(vec![endless], &[]);
    let mut child = command(&stream, &["--from", "start"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();

    let status = child.wait().unwrap();

    let mut message = String::new();
    child.stderr.unwrap().read_to_string(&mut message).unwrap();
    assert!(first.contains("r0"));
    assert_eq!(status.code(), Some(0), "{message}");
    assert!(message.contains(" shown, ") && message.lines().count() == 1, "{message}");
}

#[test]
fn signal_ends_tap_in_order() {
    let stream = FakeStream::new(vec![shard(readings("r", 3))], &[]);
    let mut child = command(&stream, &["--from", "start"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().take(3).all(|line| line.is_ok()));

    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let status = child.wait().unwrap();

    let mut message = String::new();
    child.stderr.unwrap().read_to_string(&mut message).unwrap();
    assert!(sent.success());
    assert_eq!(status.code(), Some(0), "{message}");
    assert!(message.contains("3 shown, 0 filtered, 0 undecodable; 1 shard"), "{message}");
}

#[test]
fn invalid_arguments_exit_2() {
    let stream = FakeStream::new(vec![shard(Vec::new())], &[]);
    let refused = |arguments: &[&str], expected: &str| {
        let mut command = command(&stream, &[]);
        let output = command.args(arguments).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(expected) && output.stdout.is_empty(), "{message}");
    };
    refused(&["--where", "event.a =="], "--where: does not parse");
    refused(&["--where", "a == 1"], "names a, and only `event` is there");
    refused(&["--from", "yesterday"], "is no time");

    let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
    command.args(["tap", "other"]).env("AWS_ENDPOINT_URL", &stream.url).env("AWS_REGION", "x");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let output = command.output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("kinesis:ListShards on other: ResourceNotFoundException"),
        "{message}"
    );
}
