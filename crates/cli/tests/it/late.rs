//! `tributary quarantine replay` of late readings, run against a local fake of AWS.

use serde_json::{Value, json};
use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};

use crate::cloud::Cloud;

/// Returns a bad row of `windows`: the event `id`, which was too late for a window.
fn late(id: &str) -> Vec<u8> {
    let event = json!({"kind": "reading", "dataset": "flood", "event_id": id, "entity": "s-1",
        "event_time": "2026-11-20T10:00:00Z", "received_at": "2026-11-20T10:00:00.000Z",
        "measures": {}, "attributes": {}, "tags": []});
    let origin = Origin {
        dataset: Some("flood"),
        record_id: id.into(),
        ..Origin::of_record("shardId-000000000000", id, "2026-11-20T10:20:00Z".parse().unwrap())
    };
    let rejection = Rejection::row(Code::Late, "too late");
    let at = "2026-11-20T10:20:00Z".parse().unwrap();
    BadRow::new(&rejection, &origin, Some(event.to_string().as_bytes()), at).to_line(usize::MAX)
}

fn two() -> Cloud {
    let cloud = Cloud::new();
    cloud.state().has_windows = true;
    cloud.put("lake/quarantine/dt=2026-11-20/one", [late("1"), late("2")].concat());
    cloud
}

const REPLAY: [&str; 4] = ["quarantine", "replay", "--stack", "dev"];

fn replay(cloud: &Cloud, code: i32, more: &[&str]) -> Value {
    cloud.json(code, &[&REPLAY, more].concat())
}

#[test]
fn late_readings_are_given_to_windows_once() {
    let cloud = two();
    let dry = replay(&cloud, 0, &[]);
    assert_eq!((&dry["late"], &dry["to_send"]), (&json!(2), &json!(2)));
    assert!(cloud.state().invoked.is_empty());

    let summary = replay(&cloud, 0, &["--yes"]);

    assert_eq!((&summary["sent"], &summary["undelivered"]), (&json!(2), &json!(0)));
    let (function, payload) = cloud.state().invoked[0].clone();
    assert_eq!((function.as_str(), &payload["revises_windows"]), ("dev-windows", &json!(true)));
    let data = payload["Records"][1]["kinesis"]["data"].as_str().unwrap();
    let event = base64_simd::STANDARD.decode_to_vec(data).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&event).unwrap()["event_id"], "2");
    assert!(cloud.state().records.is_empty(), "nothing goes to RAW");
    assert_eq!(replay(&cloud, 0, &["--yes"])["already_replayed"], 2);
}

#[test]
fn reading_that_windows_does_not_take_waits() {
    let cloud = two();
    let second = r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#;
    for (answer, sent) in [((None, second), 1), ((Some("Unhandled"), "{}"), 0)] {
        cloud.state().answers.push_back(answer);
        let summary = replay(&cloud, 1, &["--yes"]);
        assert_eq!((&summary["sent"], &summary["undelivered"]), (&json!(sent), &json!(1)));
    }
    assert_eq!(replay(&cloud, 0, &["--yes"])["sent"], 1);
}

#[test]
fn late_reading_cannot_be_edited() {
    let cloud = two();

    let summary = replay(&cloud, 1, &["--yes", "--set", "water_level=1.0"]);

    assert_eq!((&summary["late"], &summary["unable"]), (&json!(0), &json!({"no_row": 2})));
    assert!(cloud.state().invoked.is_empty());
}
