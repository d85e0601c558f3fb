//! `tributary windows` and `tributary run --windows`, run against a local fake of DynamoDB.

use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use tributary_anomaly::Baseline;
use tributary_config::Configuration;
use tributary_windows::aggregate::Sample;
use tributary_windows::{Spec, Window};

use crate::server::{self, Answer, Request};

/// Table `w` of the stack `dev`, and the queries it received.
struct Table {
    url: String,
    queries: Arc<Mutex<Vec<Value>>>,
}

fn spec(id: &str) -> Spec {
    let specs = Configuration::shipped().unwrap().window_specs().unwrap();
    specs.into_iter().find(|spec| spec.id == id).unwrap()
}

/// Returns the item of a one-minute window with one reading of `celsius`, closed or still open.
fn window(spec: &Spec, start: &str, celsius: f64, is_open: bool) -> Value {
    let time: Timestamp = start.parse().unwrap();
    let span = spec.windows_of(time).next().unwrap();
    let mut window = Window::open(span);
    let values = vec![Some(celsius); spec.measures.len()];
    let sample = Sample { id: 1, time, values, counted: Vec::new() };
    window.apply(spec, [(&sample, None)], time);
    if !is_open {
        window.close(span.end);
        window.evaluate(spec, &Baseline::default());
        window.mark_emitted();
    }
    json!({
        "pk": { "S": format!("{}#device-1", spec.id) },
        "sk": { "S": start },
        "version": { "N": "3" },
        "body": { "S": window.to_json() },
    })
}

impl Table {
    fn new(items: Vec<Value>) -> Self {
        let queries = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&queries);
        let url = server::start(move |request| answer(request, &items, &asked));
        Self { url, queries }
    }

    fn command(&self, arguments: &str) -> Output {
        self.prepared(arguments).output().unwrap()
    }

    fn prepared(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tributary"));
        command
            .arg("windows")
            .args(arguments.split_whitespace())
            .env_clear()
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    fn text(&self, arguments: &str) -> String {
        let output = self.command(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &str) -> String {
        let output = self.command(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Answers like `DynamoDB` and `CloudFormation`. A table without items does not answer.
fn answer(request: &Request, items: &[Value], asked: &Mutex<Vec<Value>>) -> Answer {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/"));
    if items.is_empty() {
        return Answer::Close;
    }
    let Some(target) = request.headers.get("x-amz-target") else {
        let output =
            "<member><OutputKey>WindowsTableName</OutputKey><OutputValue>w</OutputValue></member>";
        let given = [("WindowStore", "cassandra"), ("CassandraNodes", "127.0.0.1:1")];
        let given =
            given.iter().filter(|_| String::from_utf8_lossy(&request.body).contains("elsewhere"));
        let given = given.map(|(key, value)| {
            format!("<member><ParameterKey>{key}</ParameterKey><ParameterValue>{value}</ParameterValue></member>")
        });
        let given = given.collect::<Vec<_>>().concat();
        return Answer::of(
            200,
            format!(
                "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>dev</StackName>\
                 <CreationTime>2026-11-20T10:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
                 <Outputs>{output}</Outputs><Parameters>{given}</Parameters></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
            ),
        );
    };
    assert_eq!(target, "DynamoDB_20120810.Query");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let value = |name: &str| body["ExpressionAttributeValues"][name]["S"].as_str().unwrap();
    let text = |item: &Value, name: &str| item[name]["S"].as_str().unwrap().to_owned();
    assert_eq!(body["TableName"], "w");
    assert_eq!(body["ScanIndexForward"], false);
    let mut found: Vec<_> = items
        .iter()
        .filter(|item| {
            let sk = text(item, "sk");
            text(item, "pk") == value(":pk") && *value(":from") <= *sk && *sk <= *value(":last")
        })
        .cloned()
        .collect();
    found.sort_by_key(|item| std::cmp::Reverse(text(item, "sk")));
    found.truncate(usize::try_from(body["Limit"].as_u64().unwrap()).unwrap());
    asked.lock().unwrap().push(body.clone());
    let answer = json!({ "Count": found.len(), "Items": found });
    Answer::of(200, answer.to_string()).with("Content-Type", "application/x-amz-json-1.0")
}

fn minutes() -> Table {
    let (minute, five) = (spec("telemetry-1m"), spec("telemetry-5m"));
    Table::new(vec![
        window(&minute, "2026-11-20T12:00:00Z", 20.0, false),
        window(&minute, "2026-11-20T12:01:00Z", 21.0, false),
        window(&minute, "2026-11-20T12:02:00Z", 22.5, true),
        window(&five, "2026-11-20T12:00:00Z", 21.0, false),
    ])
}

fn starts(text: &str) -> Vec<String> {
    let start = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["window"]["start"].as_str().unwrap().to_owned()
    };
    text.lines().map(start).collect()
}

#[test]
fn windows_are_newest_first_in_one_query() {
    let table = minutes();

    let text = table.text("telemetry device-1 --table w --format json");

    let expected = ["2026-11-20T12:02:00Z", "2026-11-20T12:01:00Z", "2026-11-20T12:00:00Z"];
    assert_eq!(starts(&text), expected);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["measures"]["temperature_c_mean"], 22.5);
    assert_eq!((&first["entity"], &first["kind"]), (&json!("device-1"), &json!("window")));
    assert_eq!(table.queries.lock().unwrap().len(), 1);
}

#[test]
fn time_range_excludes_its_end() {
    let table = minutes();

    let range = "--from 2026-11-20T12:00:00Z --to 2026-11-20T12:02:00Z";
    let text = table.text(&format!("telemetry device-1 --table w --format json {range}"));

    assert_eq!(starts(&text), ["2026-11-20T12:01:00Z", "2026-11-20T12:00:00Z"]);
    let newest = table.text("telemetry device-1 --table w --format json --limit 1");
    assert_eq!(starts(&newest), ["2026-11-20T12:02:00Z"]);
}

#[test]
fn table_shows_open_windows_of_stack() {
    let text = minutes().text("telemetry device-1 --stack dev");

    let lines: Vec<_> = text.lines().map(str::trim).collect();
    assert!(lines[1].starts_with("2026-11-20T12:02:00Z") && lines[1].contains("open"), "{text}");
    assert!(lines[3].contains("closed") && lines[3].contains("20.000"), "{text}");
    assert!(text.contains("3 windows of telemetry-1m for device-1"), "{text}");
}

#[test]
fn spec_is_selected_by_id() {
    let table = minutes();

    let text = table.text("telemetry device-1 --table w --spec telemetry-5m --format json");

    assert_eq!(starts(&text), ["2026-11-20T12:00:00Z"]);
    assert!(table.text("telemetry device-2 --table w").contains("0 windows of telemetry-1m"));
    let message = table.refused("telemetry device-1 --table w --spec telemetry-2m");
    assert!(message.contains("telemetry-1m, telemetry-5m"), "{message}");
    for (arguments, expected) in [
        ("weather device-1 --table w", "\"weather\" is no dataset"),
        ("telemetry device-1", "--stack"),
        ("telemetry device-1 --table w --limit 0", "--limit is 1 to"),
        ("telemetry device-1 --table w --from 2026-11-21 --to 2026-11-20", "not before"),
    ] {
        let message = table.refused(arguments);
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    }
}

#[test]
fn cassandra_store_needs_role_from_environment() {
    let table = minutes();

    for arguments in ["--stack elsewhere", "--cassandra 127.0.0.1:1"] {
        let message = table.refused(&format!("telemetry device-1 {arguments}"));
        let expected = "CASSANDRA_USER is missing; CASSANDRA_PASSWORD is missing";
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    }
    let mut command = table.prepared("telemetry device-1 --stack elsewhere");
    let output =
        command.env("CASSANDRA_USER", "u").env("CASSANDRA_PASSWORD", "p").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("windows store") && message.lines().count() == 1, "{message}");
    for arguments in ["--table w --keyspace k", "--table w --keyspaces", "--stack dev --table w"] {
        let message = table.refused(&format!("telemetry device-1 {arguments}"));
        assert!(message.contains("cannot be used with"), "{message}");
    }
}

#[test]
fn invalid_item_is_reported() {
    let minute = spec("telemetry-1m");
    let mut item = window(&minute, "2026-11-20T12:00:00Z", 20.0, false);
    item["body"]["S"] = json!("{}");

    let message = Table::new(vec![item]).refused("telemetry device-1 --table w");

    assert!(message.contains("the window of 2026-11-20T12:00:00Z is none"), "{message}");
}

#[test]
fn unreachable_table_is_reported() {
    let message = Table::new(Vec::new()).refused("telemetry device-1 --table w");

    assert!(message.starts_with("tributary: ") && message.lines().count() == 1, "{message}");
}

fn run(arguments: &[&str], rows: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["run", "-", "--dataset", "telemetry"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), rows.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn windows_of_file_ignore_order_and_duplicates() {
    let row = |second: u32, celsius: f64| {
        format!(
            "{{\"device_id\":\"d\",\"timestamp\":\"2026-11-20T12:00:{second:02}Z\",\
             \"temperature\":{celsius},\"humidity\":50,\"status\":\"OK\"}}\n"
        )
    };
    let rows = [row(50, 24.0), row(10, 20.0), row(10, 20.0), row(30, 22.0)].concat();

    let output = run(&["--windows", "-", "--format", "json"], &rows);

    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&report["events"], &report["windows"]), (&json!(4), &json!(2)));
    let text = String::from_utf8(output.stdout).unwrap();
    let message: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(message[0]["window"]["spec"], "telemetry-1m");
    assert_eq!(message[1]["window"]["spec"], "telemetry-5m");
    for window in &message {
        let measures = &window["measures"];
        assert_eq!(
            (&measures["count"], &measures["temperature_c_mean"]),
            (&json!(3.0), &json!(22.0))
        );
        assert_eq!(measures["temperature_c_first"], 20.0);
        assert_eq!(window["window"]["revision"], 0);
        assert_eq!(window["received_at"], reported_end(window));
    }
    let refused = run(&["--windows", "-", "--events", "-"], &rows);
    assert_eq!(refused.status.code(), Some(2));
}

/// Returns the end of a window in the format of an arrival time.
fn reported_end(window: &Value) -> String {
    window["window"]["end"].as_str().unwrap().replace('Z', ".000Z")
}
