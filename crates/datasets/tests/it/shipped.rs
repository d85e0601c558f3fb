//! `covid`, `flood` and `telemetry`: single rows and their events.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::accidents::RECEIVED_AT;
use super::shipped;
use tributary_model::bad_row::{Code, Rejection};

fn read(dataset: &str, row: &Value) -> Result<Value, Rejection> {
    let dataset = shipped().datasets.by_name(dataset).unwrap();
    dataset.event(&row.to_string(), Some(RECEIVED_AT)).map(|event| json!(event))
}

fn county(changes: &[(&str, &str)]) -> Value {
    let mut row = json!({"date": "2030-01-01", "county": "Autauga", "state": "Alabama",
        "fips": "01001", "cases": "1000", "deaths": "25"});
    for (field, value) in changes {
        row[*field] = json!(value);
    }
    read("covid", &row).unwrap()
}

#[test]
fn county_row_is_an_event() {
    insta::assert_json_snapshot!(county(&[]));
}

#[test]
fn county_id_depends_on_code_and_day() {
    let id = |changes: &[(&str, &str)]| county(changes)["event_id"].clone();

    assert_eq!(id(&[]), id(&[("cases", "1001"), ("deaths", ""), ("county", "Other")]));
    assert_eq!(id(&[]), id(&[("fips", "1001"), ("state", "al")]));
    assert_eq!(id(&[]), id(&[("fips", "1001.0")]));
    assert_ne!(id(&[]), id(&[("date", "2030-01-02")]));
    assert_ne!(id(&[("fips", "")]), id(&[("fips", ""), ("state", "Texas")]));
}

#[test]
fn county_without_code_belongs_to_its_state() {
    let event = county(&[("fips", ""), ("county", "Unknown"), ("state", "Puerto Rico")]);

    assert_eq!(event["entity"], "PR/Unknown");
}

#[test]
fn share_of_no_cases_is_absent() {
    for changes in [&[("cases", "0")][..], &[("deaths", "")]] {
        assert_eq!(county(changes)["measures"].get("case_fatality_pct"), None);
    }
}

#[test]
fn key_is_entity_where_rows_keep_order() {
    let key = |dataset: &str, row: &Value| {
        let dataset = shipped().datasets.by_name(dataset).unwrap();
        let row = row.to_string();
        let event = dataset.event(&row, None).unwrap();
        let key = dataset.event_key(&event).to_owned();
        (key == event.entity, key == event.event_id)
    };

    let county = json!({"date": "2030-01-01", "county": "Autauga", "state": "Alabama",
        "fips": "01001", "cases": "1000"});
    assert_eq!(key("covid", &county), (true, false));
    let gauge = json!({"sensor_id": "river-001", "location": "Oxbow weir", "water_level": 3,
        "timestamp": "2025-11-05T12:00:00Z"});
    assert_eq!(key("flood", &gauge), (true, false));
    assert_eq!(key("accidents", &super::accidents::row("A-1")), (false, true));
}

#[test]
fn known_station_gives_stage_and_position() {
    let row = json!({"sensor_id": "river-001", "location": "Oxbow weir", "water_level": 351.5,
        "unit": "cm", "timestamp": "2025-11-05T12:00:00Z"});

    insta::assert_json_snapshot!(read("flood", &row).unwrap());
}

#[test]
fn unknown_gauge_has_no_stage() {
    let row = json!({"sensor_id": "gauge-9", "location": "47.5,19.05", "water_level": 9.9,
        "timestamp": "2025-11-05 12:00:00.500"});

    insta::assert_json_snapshot!(read("flood", &row).unwrap());
}

#[test]
fn stage_begins_at_its_level() {
    for (level, stage) in
        [(2.49, "normal"), (2.5, "watch"), (3.5, "warning"), (4.499, "warning"), (4.5, "danger")]
    {
        let row =
            json!({"sensor_id": "river-001", "water_level": level, "timestamp": 1_762_344_000});
        let event = read("flood", &row).unwrap();
        assert_eq!(event["attributes"]["stage"], stage, "{level}");
        assert_eq!(event["tags"], json!([format!("stage_{stage}")]), "{level}");
    }
}

#[test]
fn level_is_the_same_in_each_unit() {
    for (number, unit) in [(3.048, "m"), (304.8, "cm"), (10.0, "ft"), (10.0, "FT"), (3.048, "")] {
        let row = json!({"sensor_id": "s", "water_level": number, "unit": unit,
            "timestamp": 1_762_344_000});
        let event = read("flood", &row).unwrap();
        assert_eq!(event["measures"]["water_level_m"], 3.048, "{unit}");
    }
}

#[test]
fn missing_level_rejects_the_row() {
    let rejection = read("flood", &json!({"sensor_id": "s", "timestamp": 1_762_344_000}));
    let rejection = rejection.unwrap_err();

    assert_eq!(
        (rejection.code, rejection.field.as_deref()),
        (Code::MissingField, Some("water_level"))
    );
}

#[test]
fn sensor_with_all_fields_is_an_event() {
    let row = json!({"sensor_id": "sensor-01", "timestamp": "2025-11-05T12:00:00Z",
        "temperature": 31.5, "humidity": 65, "pressure": 1013.25, "status": "active",
        "location": {"latitude": 52.3676, "longitude": 4.9041}});

    insta::assert_json_snapshot!(read("telemetry", &row).unwrap());
}

#[test]
fn device_id_reading_has_same_event_shape() {
    let row = json!({"device_id": "device-01", "timestamp": 1_762_344_000_123_u64,
        "temperature": 27.5, "humidity": 40.2, "status": "OK"});

    insta::assert_json_snapshot!(read("telemetry", &row).unwrap());
}

#[test]
fn status_words_map_to_five_values() {
    for (word, status) in [
        ("OK", "ok"),
        (" Active ", "ok"),
        ("WARN", "warning"),
        ("fault", "failure"),
        ("standby", "inactive"),
        ("low_battery", "unknown"),
    ] {
        let row =
            json!({"device_id": "d", "timestamp": 1_762_344_000, "temperature": 1, "status": word});
        let event = read("telemetry", &row).unwrap();
        assert_eq!(event["attributes"]["status"], status, "{word}");
        let faults = (status == "unknown").then(|| json!(["status:unknown_value"]));
        assert_eq!(event.get("faults"), faults.as_ref(), "{word}");
    }
}

#[test]
fn id_is_the_same_under_either_name() {
    let id = |ids: Value| {
        let mut row = json!({"timestamp": 1_762_344_000, "temperature": 20});
        row.as_object_mut().unwrap().extend(ids.as_object().unwrap().clone());
        read("telemetry", &row).unwrap()["event_id"].clone()
    };

    assert_eq!(id(json!({"sensor_id": "a"})), id(json!({"device_id": "a"})));
    assert_eq!(id(json!({"sensor_id": "a"})), id(json!({"sensor_id": "a", "device_id": "b"})));
    assert_ne!(id(json!({"sensor_id": "a"})), id(json!({"sensor_id": "b"})));
}

#[test]
fn row_without_good_value_is_rejected() {
    let row = |field: &str, value: &str| {
        let mut row = json!({"sensor_id": "a", "timestamp": 1_762_344_000});
        row[field] = json!(value);
        read("telemetry", &row).unwrap_err()
    };

    for (field, value, code) in [
        ("temperature", "", Code::MissingField),
        ("temperature", "warm", Code::InvalidNumber),
        ("humidity", "140", Code::OutOfRange),
        ("status", "great", Code::UnknownValue),
    ] {
        let rejection = row(field, value);
        assert_eq!((rejection.code, rejection.field.as_deref()), (code, Some(field)), "{value}");
    }
}

#[test]
fn humidity_slightly_above_range_is_clipped() {
    for (humidity, expected) in
        [("101.7", Some(100.0)), ("105", Some(100.0)), ("105.1", None), ("-1", None)]
    {
        let row = json!({"sensor_id": "a", "timestamp": 1_762_344_000, "temperature": 20,
            "humidity": humidity});
        let event = read("telemetry", &row).unwrap();
        assert_eq!(event["measures"]["humidity_pct"].as_f64(), expected, "{humidity}");
        assert_eq!(event.get("faults").is_some(), expected.is_none(), "{humidity}");
    }
}

#[test]
fn reading_borrows_texts_from_payload() {
    let payload = r#"{"sensor_id":"sensor-01","timestamp":1762344000,"temperature":20}"#;

    let event = shipped().datasets.by_name("telemetry").unwrap().event(payload, None).unwrap();

    assert!(matches!(event.entity, Cow::Borrowed(_)));
    assert!(matches!(event.attributes.get("sensor_id"), Some(Cow::Borrowed(_))));
}

#[test]
fn time_before_1900_is_out_of_range() {
    let row = json!({"sensor_id": "a", "timestamp": "0001-01-01T00:00:00Z", "temperature": 20});

    assert_eq!(read("telemetry", &row).unwrap_err().code, Code::OutOfRange);
}
