//! Readings of the past and of the future: what they send, and what they leave to later ones.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tributary_aws::deadline::Deadline;
use tributary_aws::payload::BatchResponse;
use tributary_config::ALERTS;
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Faults, clock};

use crate::support::{Function, function_of};

fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

fn shipped() -> Function {
    clock::begin();
    function_of(ALERTS, SimClaims::new(Faults::none(1)), SimAlertState::new(Faults::none(1)))
}

/// Returns a batch of readings of a gauge in danger, each of (event time, time of receipt).
fn readings(times: impl IntoIterator<Item = (Timestamp, Timestamp)>) -> String {
    let template = include_str!("../../../../events/alerts/severe-accident.json");
    let template: Value = serde_json::from_str(template).unwrap();
    let record = |(number, (time, received_at)): (usize, (Timestamp, Timestamp))| {
        let event = json!({"kind": "reading", "dataset": "flood",
            "event_id": format!("{time}"), "entity": "river-001",
            "event_time": time.to_string(), "received_at": received_at.to_string(),
            "measures": {"water_level_m": 4.6},
            "attributes": {"sensor_id": "river-001", "stage": "danger"}, "tags": []});
        let mut record = template["Records"][0].clone();
        let data = base64_simd::STANDARD.encode_to_string(event.to_string());
        record["kinesis"]["data"] = json!(data);
        record["kinesis"]["sequenceNumber"] = json!(format!("{number:056}"));
        record
    };
    json!({"Records": times.into_iter().enumerate().map(record).collect::<Vec<_>>()}).to_string()
}

/// Handles a batch, and returns the number of messages so far.
async fn handle(function: &Function, payload: &str) -> usize {
    let deadline = Deadline::after(Duration::from_secs(58));
    let response = function.handle(payload, "one", deadline).await.unwrap();
    assert_eq!(response, BatchResponse::default());
    function.topic.target().stored().len()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[tokio::test(start_paused = true)]
async fn backfill_of_readings_pages_nobody() {
    let function = shipped();

    let backfill = readings((1..=200).map(|hour| (now() - hours(2 * hour), now())));

    assert_eq!(handle(&function, &backfill).await, 0);
    assert_eq!(handle(&function, &readings([(now(), now())])).await, 1);
}

/// A gauge whose clock runs ahead sends 720 readings, and its real floods follow.
#[tokio::test(start_paused = true)]
async fn future_readings_leave_later_alerts() {
    let function = shipped();

    let future = readings((1..=720).map(|hour| (now() + hours(hour), now())));

    assert_eq!(handle(&function, &future).await, 1);
    for hour in 1..=24 {
        let at = now() + hours(hour);
        assert_eq!(
            handle(&function, &readings([(at, at)])).await,
            1 + usize::try_from(hour).unwrap()
        );
    }
}
