use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn read(payload: &str) -> Result<Event<'_>, Rejection> {
    Telemetry.event(payload, Some(Timestamp::UNIX_EPOCH))
}

#[test]
fn a_sensor_with_everything_is_an_event() {
    let payload = json!({"sensor_id": "sensor-01", "timestamp": "2025-11-05T12:00:00Z",
        "temperature": 31.5, "humidity": 65, "pressure": 1013.25, "status": "active",
        "location": {"latitude": 52.3676, "longitude": 4.9041}})
    .to_string();

    insta::assert_json_snapshot!(read(&payload).unwrap());
}

#[test]
fn device_id_reading_has_same_event_shape() {
    let payload = r#"{"device_id":"device-01","timestamp":1762344000123,"temperature":27.5,
        "humidity":40.2,"status":"OK"}"#;

    insta::assert_json_snapshot!(read(payload).unwrap());
}

#[test]
fn status_spellings_map_to_four_values() {
    let statuses: BTreeSet<_> = STATUS.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, BTreeSet::from(["failure", "inactive", "ok", "warning"]));

    for (word, status) in STATUS {
        for word in [word.to_uppercase(), format!(" {word} ")] {
            let payload = json!({"device_id": "d", "timestamp": 1_762_344_000, "status": word});
            let payload = payload.to_string();
            let event = read(&payload).unwrap();
            assert_eq!(event.attributes.get("status").map(AsRef::as_ref), Some(*status), "{word}");
        }
    }
}

#[test]
fn id_is_the_same_under_either_name() {
    let id = |ids: &str| {
        let payload = format!("{{{ids},\"timestamp\":1762344000,\"temperature\":20}}");
        read(&payload).unwrap().event_id.into_owned()
    };

    assert_eq!(id(r#""sensor_id":"a""#), id(r#""device_id":"a""#));
    assert_eq!(id(r#""sensor_id":"a""#), id(r#""sensor_id":"a","device_id":"b""#));
    assert_ne!(id(r#""sensor_id":"a""#), id(r#""sensor_id":"b""#));
}

#[test]
fn a_reading_borrows_its_texts_from_the_payload() {
    let payload = r#"{"sensor_id":"sensor-01","timestamp":1762344000,"temperature":20}"#;

    let event = read(payload).unwrap();

    assert!(matches!(event.entity, Cow::Borrowed(_)));
    assert!(matches!(event.attributes.get("sensor_id"), Some(Cow::Borrowed(_))));
}
