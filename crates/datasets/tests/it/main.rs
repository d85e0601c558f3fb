//! Every dataset: fixtures, declared fields, shipped ranges, metrics and rules.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

mod accidents;
mod schemas;
mod shipped;
mod tables;
mod values;

use tributary_config::Configuration;
use tributary_datasets::ingest::{Feed, Step};
use tributary_model::bad_row::Rejection;
use tributary_model::event::{CLOCK_AHEAD, Event};
use tributary_pipeline::transform::Outcome;
use tributary_rows::Limits;
use tributary_rules::RuleSpec;

fn shipped() -> &'static Configuration {
    static SHIPPED: LazyLock<Configuration> = LazyLock::new(|| Configuration::shipped().unwrap());
    &SHIPPED
}

/// Returns the datasets whose fixtures are `valid.*` and `bad-rows.*` with row-by-row expectations:
/// all but `accidents`, which has its own tests.
fn by_rows() -> Vec<String> {
    let datasets = &shipped().datasets;
    let names = datasets.iter().map(|dataset| dataset.name().to_owned());
    names.filter(|name| name != "accidents").collect()
}

fn path(dataset: &str, file: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/datasets");
    [root, dataset, file].iter().collect()
}

fn fixture(dataset: &str, file: &str) -> Vec<u8> {
    std::fs::read(path(dataset, file)).unwrap()
}

/// The files of good rows; where there is a CSV and JSON Lines, row by row the same readings.
fn valid_files(dataset: &str) -> Vec<&'static str> {
    let mut files = vec!["valid.csv", "valid.jsonl"];
    files.retain(|file| path(dataset, file).exists());
    assert!(!files.is_empty(), "{dataset}");
    files
}

fn expected(dataset: &str, file: &str) -> Value {
    serde_json::from_slice(&fixture(dataset, file)).unwrap()
}

/// Returns the outcome of each row of a fixture with the shipped configuration, in file order. The
/// columns select the dataset.
fn outcomes(dataset: &str, file: &str) -> Vec<Result<Value, Rejection>> {
    let configuration = shipped();
    let transformer = configuration.transformer().unwrap();
    let mut feed = Feed::new(&configuration.datasets, None, Limits::default());
    feed.push(&fixture(dataset, file));
    feed.finish();
    let mut outcomes = Vec::new();
    loop {
        match feed.step().unwrap() {
            Step::Row(row) => {
                assert_eq!(row.dataset().name(), dataset, "{file}");
                let mut payload = Vec::new();
                row.write_payload(&mut payload);
                let payload = String::from_utf8(payload).unwrap();
                let outcome = transformer.payload(row.dataset(), &payload, None);
                outcomes.push(outcome.map(|outcome| match outcome {
                    Outcome::Event(event) => json!(event),
                    Outcome::Filtered => unreachable!("no filter is shipped"),
                }));
            }
            Step::Bad(bad) => outcomes.push(Err(bad.rejection)),
            Step::End => return outcomes,
            Step::Started => {}
            Step::NeedInput => unreachable!("the whole file was pushed"),
        }
    }
}

/// Returns the parts of an event that an expectation covers.
fn reported(event: &Value) -> Value {
    let point = |at: &Value| json!([at["lat"], at["lon"]]);
    json!({
        "entity": event["entity"], "event_time": event["event_time"],
        "measures": event["measures"], "attributes": event["attributes"], "tags": event["tags"],
        "location": event.get("location").map_or(Value::Null, point),
    })
}

#[test]
fn good_fixture_rows_become_expected_events() {
    for dataset in &by_rows() {
        let expected = expected(dataset, "valid.expected.json");
        for file in valid_files(dataset) {
            let outcomes = outcomes(dataset, file);
            assert_eq!(outcomes.len(), expected.as_array().unwrap().len(), "{dataset}/{file}");
            for (outcome, expected) in outcomes.iter().zip(expected.as_array().unwrap()) {
                let why = expected["why"].as_str().unwrap();
                let mut expected = expected.clone();
                expected.as_object_mut().unwrap().remove("why");
                let event = outcome.as_ref().unwrap_or_else(|bad| panic!("{why}: {bad:?}"));
                assert_eq!(reported(event), expected, "{dataset}/{file}: {why}");
            }
        }
    }
}

#[test]
fn event_ids_are_unique_and_independent_of_spelling() {
    for dataset in &by_rows() {
        let ids = |file| {
            let outcomes = outcomes(dataset, file);
            outcomes.into_iter().map(|event| event.unwrap()["event_id"].clone()).collect::<Vec<_>>()
        };
        let mut files: Vec<_> = valid_files(dataset).into_iter().map(ids).collect();

        let distinct: BTreeSet<_> = files[0].iter().map(Value::as_str).collect();
        assert_eq!(distinct.len(), files[0].len(), "{dataset}");
        files.dedup();
        assert_eq!(files.len(), 1, "{dataset}");
    }
}

#[test]
fn bad_fixture_rows_are_rejected_by_code() {
    for dataset in &by_rows() {
        let expected = expected(dataset, "bad-rows.expected.json");
        for (file, expected) in expected.as_object().unwrap() {
            let outcomes = outcomes(dataset, file);
            assert_eq!(outcomes.len(), expected.as_array().unwrap().len(), "{dataset}/{file}");
            for (outcome, expected) in outcomes.into_iter().zip(expected.as_array().unwrap()) {
                let why = expected["why"].as_str().unwrap();
                let rejection = outcome.map(|event| panic!("{dataset}/{file}: {why}: {event}"));
                let rejection: Rejection = rejection.map(|(): ()| ()).unwrap_err();
                let found = json!({"code": rejection.code, "field": rejection.field});
                let meant = json!({"code": expected["code"], "field": expected["field"]});
                assert_eq!(found, meant, "{dataset}/{file}: {why}: {}", rejection.message);
            }
        }
    }
}

#[test]
fn bad_optional_fields_are_faults() {
    for dataset in &by_rows() {
        let expected = expected(dataset, "faults.expected.json");
        for (file, expected) in expected.as_object().unwrap() {
            let outcomes = outcomes(dataset, file);
            assert_eq!(outcomes.len(), expected.as_array().unwrap().len(), "{dataset}/{file}");
            for (outcome, expected) in outcomes.into_iter().zip(expected.as_array().unwrap()) {
                let why = expected["why"].as_str().unwrap();
                let event =
                    outcome.unwrap_or_else(|bad| panic!("{dataset}/{file}: {why}: {bad:?}"));
                let faults = event.get("faults").cloned().unwrap_or(json!([]));
                assert_eq!(faults, expected["faults"], "{dataset}/{file}: {why}");
                for fault in faults.as_array().unwrap() {
                    let (field, _) = fault.as_str().unwrap().split_once(':').unwrap();
                    assert!(event["measures"].get(field).is_none(), "{dataset}/{file}: {why}");
                }
            }
        }
    }
}

#[test]
fn declared_fields_match_fields_of_fixture_events() {
    let configuration = shipped();
    let schemas = configuration.schemas();
    for dataset in configuration.datasets.iter() {
        let fields = schemas.get(dataset.name()).unwrap();
        let mut seen = BTreeSet::new();
        let mut files = valid_files(dataset.name());
        if dataset.name() == "accidents" {
            files.extend(["demo.csv", "older-49-columns.csv", "shuffled-columns.csv"]);
        }
        for event in files.iter().flat_map(|file| outcomes(dataset.name(), file)).flatten() {
            let json = event.to_string();
            let event = Event::from_json(json.as_bytes()).unwrap();
            assert_eq!(fields.mismatch(&event), None, "{}: {json}", dataset.name());
            seen.extend(event.measures.iter().map(|(name, _)| name.to_string()));
            seen.extend(event.attributes.iter().map(|(name, _)| name.to_string()));
            seen.extend(event.tags.iter().map(ToString::to_string));
        }
        let declared = fields.measures.keys().chain(fields.attributes.keys()).chain(&fields.tags);
        // The rows of a file have no times of receipt to be ahead of.
        let unseen: Vec<_> =
            declared.filter(|name| !seen.contains(*name) && *name != CLOCK_AHEAD).collect();
        assert_eq!(unseen, Vec::<&str>::new(), "{}", dataset.name());
    }
}

#[test]
fn shipped_reading_rules_fire_on_some_rows() {
    let configuration = shipped();
    let rules = configuration.rules().unwrap();
    let mut fired: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows: BTreeMap<String, usize> = BTreeMap::new();
    for dataset in configuration.datasets.iter().map(|dataset| dataset.name()) {
        for event in outcomes(dataset, valid_files(dataset)[0]).into_iter().flatten() {
            let json = event.to_string();
            let (alerts, errors) = rules.alerts(&Event::from_json(json.as_bytes()).unwrap());
            assert_eq!(errors, [], "{dataset}");
            for alert in alerts {
                assert!(!alert.title.contains(['{', '}']), "{}", alert.title);
                *fired.entry(alert.rule).or_default() += 1;
            }
            *rows.entry(dataset.to_owned()).or_default() += 1;
        }
    }
    let about_a_reading = |rule: &&RuleSpec| rule.window.is_none() && rule.absent.is_none();
    for rule in configuration.alerts.rules.iter().filter(about_a_reading) {
        let fired = fired.get(&rule.id).copied().unwrap_or_default();
        assert!(fired > 0 && fired < rows[&rule.dataset], "{}: {fired}", rule.id);
    }
}

/// The fields of every dataset.
const FIELDS: [&str; 22] = [
    "ID",
    "Severity",
    "Start_Time",
    "Start_Lat",
    "Start_Lng",
    "State",
    "Bump",
    "sensor_id",
    "device_id",
    "timestamp",
    "temperature",
    "humidity",
    "pressure",
    "location",
    "status",
    "water_level",
    "unit",
    "date",
    "county",
    "state",
    "fips",
    "cases",
];

/// JSON values that are likely to matter, and some that are anything.
fn value() -> impl Strategy<Value = String> {
    let likely = prop::sample::select(vec![
        "null",
        "true",
        "\"\"",
        "\"sensor-1\"",
        "17",
        "21.5",
        "-0",
        "1e999",
        "-1e-999",
        "[]",
        "\"2025-11-05T12:00:00Z\"",
        "1762344000",
        "1762344000123456",
        "\"2030-01-01\"",
        "\"NaN\"",
        "{\"lat\":1,\"lon\":2}",
        "{\"lat\":91}",
        "\"52.3,4.9\"",
        "\"{}\"",
        "\"OK\"",
        "\"cm\"",
        "\"Alaska\"",
        "\"AK\"",
        "\"01001\"",
        "\"\\ud800\"",
        "{\"lat\":{\"a\":[]}}",
        "99999999999999999999",
    ]);
    let any_text = ".{0,12}".prop_map(|text| Value::from(text).to_string());
    prop_oneof![6 => likely.prop_map(str::to_owned), 1 => any_text,
        1 => any::<i64>().prop_map(|n| n.to_string())]
}

/// JSON objects with some fields of the datasets.
fn payload() -> impl Strategy<Value = String> {
    let field = (prop::sample::select(&FIELDS[..]), value());
    prop::collection::vec(field, 0..10).prop_map(|fields| {
        let fields = fields.iter().map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_object_is_an_event_or_rejected(payload in payload()) {
        for dataset in shipped().datasets.iter() {
            if let Ok(event) = dataset.event(&payload, None) {
                prop_assert!(event.measures.iter().all(|(_, value)| value.is_finite()), "{}", payload);
                prop_assert!(!event.entity.is_empty());
                prop_assert_eq!(dataset.fields().mismatch(&event), None, "{}", payload);
                let json = serde_json::to_vec(&event).unwrap();
                let again = serde_json::to_vec(&Event::from_json(&json).unwrap()).unwrap();
                prop_assert_eq!(again, json);
            }
        }
    }

    #[test]
    fn a_measure_is_read_as_it_was_written(temperature in -50.0..50.0_f64) {
        let payload =
            format!("{{\"sensor_id\":\"s\",\"timestamp\":1762344000,\"temperature\":{temperature}}}");
        let configuration = shipped();
        let telemetry = configuration.datasets.by_name("telemetry").unwrap();
        let event = telemetry.event(&payload, None).unwrap();
        prop_assert_eq!(event.measures.get("temperature_c"), Some(&temperature));

        let json = serde_json::to_vec(&event).unwrap();

        prop_assert_eq!(Event::from_json(&json).unwrap(), event);
    }

    #[test]
    fn the_spellings_of_one_instant_give_one_id(
        micros in 946_684_800_000_000..4_102_444_800_000_000_i64, offset_minutes in -1_439..1_440_i32,
    ) {
        let time = Timestamp::from_microsecond(micros).unwrap();
        let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).unwrap();
        let spellings = [
            format!("\"{time}\""),
            format!("\"{}\"", time.to_string().replace('T', " ").replace('Z', "")),
            format!("\"{}\"", time.display_with_offset(offset)),
            format!("{micros}"),
            format!("\"{micros}\""),
            format!("{}.{:03}", micros / 1_000, micros % 1_000),
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        ];
        let datasets = &shipped().datasets;
        for (dataset, rest) in [("telemetry", "\"temperature\":20"), ("flood", "\"water_level\":1")] {
            let mut ids = Vec::new();
            for spelling in &spellings {
                let payload = format!("{{\"sensor_id\":\"s\",{rest},\"timestamp\":{spelling}}}");
                let event = datasets.by_name(dataset).unwrap().event(&payload, None);
                ids.push(event.unwrap().event_id.into_owned());
            }
            ids.dedup();
            prop_assert_eq!(ids.len(), 1, "{}", time);
        }
    }
}
