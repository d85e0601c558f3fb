//! `tributary redrive`, run against a local fake of AWS.

use std::io::Read as _;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::cloud::Cloud;

const SHARD: &str = "lake/aws/lambda/0195bc0e/shardId-000000000000/2026/11/20";

/// Returns a batch of `records` records as Lambda parks it.
fn parked(function: &str, records: usize) -> String {
    let record = |number| json!({"kinesis": {"sequenceNumber": number, "data": "e30="}});
    let payload = json!({"Records": (0..records).map(record).collect::<Vec<_>>()});
    json!({
        "requestContext": {"requestId": "r", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 101,
            "functionArn": format!("arn:aws:lambda:us-east-1:123456789012:function:{function}")},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0", "timestamp": "2026-11-20T06:00:00.000Z", "payload": payload.to_string(),
    })
    .to_string()
}

/// Fake account with three parked batches of two functions.
fn three() -> Cloud {
    let cloud = Cloud::new();
    cloud.put(&format!("{SHARD}/one"), parked("dev-transform", 3));
    cloud.put(&format!("{SHARD}/two"), parked("dev-transform:$LATEST", 2));
    cloud.put(&format!("{SHARD}/three"), parked("dev-alerts", 5));
    cloud
}

fn event(id: &str) -> String {
    json!({"kind": "reading", "dataset": "flood", "event_id": id, "entity": "s-1", "event_time": "2026-11-20T10:00:00Z",
        "received_at": "2026-11-20T10:00:00.000Z", "measures": {}, "attributes": {}, "tags": []})
    .to_string()
}

/// Returns a record that Firehose could not deliver.
fn undelivered(data: &str) -> String {
    let data = base64_simd::STANDARD.encode_to_string(data.as_bytes());
    let line = json!({"attemptsMade": 1, "arrivalTimestamp": 1_795_168_800_000_i64, "lastErrorCode": "c",
        "lastErrorMessage": "m", "rawData": data});
    format!("{line}\n")
}

fn redrive<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["redrive", "--stack", "dev"][..], more].concat()
}

/// Returns `[waiting, records, redriven, left]` of a place.
fn counts(summary: &Value, place: &str) -> [u64; 4] {
    let lines = summary["lines"].as_array().unwrap();
    let line = lines.iter().find(|line| line["place"] == place).unwrap();
    ["waiting", "records", "redriven", "left"].map(|name| line[name].as_u64().unwrap())
}

#[test]
fn dry_run_counts_without_sending() {
    let cloud = three();
    cloud.put(
        "analytics/errors/events/format-conversion-failed/dt=2026-11-20/x",
        undelivered(&event("e")),
    );
    cloud.state().queues.insert("dead-letters".to_owned(), vec![("m-1".to_owned(), 1)]);
    let before = cloud.paths("");

    let summary = cloud.json(1, &redrive(&[]));

    assert_eq!(counts(&summary, "dev-transform"), [2, 5, 0, 0]);
    assert_eq!(counts(&summary, "dev-alerts"), [1, 5, 0, 0]);
    assert_eq!(counts(&summary, "events"), [1, 1, 0, 0]);
    assert_eq!(counts(&summary, "ingest queue"), [1, 0, 0, 0]);
    assert_eq!(cloud.paths(""), before);
    let state = cloud.state();
    assert!(state.invoked.is_empty() && state.delivered.is_empty());
    assert_eq!(state.queues["dead-letters"].len(), 1);
}

#[test]
fn nothing_set_aside_exits_0() {
    let cloud = Cloud::new();

    let output = cloud.command(&redrive(&[]));

    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "nothing was set aside");
}

#[test]
fn parked_readings_of_windows_may_be_late() {
    let cloud = three();
    cloud.state().has_windows = true;
    cloud.put(&format!("{SHARD}/four"), parked("dev-windows", 1));

    cloud.json(0, &redrive(&["--yes"]));

    let invoked = cloud.state().invoked.clone();
    let asks = |(name, payload): &(String, Value)| {
        (name.ends_with("dev-windows"), payload["revises_windows"] == true)
    };
    assert!(invoked.iter().map(asks).all(|(is_windows, revises)| is_windows == revises));
    assert_eq!(invoked.len(), 4);
}

#[test]
fn parked_batch_is_invoked_and_archived() {
    let cloud = three();
    let object = cloud.state().objects[&format!("{SHARD}/one")].clone();

    let summary = cloud.json(0, &redrive(&["--yes", "--function", "transform"]));

    assert_eq!(counts(&summary, "dev-transform"), [2, 5, 2, 0]);
    let invoked = cloud.state().invoked.clone();
    let names: Vec<_> = invoked.iter().map(|(name, _)| name.as_str()).collect();
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:dev-transform";
    assert_eq!(names, [arn, &format!("{arn}:$LATEST")]);
    assert_eq!(invoked[0].1["Records"].as_array().unwrap().len(), 3);
    assert_eq!(cloud.paths("lake/aws/"), [format!("{SHARD}/three")]);
    let kept = SHARD.replace("lake/", "lake/redriven/");
    assert_eq!(cloud.paths("lake/redriven/"), [format!("{kept}/one"), format!("{kept}/two")]);
    assert_eq!(cloud.state().objects[&format!("{kept}/one")], object);
    let again = cloud.command(&redrive(&["--yes", "--function", "dev-transform"]));
    assert_eq!((again.status.code(), cloud.state().invoked.len()), (Some(0), 2));
}

#[test]
fn partially_failed_batch_stays() {
    let partial = r#"{"batchItemFailures":[{"itemIdentifier":"42"}]}"#;
    for (answer, why) in [
        ((None, partial), "dev-transform reports 1 batch item failures"),
        (
            (Some("Unhandled"), r#"{"errorMessage":"no"}"#),
            "dev-transform failed (Unhandled): {\"errorMessage\":\"no\"}",
        ),
        ((None, "[]"), "the answer is none to a batch"),
    ] {
        let cloud = three();
        cloud.state().answers.push_back(answer);

        let output = cloud.command(&redrive(&["--yes", "--only", "parked"]));

        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.contains(&format!("{SHARD}/one").replace("lake/", "left: "))
                && message.contains(why),
            "{message}"
        );
        assert_eq!(cloud.paths("lake/aws/"), [format!("{SHARD}/one")]);
        let summary = cloud.json(0, &redrive(&["--yes"]));
        assert_eq!(counts(&summary, "dev-transform"), [1, 3, 1, 0]);
    }
}

#[test]
fn finished_batch_is_not_invoked_twice() {
    let cloud = three();
    let kept = format!("{SHARD}/one").replace("lake/", "lake/redriven/");
    cloud.put(&kept, parked("dev-transform", 3));

    cloud.json(0, &redrive(&["--yes", "--function", "transform"]));

    assert_eq!(cloud.state().invoked.len(), 1);
    assert_eq!(cloud.paths("lake/aws/"), [format!("{SHARD}/three")]);
}

#[test]
fn unreadable_batch_is_reported_and_stays() {
    let cloud = Cloud::new();
    cloud.put("lake/aws/lambda/x", "{}");

    let output = cloud.command(&redrive(&["--yes"]));

    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("left: aws/lambda/x: is no batch that Lambda parked"), "{message}");
    assert_eq!((output.status.code(), cloud.paths("lake/").len()), (Some(1), 1));
}

#[test]
fn failed_events_go_to_the_lake_only() {
    let cloud = Cloud::new();
    let path = "analytics/errors/events/format-conversion-failed/dt=2026-11-20/x";
    cloud.put(
        path,
        [undelivered(&event("a")), undelivered("{}"), undelivered(&event("b"))].concat(),
    );

    let output = cloud.command(&redrive(&["--yes", "--format", "json"]));

    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("1 of its records are no events; quarantine has them"), "{message}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts(&summary, "events"), [1, 3, 1, 0]);
    assert_eq!(
        cloud.state().delivered,
        [event("a") + "\n", event("b") + "\n"].map(String::into_bytes)
    );
    assert!(cloud.state().records.is_empty(), "nothing goes to a stream");
    assert_eq!(cloud.paths("analytics/"), [path.replace("errors/", "redriven/errors/")]);
}

#[test]
fn records_reach_their_layer_once() {
    let cloud = Cloud::new();
    let raw = "lake/errors/raw/processing-failed/dt=2026-11-20/x";
    let quarantine = "lake/errors/quarantine/processing-failed/dt=2026-11-20/x";
    let objects = [undelivered("{\"a\":1}\n"), undelivered("{\"b\":2}")].concat();
    for path in [raw, quarantine] {
        cloud.put(path, objects.clone());
    }
    cloud.json(0, &redrive(&["--yes", "--only", "deliveries"]));
    let layers = [cloud.paths("lake/raw/"), cloud.paths("lake/quarantine/")].concat();

    // As if the process had been killed before the object was archived.
    cloud.put(raw, objects);
    cloud.json(0, &redrive(&["--yes", "--only", "deliveries"]));

    assert_eq!([cloud.paths("lake/raw/"), cloud.paths("lake/quarantine/")].concat(), layers);
    assert_eq!(layers.len(), 2);
    assert!(layers[0].starts_with("lake/raw/dt=2026-11-20/hour=10/redriven-"), "{layers:?}");
    assert!(layers[1].starts_with("lake/quarantine/dt=2026-11-20/redriven-"), "{layers:?}");
    let mut text = String::new();
    let state = cloud.state();
    GzDecoder::new(state.objects[&layers[0]].as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"a\":1}\n{\"b\":2}\n");
    assert_eq!(state.objects[&layers[1]], text.as_bytes());
}

#[test]
fn object_with_unreadable_lines_stays() {
    let cloud = Cloud::new();
    cloud.put("lake/errors/raw/x", undelivered("{}") + "{\"rawData\":\"%\"}\n");

    let summary = cloud.json(1, &redrive(&["--yes"]));

    assert_eq!(counts(&summary, "raw"), [1, 1, 0, 1]);
    assert_eq!(cloud.paths("lake/"), ["lake/errors/raw/x"]);
}

#[test]
fn dead_letters_return_to_ingest_queue() {
    let cloud = Cloud::new();
    let letters: Vec<_> = (0..25).map(|number| (format!("m-{number}"), 1_000 + number)).collect();
    cloud.state().queues.insert("dead-letters".to_owned(), letters);

    let summary = cloud.json(0, &redrive(&["--yes"]));

    assert_eq!(counts(&summary, "ingest queue"), [25, 0, 25, 0]);
    let state = cloud.state();
    let bodies: Vec<_> = state.queues["ingest"].iter().map(|(body, _)| body.clone()).collect();
    assert_eq!(bodies, (0..25).map(|number| format!("m-{number}")).collect::<Vec<_>>());
    assert!(state.queues["dead-letters"].is_empty());
}

#[test]
fn returned_dead_letter_is_not_redriven_twice() {
    let cloud = Cloud::new();
    let letters = vec![("old".to_owned(), 1), ("back".to_owned(), 4_000_000_000_000)];
    cloud.state().queues.insert("dead-letters".to_owned(), letters);

    let summary = cloud.json(1, &redrive(&["--yes"]));

    assert_eq!(counts(&summary, "ingest queue"), [2, 0, 1, 1]);
    assert_eq!(cloud.state().queues["ingest"].len(), 1);
}

#[test]
fn time_range_limits_redrive() {
    let cloud = three();

    assert_eq!(cloud.json(0, &redrive(&["--since", "2026-11-20T10:00:01Z"]))["lines"], json!([]));
    assert_eq!(cloud.json(0, &redrive(&["--until", "2026-11-20T10:00:00Z"]))["lines"], json!([]));
    let summary = cloud.json(1, &redrive(&["--since", "2026-11-20T10:00:00Z"]));
    assert_eq!(counts(&summary, "dev-alerts")[0], 1);
}

#[test]
fn dry_run_peeks_dead_letters_in_range() {
    let cloud = Cloud::new();
    let at = |time: &str| time.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let times = ["2026-11-20T09:00:00Z", "2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"];
    let letter = |number: usize| (format!("m-{number}"), at(times[number % 3]));
    let letters: Vec<_> = (0..24).map(letter).collect();
    cloud.state().queues.insert("dead-letters".to_owned(), letters.clone());
    let count = |more: &[&str]| {
        let summary = cloud.json(1, &redrive(&[&["--only", "dead-letters"], more].concat()));
        counts(&summary, "ingest queue")
    };

    assert_eq!(count(&[]), [24, 0, 0, 0]);
    assert_eq!(count(&["--since", "2026-11-20T10:00:00Z"]), [16, 0, 0, 0]);
    assert_eq!(count(&["--until", "2026-11-20T10:00:00Z"]), [8, 0, 0, 0]);
    let none = redrive(&["--only", "dead-letters", "--since", "2026-11-20T12:00:00Z"]);
    assert_eq!(cloud.json(0, &none)["lines"], json!([]));

    let state = cloud.state();
    assert!(state.hidden.is_empty(), "every message was released");
    assert_eq!(state.queues["dead-letters"], letters);
    assert!(!state.queues.contains_key("ingest"));
}

#[test]
fn invalid_arguments_exit_2_with_one_line() {
    let cloud = three();
    for (arguments, expected) in [
        (&["redrive"][..], "--stack <NAME>"),
        (&["redrive", "--stack", "prod"], "Stack with id prod does not exist"),
        (&["redrive", "--stack", "dev", "--only", "mistakes"], "mistakes"),
    ] {
        let message = cloud.refused(arguments);

        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    cloud.state().full = Some(("lake/redriven/", 0));
    assert!(cloud.refused(&redrive(&["--yes", "--only", "parked"])).contains("AccessDenied"));
    cloud.state().full = None;
    cloud.state().unanswered = 1;
    assert_eq!(cloud.json(0, &redrive(&["--yes", "--only", "parked"]))["dry_run"], false);
    assert!(cloud.state().read.len() > 3 && !cloud.state().listed.is_empty());
}

#[test]
fn batches_of_other_stacks_are_not_invoked() {
    let cloud = Cloud::new();
    let own = parked("dev-transform", 3);
    for (name, object) in [
        ("account", own.replace(":123456789012:", ":210987654321:")),
        ("region", own.replace("us-east-1", "eu-central-1")),
        ("stack", own.replace("dev-transform", "dev-2-transform")),
        ("other", own.replace("dev-transform", "dev-not-ours")),
        ("service", own.replace("aws:lambda", "aws:states")),
        ("name", own.replace("arn:aws:lambda:us-east-1:123456789012:function:", "")),
    ] {
        cloud.put(&format!("{SHARD}/{name}"), object);
    }
    cloud.put(&format!("{SHARD}/z-own"), own);

    let output = cloud.command(&redrive(&["--yes", "--only", "parked"]));

    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.matches("is no function of stack dev in its account and region").count(), 6);
    let invoked: Vec<_> = cloud.state().invoked.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(invoked, ["arn:aws:lambda:us-east-1:123456789012:function:dev-transform"]);
    assert_eq!(cloud.paths("lake/aws/").len(), 6);
}
