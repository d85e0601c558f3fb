//! `tributary run`, run as a process.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets/accidents");

fn tributary(arguments: &[&str]) -> Output {
    let command = env!("CARGO_BIN_EXE_tributary");
    Command::new(command).args(arguments).current_dir(FIXTURES).output().unwrap()
}

fn report(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

#[test]
fn json_report_reconciles() {
    let report = report(&tributary(&["run", "demo.csv", "--format", "json"]));

    let keys: Vec<_> = report.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "rows",
        "events",
        "with_faults",
        "quarantined",
        "filtered",
        "alerts",
        "faults_by_field",
        "bad_rows_by_code",
        "alerts_by_rule",
        "seconds",
    ];
    assert_eq!(keys, expected);
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(count("rows"), count("events") + count("quarantined") + count("filtered"));
    assert_eq!((count("rows"), count("events"), count("alerts")), (300, 282, 15));
    assert_eq!(report["alerts_by_rule"]["severe-accident"], 15);
    assert_eq!(count("with_faults"), 6);
    assert_eq!(report["faults_by_field"]["accidents humidity_pct:out_of_range"], 1);
}

#[test]
fn readings_within_cooldown_share_alert() {
    let hot = |at: &str| {
        let time = format!("\"timestamp\":\"2026-11-20T{at}Z\"");
        let place = "\"location\":{\"latitude\":1.0,\"longitude\":2.0}";
        format!("{{{time},\"device_id\":\"d-1\",{place},\"temperature\":31.5}}\n")
    };
    let rows = ["10:00:00", "10:20:00", "10:59:59", "11:00:00"].map(hot).concat();
    let folder = std::env::temp_dir().join(format!("tributary-cooldown-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let rows_file = folder.join("rows.jsonl");
    std::fs::write(&rows_file, rows).unwrap();
    let alerts = folder.join("alerts");
    let (rows_file, alerts) = (rows_file.to_str().unwrap(), alerts.to_str().unwrap());

    let run = ["run", rows_file, "--dataset", "telemetry", "--alerts", alerts, "--format", "json"];
    let report = report(&tributary(&run));

    assert_eq!((&report["events"], &report["alerts"]), (&4.into(), &2.into()), "{report}");
    assert_eq!(report["alerts_by_rule"], serde_json::json!({"high-temperature": 2}));
    let message = lines(&std::fs::read(alerts).unwrap());
    let times: Vec<_> = message.iter().map(|alert| &alert["event"]["event_time"]).collect();
    assert_eq!(times, ["2026-11-20T10:00:00Z", "2026-11-20T11:00:00Z"]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn default_format_is_table() {
    let output = tributary(&["run", "demo.csv"]);

    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("rows") && text.contains("the books balance: 300 rows in"), "{text}");
}

#[test]
fn outputs_are_json_lines() {
    let folder = std::env::temp_dir().join(format!("tributary-run-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (events, bad_rows, alerts) = (file("e"), file("b"), file("a"));

    let output = tributary(&[
        "run",
        "demo.csv",
        "--events",
        &events,
        "--bad-rows",
        &bad_rows,
        "--alerts",
        &alerts,
        "--format",
        "json",
    ]);

    assert_eq!(report(&output)["quarantined"], 18);
    let read = |path: &str| lines(&std::fs::read(path).unwrap());
    let ids: BTreeSet<_> =
        read(&events).iter().map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 282);
    assert_eq!(read(&alerts).len(), 15);
    let bad_rows = read(&bad_rows);
    assert_eq!(bad_rows.len(), 18);
    assert!(
        bad_rows.iter().all(|row| row["source"].as_str().unwrap().contains("demo.csv#offset="))
    );
    assert!(bad_rows.iter().all(|row| row["payload_base64"].is_string()));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn column_order_does_not_change_events() {
    let events = |file: &str| {
        let output = tributary(&["run", file, "--events", "-"]);
        assert_eq!(output.status.code(), Some(0));
        let mut events = lines(&output.stdout);
        events.sort_by_key(|event| event["event_id"].as_str().unwrap().to_owned());
        events
    };

    assert_eq!(events("valid.csv"), events("shuffled-columns.csv"));
    assert_eq!(events("valid.csv"), events("valid.csv"));
    assert_eq!(events("valid.csv").len(), 60);
}

#[test]
fn standard_input_is_accepted() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["run", "-", "--dataset", "accidents", "--format", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let jsonl = std::fs::read(format!("{FIXTURES}/valid.jsonl")).unwrap();
    child.stdin.take().unwrap().write_all(&jsonl).unwrap();

    let report = report(&child.wait_with_output().unwrap());

    assert_eq!((&report["rows"], &report["events"]), (&24.into(), &24.into()));
}

#[test]
fn unreadable_input_exits_2_with_one_line() {
    for (arguments, expected) in [
        (vec!["no-such-file.csv"], "no-such-file.csv cannot be read"),
        (vec!["files/empty.csv"], "files/empty.csv: empty_object"),
        (vec!["files/blank-lines-only.csv"], "files/blank-lines-only.csv: empty_object"),
        (vec!["files/unknown-columns.csv"], "files/unknown-columns.csv: unknown_dataset"),
        (vec!["files/missing-required-column.csv"], "missing_column: accidents requires Severity"),
        (vec!["files/duplicate-column.csv"], "files/duplicate-column.csv: duplicate_column"),
        (vec!["files"], "files cannot be read"),
        (
            vec!["demo.csv", "--dataset", "weather"],
            "\"weather\" is no dataset; there are accidents",
        ),
        (vec!["demo.csv", "--events", "no-such-folder/e"], "no-such-folder/e cannot be written"),
        (vec!["demo.csv", "--events", "-", "--alerts", "-"], "only one of"),
    ] {
        let output = tributary(&[vec!["run"], arguments.clone()].concat());

        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn json_is_rows_or_error() {
    let folder = std::env::temp_dir().join(format!("tributary-json-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let row = r#"{"sensor_id":"s-1","timestamp":1762344000,"water_level":1.5}"#;
    for (name, text, expected) in [
        (
            "array.jsonl",
            format!("[{row}]"),
            "row 1: not a JSON object at column 1; JSON is objects",
        ),
        ("pretty.jsonl", row.replace(',', ",\n"), "row 1: JSON that ends too early at column 19; "),
        ("array.json", format!("[{row}]"), ""),
        ("pretty.json", row.replace(',', ",\n"), ""),
        ("empty.json", "{}\n".to_owned(), "unknown_dataset: there are no fields; there are acci"),
        (
            "sparse.json",
            r#"{"sensor_id":"s-1","timestamp":1}"#.to_owned(),
            "missing_column: flood requires water_level; telemetry requires temperature or",
        ),
        ("other.csv", "a,b\n1,2\n".to_owned(), ": --dataset NAME says which it is, and so does a"),
        ("guessed.json", row.to_owned(), ""),
    ] {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();

        for verb in ["run", "replay"] {
            let output = tributary(&[verb, file.to_str().unwrap()]);

            let stderr = String::from_utf8(output.stderr).unwrap();
            let code = if expected.is_empty() { 0 } else { 2 };
            assert_eq!(output.status.code(), Some(code), "{verb} {name}: {stderr}");
            assert!(stderr.contains(expected), "{verb} {name}: {stderr}");
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn unreadable_file_does_not_stop_others() {
    let output = tributary(&["run", "files/empty.csv", "valid.csv", "--format", "json"]);

    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["events"], 60);
}

#[test]
fn fixture_files_match_expected_counts() {
    let expected = std::fs::read(format!("{FIXTURES}/files/expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    for (name, case) in expected.as_object().unwrap() {
        let output = tributary(&["run", &format!("files/{name}"), "--format", "json"]);
        let damaged = case["refused"] == "gzip_ratio";
        if case["refused"].is_string() && !damaged {
            assert_eq!(output.status.code(), Some(2), "{name}");
            continue;
        }
        let report = report(&output);
        if damaged {
            assert_eq!(report["bad_rows_by_code"]["gzip_ratio"], 1, "{name}");
            continue;
        }
        assert_eq!(report["rows"], case["rows"], "{name}");
        assert_eq!(report["events"], case["good"], "{name}");
        assert_eq!(report["quarantined"], case["bad"], "{name}");
        assert_eq!(report["bad_rows_by_code"], case["codes"], "{name}");
    }
}
