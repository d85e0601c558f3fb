//! Rules with `for`, with an in-memory store, table and topic.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;
use tributary_aws::deadline::Deadline;
use tributary_aws::payload::BatchResponse;
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Fault, Faults, clock};

use crate::support::{Function, batch_of, function_of};

const RULE: &str = r#"
[[rules]]
id = "heat"
dataset = "telemetry"
window = "telemetry-1m"
severity = "warning"
when = "event.measures.temperature_c_mean > 30.0"
for = 3
title = "{entity} is hot since a while"
key = "{entity}"
cooldown = "1h"
"#;

fn function(claims: SimClaims, store: SimAlertState) -> Function {
    function_of(RULE, claims, store)
}

fn calm() -> Function {
    clock::begin();
    function(SimClaims::new(Faults::none(1)), SimAlertState::new(Faults::none(1)))
}

/// Returns a batch of window events of one device, each of (minute, revision, mean temperature).
fn windows(windows: &[(i64, u32, f64)]) -> String {
    batch_of(windows.iter().map(|(minute, revision, mean)| {
        let at = |minute: i64| Timestamp::from_second(1_795_000_020 + minute * 60).unwrap();
        json!({"kind": "window", "dataset": "telemetry",
            "event_id": format!("{minute}-{revision}"), "entity": "device-01",
            "event_time": at(*minute).to_string(), "received_at": "2026-11-20T10:00:01Z",
            "measures": {"temperature_c_mean": mean}, "attributes": {}, "tags": [],
            "window": {"spec": "telemetry-1m", "start": at(*minute).to_string(),
                "end": at(minute + 1).to_string(), "revision": revision}})
    }))
}

async fn handle(function: &Function, payload: &str, owner: &str) -> BatchResponse {
    let minute = Deadline::after(Duration::from_secs(58));
    function.handle(payload, owner, minute).await.unwrap()
}

fn titles(function: &Function) -> Vec<String> {
    let messages = function.topic.target().stored();
    messages.into_iter().map(|message| message.subject).collect()
}

#[tokio::test(start_paused = true)]
async fn third_consecutive_hot_window_sends_one_alert() {
    let function = calm();

    handle(&function, &windows(&[(0, 0, 31.0), (1, 0, 32.0)]), "one").await;
    assert!(titles(&function).is_empty());
    handle(&function, &windows(&[(2, 0, 33.0), (3, 0, 34.0)]), "two").await;

    assert_eq!(titles(&function), ["device-01 is hot since a while"]);
    let message: Value =
        serde_json::from_str(&function.topic.target().stored()[0].message).unwrap();
    assert_eq!(message["event"]["window"]["spec"], "telemetry-1m");
}

#[tokio::test(start_paused = true)]
async fn rule_without_match_makes_no_call() {
    let function = calm();

    handle(&function, &windows(&[(0, 0, 21.0), (1, 0, 22.0), (2, 0, 23.0)]), "one").await;

    assert_eq!((function.state.store.calls(), function.claims.target().calls()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn revision_to_cool_breaks_consecutive_windows() {
    let function = calm();

    handle(&function, &windows(&[(0, 0, 31.0), (1, 0, 31.0)]), "one").await;
    handle(&function, &windows(&[(1, 1, 29.0)]), "two").await;
    handle(&function, &windows(&[(2, 0, 31.0), (1, 0, 31.0)]), "three").await;
    assert!(titles(&function).is_empty(), "an older revision must not replace a newer evaluation");
    handle(&function, &windows(&[(1, 2, 31.0)]), "four").await;

    assert_eq!(titles(&function).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn unwritable_window_mark_is_reported_without_alert() {
    clock::begin();
    let faults = Faults::new(1, BTreeMap::from([(Fault::ServerError, 1.0)]));
    let store = SimAlertState::new(faults.clone());
    let function = function(SimClaims::new(Faults::none(1)), store);
    let payload = windows(&[(0, 0, 21.0), (1, 0, 31.0), (2, 0, 31.0), (3, 0, 31.0)]);

    let answer = handle(&function, &payload, "one").await;

    assert_eq!(answer, BatchResponse::failed([format!("{:056}", 1)]));
    assert!(titles(&function).is_empty());
    faults.pause();
    assert_eq!(handle(&function, &payload, "two").await, BatchResponse::default());
    assert_eq!(titles(&function).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn kill_between_mark_and_publish_loses_no_alert() {
    let payload = windows(&[(0, 0, 31.0), (1, 0, 31.0), (2, 0, 31.0)]);
    let mut kills = 0;
    for after in (0..200).step_by(3).map(Duration::from_millis) {
        let first = calm();
        if timeout(after, handle(&first, &payload, "one")).await.is_ok() {
            break;
        }
        kills += 1;
        let next = function(first.claims.target().clone(), first.state.store.clone());

        assert_eq!(handle(&next, &payload, "two").await, BatchResponse::default(), "{after:?}");

        let reported = titles(&first).len() + titles(&next).len();
        assert!((1..=2).contains(&reported), "killed after {after:?}: {reported}");
    }
    assert!(kills > 10, "{kills}");
}
