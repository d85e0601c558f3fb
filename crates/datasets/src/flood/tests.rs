use serde_json::json;

use super::*;
use tributary_model::bad_row::Code;

fn read(payload: &str) -> Result<Event<'_>, Rejection> {
    Flood.event(payload, Some(Timestamp::UNIX_EPOCH))
}

#[test]
fn known_station_gives_stage_and_position() {
    let payload = json!({"sensor_id": "river-001", "location": "Oxbow weir", "water_level": 351.5,
        "unit": "cm", "timestamp": "2025-11-05T12:00:00Z"})
    .to_string();

    insta::assert_json_snapshot!(read(&payload).unwrap());
}

#[test]
fn unknown_gauge_has_no_stage() {
    let payload = r#"{"sensor_id":"gauge-9","location":"47.5,19.05","water_level":9.9,
        "timestamp":"2025-11-05 12:00:00.500"}"#;

    insta::assert_json_snapshot!(read(payload).unwrap());
}

#[test]
fn a_level_is_the_same_in_each_unit() {
    let level = |level: f64, unit: &str| {
        let payload = json!({"sensor_id": "s", "water_level": level, "unit": unit,
            "timestamp": 1_762_344_000})
        .to_string();
        read(&payload).unwrap().measures.get("water_level_m").copied()
    };

    for (number, unit) in [(3.048, "m"), (304.8, "cm"), (10.0, "ft"), (10.0, "FT")] {
        assert_eq!(level(number, unit), Some(3.048), "{unit}");
    }
    assert_eq!(level(3.0, ""), Some(3.0));
}

#[test]
fn a_reading_without_a_level_is_none() {
    let rejection = read(r#"{"sensor_id":"s","timestamp":1762344000}"#).unwrap_err();

    assert_eq!(
        (rejection.code, rejection.field.as_deref()),
        (Code::MissingField, Some("water_level"))
    );
}

#[test]
fn the_compiled_in_stations_can_be_used() {
    assert_eq!(Flood.check(), Ok(()));
}
