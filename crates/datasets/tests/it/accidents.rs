//! `accidents`: fixtures of its generator, times and zones.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::shipped;
use tributary_datasets::ingest::{Feed, Step};
use tributary_model::bad_row::{Code, Rejection};
use tributary_rows::Limits;

/// 2100-01-01T00:00:00Z, after every row of these tests.
pub(crate) const RECEIVED_AT: Timestamp = Timestamp::constant(4_102_444_800, 0);

/// Returns the event of a row, or its rejection.
fn read(payload: &str) -> Result<Value, Rejection> {
    let accidents = shipped().datasets.by_name("accidents").unwrap();
    accidents.event(payload, Some(RECEIVED_AT)).map(|event| json!(event))
}

/// The row of `id` that the other cases are variations of.
pub(super) fn row(id: &str) -> Value {
    json!({"ID": id, "Severity": "3", "Start_Time": "2021-07-15 17:20:00", "Start_Lat": "33.45",
           "Start_Lng": "-112.07", "State": "AZ", "Timezone": "US/Mountain"})
}

fn with(changes: &[(&str, &str)]) -> String {
    let mut row = row("A-1");
    for (column, value) in changes {
        row[*column] = json!(value);
    }
    row.to_string()
}

fn rejected(changes: &[(&str, &str)]) -> (Code, String) {
    let rejection = read(&with(changes)).unwrap_err();
    (rejection.code, rejection.field.unwrap_or_default().into_owned())
}

/// The payloads of a fixture, by the ID they hold.
fn payloads(file: &str) -> Vec<String> {
    let path = format!("{}/../../fixtures/datasets/accidents/{file}", env!("CARGO_MANIFEST_DIR"));
    let datasets = &shipped().datasets;
    let accidents = datasets.by_name("accidents").cloned();
    let mut feed = Feed::new(datasets, accidents, Limits::default());
    feed.push(&std::fs::read(path).unwrap());
    feed.finish();
    let mut payloads = Vec::new();
    loop {
        match feed.step().unwrap() {
            Step::Row(row) => {
                let mut payload = Vec::new();
                row.write_payload(&mut payload);
                payloads.push(String::from_utf8(payload).unwrap());
            }
            Step::End => return payloads,
            Step::Started | Step::Bad(..) => {}
            Step::NeedInput => unreachable!("the whole file was pushed"),
        }
    }
}

fn expected(file: &str) -> Value {
    let path = format!("{}/../../fixtures/datasets/accidents/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn events_of(payloads: &[String]) -> BTreeMap<String, Value> {
    payloads
        .iter()
        .map(|payload| {
            let event = read(payload).unwrap();
            (event["event_id"].as_str().unwrap().to_owned(), event)
        })
        .collect()
}

#[test]
fn every_column_finds_its_place() {
    let payloads = payloads("valid.csv");
    let fullest = payloads.iter().max_by_key(|payload| payload.len()).unwrap();

    insta::assert_json_snapshot!(read(fullest).unwrap());
}

#[test]
fn row_of_required_columns_is_an_event() {
    let payload = json!({"ID": "A-1", "Severity": "2", "Start_Time": "2016-02-08 05:46:00",
        "Start_Lat": "39.865147", "Start_Lng": "-84.058723", "State": "OH"})
    .to_string();

    insta::assert_json_snapshot!(read(&payload).unwrap());
}

#[test]
fn the_fixture_of_good_rows_reads_as_expected() {
    let rows = expected("valid.expected.json");
    let by_id: BTreeMap<_, _> = events_of(&payloads("valid.csv"))
        .into_values()
        .map(|event| (event["attributes"]["id"].as_str().unwrap().to_owned(), event))
        .collect();

    let mut checked = 0;
    for row in rows.as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let event = &by_id[id];
        assert_eq!(event["event_time"], row["event_time"], "{id}");
        let duration = event["measures"].get("duration_min").and_then(Value::as_f64);
        let four_digits = |minutes: f64| (minutes * 1e4).round() / 1e4;
        assert_eq!(duration.map(four_digits), row["duration_min"].as_f64(), "{id}");
        assert_eq!(tags_of(event), tags_expected(row), "{id}");
        checked += 1;
    }
    assert_eq!((checked, by_id.len()), (60, 60));
}

fn all_tags(event: &Value) -> impl Iterator<Item = String> {
    event["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned())
}

/// The tags that a fixture's row says anything of.
fn tags_of(event: &Value) -> BTreeSet<String> {
    let tags = event["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap());
    let other = ["day", "night", "rush_hour", "weekend"];
    tags.filter(|tag| !other.contains(tag)).map(str::to_owned).collect()
}

fn tags_expected(row: &Value) -> BTreeSet<String> {
    let flags = row["points_of_interest"].as_array().unwrap().iter();
    let mut tags: BTreeSet<_> = flags.map(|flag| flag.as_str().unwrap().to_lowercase()).collect();
    tags.extend(row["weather"].as_str().map(|class| format!("weather_{class}")));
    tags.extend(match row["local_hour"].as_str() {
        Some("skipped") => Some("dst_gap".to_owned()),
        Some("doubled") => Some("dst_fold".to_owned()),
        _ => None,
    });
    if row["timezone_from_state"] == true {
        tags.insert("timezone_from_state".to_owned());
    }
    tags
}

#[test]
fn order_of_rows_and_columns_does_not_matter() {
    assert_eq!(events_of(&payloads("valid.csv")), events_of(&payloads("shuffled-columns.csv")));
}

#[test]
fn older_editions_keep_their_extra_columns() {
    for (file, attribute) in [("older-47-columns.csv", "side"), ("older-49-columns.csv", "tmc")] {
        let events = events_of(&payloads(file));

        assert_eq!(events.len(), 10, "{file}");
        assert!(
            events.values().any(|event| event["attributes"].get(attribute).is_some()),
            "{file}"
        );
    }
}

#[test]
fn invalid_values_are_rejected_by_code_and_field() {
    let cases = expected("bad-rows.expected.json");
    let rows: BTreeMap<String, String> = payloads("bad-rows.csv")
        .into_iter()
        .map(|payload| {
            let row: Value = serde_json::from_str(&payload).unwrap();
            (row["ID"].as_str().unwrap_or_default().to_owned(), payload)
        })
        .collect();

    let mut codes = BTreeSet::new();
    for case in cases.as_array().unwrap() {
        let id = case["id"].as_str().unwrap_or_default();
        // What the row reader rejects never gets here.
        let Some(payload) = rows.get(id) else { continue };
        let rejection = read(payload).expect_err(id);
        assert_eq!(rejection.code.as_str(), case["code"], "{id}: {}", rejection.message);
        assert_eq!(rejection.field.as_deref(), case["field"].as_str(), "{id}");
        codes.insert(rejection.code);
    }
    assert_eq!(codes.len(), 5, "missing, number, range, time, unknown value: {codes:?}");
}

#[test]
fn dst_gap_or_overlap_is_tagged() {
    for (local, zone, utc, tag) in [
        ("2021-03-14 02:30:00", "US/Eastern", "2021-03-14T07:30:00Z", Some("dst_gap")),
        ("2021-11-07 01:30:00", "US/Central", "2021-11-07T06:30:00Z", Some("dst_fold")),
        ("2021-11-07 03:30:00", "US/Central", "2021-11-07T09:30:00Z", None),
    ] {
        let payload = with(&[("Start_Time", local), ("Timezone", zone)]);
        let event = read(&payload).unwrap();

        assert_eq!(event["event_time"], utc);
        let tagged = all_tags(&event).find(|tag| tag.starts_with("dst_"));
        assert_eq!(tagged.as_deref(), tag);
    }
}

#[test]
fn end_in_dst_overlap_is_after_start() {
    let payload = with(&[
        ("Timezone", "US/Central"),
        ("Start_Time", "2021-11-07 01:50:00"),
        ("End_Time", "2021-11-07 01:10:00"),
    ]);

    assert_eq!(read(&payload).unwrap()["measures"]["duration_min"], 20.0);
}

#[test]
fn missing_time_zone_is_taken_from_state() {
    let payload = with(&[("Timezone", "")]);
    let event = read(&payload).unwrap();

    assert_eq!(event["event_time"], "2021-07-16T00:20:00Z");
    assert!(all_tags(&event).any(|tag| tag == "timezone_from_state"));
    assert_eq!(event["attributes"].get("timezone"), None);
}

#[test]
fn rush_hour_and_weekend_are_by_local_time() {
    let tags = |local| {
        let payload = with(&[("Start_Time", local)]);
        all_tags(&read(&payload).unwrap()).collect::<Vec<_>>()
    };

    assert_eq!(tags("2021-07-15 16:00:00"), ["rush_hour"]);
    assert_eq!(tags("2021-07-15 19:00:00"), Vec::<String>::new());
    assert_eq!(tags("2021-07-17 16:00:00"), ["weekend"]);
}

#[test]
fn time_with_offset_needs_no_zone() {
    for (text, utc) in [
        ("2021-07-15 17:20:00", "2021-07-15T23:20:00Z"),
        ("2021-07-15T17:20:00", "2021-07-15T23:20:00Z"),
        ("2021-07-15T17:20:00.000Z", "2021-07-15T17:20:00Z"),
        ("2021-07-15T17:20:00-04:00", "2021-07-15T21:20:00Z"),
    ] {
        let payload = with(&[("Start_Time", text), ("Timezone", "US/Mountain")]);
        assert_eq!(read(&payload).unwrap()["event_time"], utc, "{text}");
    }
}

#[test]
fn times_are_read_exactly_or_not_at_all() {
    for good in ["2022-12-03 23:37:14.000000000", "2022-12-03 23:37:14.5", " 2022-12-03 23:37:14 "]
    {
        assert!(read(&with(&[("Start_Time", good)])).is_ok(), "{good:?}");
    }
    for bad in [
        "2022-12-03",
        "2022-12-03 23:37:60",
        "2022-12-03 24:00:00",
        "2022-12-03 23:37:14.",
        "2022-02-30 12:00:00",
        "12/03/2022 23:37:14",
        "ÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ",
    ] {
        let (code, field) = rejected(&[("Start_Time", bad)]);
        assert_eq!((code, field.as_str()), (Code::InvalidTime, "Start_Time"), "{bad:?}");
    }
}

#[test]
fn a_column_that_is_there_twice_is_told() {
    let payload = r#"{"ID":"A-1","ID":"A-2"}"#;

    let rejection = read(payload).unwrap_err();

    assert_eq!((rejection.code, rejection.field.as_deref()), (Code::DuplicateField, Some("ID")));
}

#[test]
fn a_payload_of_another_shape_is_rejected() {
    for (payload, code) in [
        ("[]", Code::InvalidJson),
        ("7", Code::InvalidJson),
        ("{}", Code::MissingField),
        (r#"{"ID":"A-1","State":{"is":"OH"}}"#, Code::UnknownValue),
    ] {
        assert_eq!(read(payload).unwrap_err().code, code, "{payload}");
    }
}

#[test]
fn json_numbers_and_booleans_read_as_cells_do() {
    let mut typed = row("A-1");
    typed["Severity"] = json!(3);
    typed["Start_Lat"] = json!(33.45);
    typed["Bump"] = json!(true);
    let text = with(&[("Bump", "True")]);

    assert_eq!(read(&typed.to_string()).unwrap(), read(&text).unwrap());
}
