//! `tributary quarantine`, run against a local fake of AWS.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tributary_datasets::ingest::SourceName;
use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};
use tributary_rows::Position;

use crate::cloud::{Cloud, Put};

const BAD: &str = r#"{"sensor_id":"s-1","timestamp":1762344000,"water_level":"1,5"}"#;
const GOOD: &str = r#"{"sensor_id":"s-1","timestamp":1762344000,"water_level":1.50}"#;
const HEADER: &str = "sensor_id,location,water_level,timestamp\n";

/// Temporary file, removed at the end of the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("tributary-quarantine-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn with(name: &str, text: &str) -> Self {
        let file = Self::new(name);
        std::fs::write(&file.0, text).unwrap();
        file
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Returns a bad row of `transform`: the raw record `id`, rejected at this time of the day.
fn of_transform(id: &str, payload: &str, at: &str) -> Vec<u8> {
    let record = format!(
        r#"{{"dataset":"flood","record_id":"{id}","source":"http:flood/c#{id}&item=0","received_at":"2026-11-20T09:59:00.123Z","payload":{payload}}}"#
    );
    let origin = Origin {
        dataset: Some("flood"),
        source: format!("http:flood/c#{id}&item=0").into(),
        record_id: id.into(),
        ..Origin::of_record("shardId-000000000000", "42", "2026-11-20T09:59:01Z".parse().unwrap())
    };
    let rejection = Rejection::field(Code::InvalidNumber, "water_level", "\"1,5\" is no number");
    let at = format!("2026-11-20T{at}Z").parse().unwrap();
    BadRow::new(&rejection, &origin, Some(record.as_bytes()), at).to_line(usize::MAX)
}

/// Returns a bad row of `ingest-s3`, from the object `source/flood/a.csv` in version `v1`.
fn of_object(code: Code, offset: u64, bytes: Option<&[u8]>) -> Vec<u8> {
    let source = SourceName::s3("source", "flood/a.csv", Some("v1"), None);
    let position = Position { offset, row: offset };
    let origin = Origin {
        dataset: Some("flood"),
        source: source.at(position).into(),
        record_id: source.record_id(position).to_string().into(),
        ..Origin::default()
    };
    let at = "2026-11-20T11:00:00Z".parse().unwrap();
    BadRow::new(&Rejection::row(code, "why"), &origin, bytes, at).to_line(usize::MAX)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Fake account with three bad rows: one that is valid now, one that is not, and one of a CSV.
fn three() -> Cloud {
    let cloud = Cloud::new();
    cloud.put("source/flood/a.csv?versionId=v1", format!("{HEADER}s-9,weir,1.5,\"oops\n"));
    let rows = [of_transform("aa", GOOD, "10:00:00"), of_transform("bb", BAD, "10:00:01")];
    cloud.put("lake/quarantine/dt=2026-11-20/one", rows.concat());
    // One record per object and no newline, as a local AWS writes it.
    let row = of_object(Code::BrokenQuoting, 41, Some(b"s-9,weir,1.5,\"1762344000"));
    cloud.put("lake/quarantine/dt=2026-11-20/two", row.trim_ascii_end());
    cloud
}

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["quarantine", "replay", "--stack", "dev"][..], more].concat()
}

fn list(cloud: &Cloud, more: &[&str]) -> Value {
    cloud.json(0, &[&["quarantine", "list", "--stack", "dev"][..], more].concat())
}

fn record(put: &Put) -> Value {
    serde_json::from_slice(&put.data).unwrap()
}

fn ids(cloud: &Cloud) -> Vec<String> {
    let id = |put: &Put| record(put)["record_id"].as_str().unwrap().to_owned();
    cloud.state().records.iter().map(id).collect()
}

#[test]
fn rows_are_counted_once_by_kind() {
    let cloud = three();
    // The first row, delivered again; and two lines that are not bad rows.
    let again = [of_transform("aa", GOOD, "12:00:00"), b"{\"code\":1}\nhello\n".to_vec()].concat();
    cloud.put("lake/quarantine/dt=2026-11-20/three", gzip(&again));

    let listing = list(&cloud, &[]);

    assert_eq!(
        (&listing["rows"], &listing["lines"], &listing["unreadable"]),
        (&json!(3), &json!(4), &json!(2))
    );
    assert_eq!(
        listing["kinds"],
        json!([
        {"dataset": "flood", "code": "broken_quoting", "rows": 1, "waiting": 1, "replayed": 0, "came_back": 0,
         "first_rejected_at": "2026-11-20T11:00:00.000Z", "last_rejected_at": "2026-11-20T11:00:00.000Z"},
        {"dataset": "flood", "code": "invalid_number", "field": "water_level", "rows": 2, "waiting": 2,
         "replayed": 0, "came_back": 0, "first_rejected_at": "2026-11-20T10:00:01.000Z",
         "last_rejected_at": "2026-11-20T12:00:00.000Z"}])
    );
    let output = cloud.command(&["quarantine", "list", "--bucket", "lake"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(
        lines[0].join(" "),
        "dataset code field rows waiting replayed came back first rejected last rejected"
    );
    assert_eq!(lines[2][..7], ["flood", "invalid_number", "water_level", "2", "2", "0", "0"]);
    assert_eq!(
        text.lines().last().unwrap().trim(),
        "3 rows, 3 of them waiting; 4 lines in 3 objects, 2 lines unreadable"
    );
}

#[test]
fn filters_limit_counted_rows() {
    let cloud = three();
    for (arguments, rows) in [
        (&["--code", "broken_quoting"][..], 1),
        (&["--code", "broken_quoting", "--code", "invalid_number"], 3),
        (&["--dataset", "accidents"], 0),
        (&["--field", "water_level"], 2),
        (&["--record-id", "aa"], 1),
        (&["--source", "s3://*/flood/*"], 1),
        (&["--since", "2026-11-20T10:00:01Z"], 2),
        (&["--since", "2026-11-20T10:00:01Z", "--until", "2026-11-20T11:00:00Z"], 1),
    ] {
        assert_eq!(list(&cloud, arguments)["rows"], rows, "{arguments:?}");
    }
}

#[test]
fn objects_of_other_days_are_skipped() {
    let cloud = three();
    for day in 1..=30 {
        let path = format!("lake/quarantine/dt=2026-10-{day:02}/x");
        cloud.put(&path, of_transform(&format!("old-{day}"), GOOD, "10:00:00"));
        cloud.put(
            &path.replace("2026-10", "2026-12"),
            of_transform(&format!("new-{day}"), GOOD, "10:00:00"),
        );
    }

    let listing = list(&cloud, &["--since", "2026-11-20", "--until", "2026-11-21"]);

    assert_eq!((&listing["rows"], &listing["objects"]), (&json!(3), &json!(2)));
    assert_eq!(cloud.state().read.len(), 2);
    assert!(cloud.state().listed.iter().any(|query| query.contains("dt%3D2026-11-19")));
    assert_eq!(list(&cloud, &[])["objects"], 62, "over two pages");
}

#[test]
fn rows_are_shown_decoded() {
    let cloud = three();
    let bytes = of_object(Code::NotUtf8, 77, Some(b"M\xfcnchen"));
    cloud.put("lake/quarantine/dt=2026-11-20/three", bytes);
    let show = |more: &[&str]| {
        let output = cloud.command(&[&["quarantine", "show", "--stack", "dev"][..], more].concat());
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };

    let text = show(&["bb"]);
    assert!(text.contains("invalid_number of water_level: \"1,5\" is no number"), "{text}");
    assert!(text.contains("\"water_level\": \"1,5\"") && text.contains("waiting"), "{text}");
    assert!(show(&["--code", "broken_quoting"]).contains("s-9,weir,1.5,\"1762344000"));
    assert!(show(&["--code", "not_utf8"]).contains("4dfc6e6368656e"));
    assert!(show(&["--code", "not_utf8"]).contains("M.nchen"));
    let rows = show(&["--format", "json"]);
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let payload = rows.iter().find(|row| row["record_id"] == "aa").unwrap()["payload"].clone();
    assert_eq!(payload, serde_json::from_str::<Value>(GOOD).unwrap());
    assert_eq!(rows.iter().filter(|row| row["row"].is_string()).count(), 1);
    assert_eq!(
        rows.iter().find(|row| row["code"] == "not_utf8").unwrap()["bytes_hex"],
        "4dfc6e6368656e"
    );
    assert_eq!(show(&["--limit", "1", "--format", "json"]).lines().count(), 1);
    assert!(cloud.refused(&["quarantine", "show", "--stack", "dev", "zz"]).contains("no row zz"));
}

#[test]
fn dry_run_reports_outcomes_without_sending() {
    let cloud = three();

    let output = cloud.command(&replay(&["--format", "json"]));

    assert_eq!(output.status.code(), Some(1), "two would be left");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&summary["dry_run"], &summary["rows"], &summary["to_send"]),
        (&json!(true), &json!(3), &json!(1))
    );
    assert_eq!(summary["rejected"], json!({"invalid_number": 1, "broken_quoting": 1}));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("left out: bb of http:flood/c#bb&item=0: invalid_number of water_level"),
        "{message}"
    );
    assert!(cloud.state().records.is_empty());
    assert!(cloud.paths("lake/quarantine-replayed").is_empty());
    assert_eq!(cloud.json(0, &replay(&["--record-id", "aa"]))["to_send"], 1);
}

#[test]
fn row_is_replayed_once_with_its_id() {
    let cloud = three();

    let summary = cloud.json(1, &replay(&["--yes"]));

    assert_eq!((&summary["sent"], &summary["undelivered"]), (&json!(1), &json!(0)));
    assert_eq!(cloud.state().records[0].key, "s-1");
    let record = record(&cloud.state().records[0]);
    assert_eq!(
        (&record["record_id"], &record["received_at"]),
        (&json!("aa"), &json!("2026-11-20T09:59:00.123Z"))
    );
    let listing = list(&cloud, &["--record-id", "aa"]);
    assert_eq!((&listing["replayed"], &listing["waiting"]), (&json!(1), &json!(0)));

    let second = cloud.json(1, &replay(&["--yes"]));
    assert_eq!((&second["sent"], &second["already_replayed"]), (&json!(0), &json!(1)));
    assert_eq!(cloud.state().records.len(), 1);
    let again = cloud.json(0, &replay(&["--yes", "--again", "--record-id", "aa"]));
    assert_eq!(again["sent"], 1);
    let records = cloud.state().records.clone();
    assert_eq!(records[0], records[1]);
}

#[test]
fn row_that_came_back_can_be_repaired() {
    let cloud = three();
    cloud.json(0, &replay(&["--yes", "--force", "--record-id", "bb"]));
    cloud.put("lake/quarantine/dt=2026-11-20/three", of_transform("bb", BAD, "13:00:00"));
    assert_eq!(list(&cloud, &["--record-id", "bb"])["came_back"], 1);

    let set = "water_level=payload.water_level.replace(',', '.')";
    let summary = cloud.json(0, &replay(&["--yes", "--record-id", "bb", "--set", set]));

    assert_eq!((&summary["sent"], &summary["mended"]), (&json!(1), &json!(1)));
    let records: Vec<_> = cloud.state().records.iter().map(record).collect();
    assert_eq!(
        (&records[0]["payload"]["water_level"], &records[1]["payload"]["water_level"]),
        (&json!("1,5"), &json!("1.5"))
    );
    for field in ["record_id", "source", "received_at"] {
        assert_eq!(records[0][field], records[1][field]);
    }
    assert_eq!(list(&cloud, &["--record-id", "bb"])["replayed"], 1);
}

#[test]
fn csv_row_uses_header_of_its_version() {
    let cloud = three();
    cloud.put("source/flood/a.csv", "other,columns\n");
    let row = of_object(Code::BrokenQuoting, 99, Some(b"s-8,weir,\"2.5,1762344000"));
    cloud.put("lake/quarantine/dt=2026-11-20/three", row);

    let summary = cloud
        .json(0, &replay(&["--yes", "--code", "broken_quoting", "--row", "row.replace('\"', '')"]));

    assert_eq!((&summary["sent"], &summary["mended"]), (&json!(2), &json!(2)));
    let payloads: BTreeMap<_, _> = cloud
        .state()
        .records
        .iter()
        .map(|put| (put.key.clone(), record(put)["payload"].clone()))
        .collect();
    let expected = json!({"sensor_id": "s-8", "location": "weir", "water_level": "2.5", "timestamp": "1762344000"});
    assert_eq!(payloads["s-8"], expected);
    assert_eq!(cloud.state().read.iter().filter(|path| path.starts_with("source/")).count(), 1);
}

#[test]
fn not_replayable_rows_are_reported_one_by_one() {
    let cloud = three();
    cloud.state().objects.remove("source/flood/a.csv?versionId=v1");
    cloud.put("lake/quarantine/dt=2026-11-20/three", of_object(Code::MissingColumn, 0, None));

    let output = cloud.command(&replay(&["--format", "json", "--source", "s3://*"]));

    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["unable"], json!({"no_header": 1, "rest_of_object": 1}));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains(
            "the header of s3://source/flood/a.csv cannot be read: the object does not exist"
        ),
        "{message}"
    );
    assert!(
        message.contains("`tributary replay 's3://source/flood/a.csv?versionId=v1'`"),
        "{message}"
    );
}

#[test]
fn left_out_rows_can_be_repaired_by_hand() {
    let cloud = three();
    let left_out = Scratch::new("left-out");
    cloud.json(1, &replay(&["--left-out", left_out.path()]));
    let text = std::fs::read_to_string(&left_out.0).unwrap();
    assert_eq!(text.lines().count(), 2);
    let mended = text.replace("\"1,5\"", "1.5").replace(r#"1.5,\"1762344000"#, "1.5,1762344000");
    let mended = Scratch::with("mended", &mended);

    let summary = cloud.json(0, &replay(&["--yes", "--mended", mended.path()]));

    assert_eq!(
        (&summary["rows"], &summary["sent"], &summary["mended"]),
        (&json!(2), &json!(2), &json!(2))
    );
    let levels: BTreeSet<_> = cloud
        .state()
        .records
        .iter()
        .map(|put| record(put)["payload"]["water_level"].to_string())
        .collect();
    assert_eq!(levels, BTreeSet::from(["1.5".to_owned(), "\"1.5\"".to_owned()]));
}

#[test]
fn replay_is_idempotent_through_failures() {
    let rows = 1_100;
    let cloud = Cloud::new();
    let lines: Vec<_> =
        (0..rows).map(|row| of_transform(&format!("id-{row}"), GOOD, "10:00:00")).collect();
    for (part, lines) in lines.chunks(300).enumerate() {
        cloud.put(&format!("lake/quarantine/dt=2026-11-20/{part}"), lines.concat());
    }

    // Rows are sent but cannot be marked, as if the process were killed in between, later each
    // time.
    for marked in [0, 1, 1] {
        cloud.state().full = Some(("lake/quarantine-replayed/", marked));
        let message = cloud.refused(&replay(&["--yes"]));
        assert!(message.contains("could not be marked as replayed"), "{message}");
    }
    cloud.state().full = None;
    cloud.state().unanswered = 2;
    assert_eq!(list(&cloud, &[])["replayed"], 1_000);
    cloud.json(0, &replay(&["--yes"]));
    assert_eq!(cloud.json(0, &replay(&["--yes"]))["sent"], 0);

    let sent = ids(&cloud);
    assert!(sent.len() > rows, "{} were sent", sent.len());
    let mut by_id = BTreeMap::new();
    for put in &cloud.state().records {
        let before = by_id.insert(record(put)["record_id"].to_string(), put.data.clone());
        assert!(before.is_none_or(|before| before == put.data), "the same bytes each time");
    }
    assert_eq!(by_id.len(), rows);
    assert_eq!(list(&cloud, &[])["replayed"], rows);
}

#[test]
fn replay_can_be_split_by_limit() {
    let cloud = Cloud::new();
    let lines: Vec<_> =
        (0..25).map(|row| of_transform(&format!("id-{row}"), GOOD, "10:00:00")).collect();
    cloud.put("lake/quarantine/dt=2026-11-20/x", lines.concat());

    let first = cloud.json(0, &replay(&["--yes", "--limit", "20"]));
    let second = cloud.json(0, &replay(&["--yes", "--limit", "20"]));

    assert_eq!((&first["sent"], &first["beyond_limit"]), (&json!(20), &json!(5)));
    assert_eq!((&second["sent"], &second["already_replayed"]), (&json!(5), &json!(20)));
    assert_eq!(ids(&cloud).iter().collect::<BTreeSet<_>>().len(), 25);
}

#[test]
fn invalid_arguments_exit_2_with_one_line() {
    let cloud = three();
    let wrong = Scratch::with("wrong", "{\"record_id\":\"aa\"}\n");
    for (arguments, expected) in [
        (&["quarantine", "list"][..], "--stack <NAME>"),
        (&["quarantine", "list", "--stack", "prod"], "Stack with id prod does not exist"),
        (&["quarantine", "list", "--stack", "dev", "--since", "soon"], "is no time"),
        (
            &["quarantine", "replay", "--bucket", "lake", "--yes"],
            "expected --stack or --raw-stream",
        ),
        (&["quarantine", "replay", "--stack", "dev", "--set", "a"], "is not FIELD=CEL"),
        (&["quarantine", "replay", "--stack", "dev", "--set", "a=b"], "--set a: names b"),
        (
            &["quarantine", "replay", "--stack", "dev", "--as", "rivers"],
            "is no dataset; there are accidents",
        ),
        (
            &["quarantine", "replay", "--stack", "dev", "--mended", wrong.path()],
            "neither `payload` nor `row`",
        ),
        (
            &["quarantine", "replay", "--stack", "dev", "--mended", "nowhere"],
            "nowhere cannot be read",
        ),
        (
            &[
                "quarantine",
                "replay",
                "--stack",
                "dev",
                "--record-id",
                "aa",
                "--yes",
                "--raw-stream",
                "other",
            ],
            "no such stream",
        ),
    ] {
        let message = cloud.refused(arguments);

        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    assert!(cloud.paths("lake/quarantine-replayed").is_empty());
}

#[test]
fn closed_pipe_is_no_failure() {
    let cloud = three();
    let out = std::process::Stdio::piped();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tributary"));
    let command = command.args(["quarantine", "list", "--bucket", "lake"]).stdout(out);
    let command = command.env("AWS_ENDPOINT_URL", &cloud.url).env("AWS_REGION", "us-east-1");
    let command = command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    let mut child = command.spawn().unwrap();

    drop(child.stdout.take());

    assert_eq!(child.wait().unwrap().code(), Some(0));
}
