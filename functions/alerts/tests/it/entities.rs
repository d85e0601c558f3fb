//! `max_entities`: entities that a rule begins to watch on one day, over batches and processes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::advance;
use tributary_aws::deadline::Deadline;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Fault, Faults, clock};

use crate::support::{Function, batch_of, function_of};

const ABSENT: &str = r#"
[[rules]]
id = "silent"
dataset = "telemetry"
severity = "warning"
absent = "4m"
title = "Nothing from {entity}"
key = "{entity}"
cooldown = "0s"
max_entities = 2
"#;

const SUSTAINED: &str = r#"
[[rules]]
id = "heat"
dataset = "telemetry"
window = "telemetry-1m"
severity = "warning"
when = "event.measures.temperature_c_mean > 30.0"
for = 2
title = "{entity} is hot"
key = "{entity}"
cooldown = "1h"
max_entities = 2
"#;

type Lines = Arc<Mutex<Vec<Value>>>;

fn function(rule: &str, store: &SimAlertState) -> (Function, Lines) {
    let lines = Lines::default();
    let mut function = function_of(rule, SimClaims::new(Faults::none(1)), store.clone());
    let written = lines.clone();
    function.metrics_log = MetricsLog::new("alerts", "Tributary/test".into())
        .with_writer(move |line| written.lock().unwrap().push(line.clone()));
    (function, lines)
}

fn store() -> SimAlertState {
    clock::begin();
    SimAlertState::new(Faults::none(1))
}

/// Returns a batch with a reading of each entity, received now.
fn readings(entities: &[&str]) -> String {
    let now = clock::now().to_string();
    batch_of(entities.iter().map(|entity| {
        json!({"kind": "reading", "dataset": "telemetry", "event_id": format!("{entity}-{now}"),
            "entity": entity, "event_time": now, "received_at": now, "measures": {},
            "attributes": {}, "tags": []})
    }))
}

/// Returns a batch with two hot windows of each entity.
fn windows(entities: &[&str]) -> String {
    let at = |minute: i64| Timestamp::from_second(1_795_000_020 + minute * 60).unwrap().to_string();
    let two = entities.iter().flat_map(|entity| [(entity, 0), (entity, 1)]);
    batch_of(two.map(|(entity, minute)| {
        json!({"kind": "window", "dataset": "telemetry", "event_id": format!("{entity}-{minute}"),
            "entity": entity, "event_time": at(minute), "received_at": "2026-11-20T10:00:01Z",
            "measures": {"temperature_c_mean": 31.0}, "attributes": {}, "tags": [],
            "window": {"spec": "telemetry-1m", "start": at(minute), "end": at(minute + 1),
                "revision": 0}})
    }))
}

async fn handle(function: &Function, payload: &str) -> BatchResponse {
    let deadline = Deadline::after(Duration::from_secs(58));
    function.handle(payload, "a", deadline).await.unwrap()
}

fn watched(store: &SimAlertState) -> Vec<String> {
    let mut entities: Vec<_> = store.watched().into_iter().map(|it| it.entity).collect();
    entities.sort_unstable();
    entities
}

/// Returns the sum of a field over the lines.
fn total(lines: &Lines, field: &str) -> u64 {
    lines.lock().unwrap().iter().filter_map(|line| line[field].as_u64()).sum()
}

async fn pass(time: SignedDuration) {
    advance(Duration::try_from(time).unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn watched_entities_are_limited_over_processes() {
    let store = store();
    let (one, _) = function(ABSENT, &store);
    let (other, lines) = function(ABSENT, &store);

    handle(&one, &readings(&["a", "b", "b"])).await;
    assert_eq!(handle(&other, &readings(&["c", "b", "d"])).await, BatchResponse::default());
    let calls = store.calls();
    handle(&other, &readings(&["c", "b", "d"])).await;

    assert_eq!(watched(&store), ["a", "b"]);
    assert_eq!((total(&lines, "unwatched"), total(&lines, "over_cardinality_limit")), (2, 2));
    assert_eq!(store.calls(), calls, "nothing is looked up again within the write interval");
}

/// Other entities take all places of the next day: those of yesterday are not without data.
#[tokio::test(start_paused = true)]
async fn watched_entity_stays_watched_the_next_day() {
    let store = store();
    let (function, lines) = function(ABSENT, &store);
    handle(&function, &readings(&["a", "b"])).await;
    pass(SignedDuration::from_hours(24)).await;

    handle(&function, &readings(&["c", "d", "e"])).await;
    handle(&function, &readings(&["a", "b"])).await;

    assert_eq!((watched(&store).join(" "), total(&lines, "unwatched")), ("a b c d".to_owned(), 1));
    let entities = store.watched();
    assert!(entities.iter().all(|it| clock::now().duration_since(it.last_seen).as_secs() < 60));
}

#[tokio::test(start_paused = true)]
async fn entities_with_for_are_limited() {
    let store = store();
    let (one, one_lines) = function(SUSTAINED, &store);
    let (other, lines) = function(SUSTAINED, &store);

    handle(&one, &windows(&["a"])).await;
    assert_eq!(handle(&other, &windows(&["c", "b", "a"])).await, BatchResponse::default());

    let subjects = |function: &Function| {
        let messages = function.topic.target().stored().into_iter();
        messages.map(|message| message.subject).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&one), ["a is hot"]);
    assert_eq!(subjects(&other), ["c is hot", "a is hot"], "each function has its own claims");
    assert_eq!((total(&one_lines, "unwatched"), total(&lines, "unwatched")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn unreachable_limit_is_reported_and_redelivered() {
    for (rule, payload) in [(ABSENT, readings(&["a", "b"])), (SUSTAINED, windows(&["a", "b"]))] {
        clock::begin();
        let faults = Faults::new(1, BTreeMap::from([(Fault::ServerError, 1.0)]));
        let store = SimAlertState::new(faults.clone());
        let (function, lines) = function(rule, &store);

        let response = handle(&function, &payload).await;
        assert_eq!(response, BatchResponse::failed([format!("{:056}", 0)]));
        faults.pause();

        assert_eq!(handle(&function, &payload).await, BatchResponse::default());
        assert_eq!(total(&lines, "unwatched"), 0);
        assert_eq!(store.cardinality().sizes().into_values().collect::<Vec<_>>(), [2]);
    }
}
