//! Rules with `absent`: no-data alerts, and the messages that resolve them.

use std::collections::BTreeMap;
use std::time::Duration;

use fn_alerts::handler::Alerts;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::{advance, timeout};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::payload::BatchResponse;
use tributary_aws::sns;
use tributary_config::{AlertsConfig, Configuration};
use tributary_testkit::service::{SimAlertState, SimClaims};
use tributary_testkit::{Fault, Faults, clock};

use crate::support::{Function, batch_of, function_of};

const RULE: &str = r#"
[[rules]]
id = "silent"
dataset = "telemetry"
severity = "warning"
absent = "4m"
title = "Nothing from {entity}"
key = "{entity}"
cooldown = "0s"
digest = 3
"#;

const KEY: &str = "key = \"{entity}\"";

const SCHEDULED: &str = r#"{"source": "aws.events", "detail-type": "Scheduled Event"}"#;

fn function(claims: SimClaims, store: SimAlertState) -> Function {
    function_of(RULE, claims, store)
}

fn calm() -> Function {
    clock::begin();
    function(SimClaims::new(Faults::none(1)), SimAlertState::new(Faults::none(1)))
}

/// Returns the function of [`calm`] with another `key` and `cooldown` line in its rule.
fn calm_with(key: &str, cooldown: &str) -> Function {
    let rule = RULE.replace("cooldown = \"0s\"", cooldown);
    let rule = rule.replace(KEY, key);
    Alerts {
        rules: Configuration::shipped()
            .unwrap()
            .rules_of(&AlertsConfig::from_toml(&rule).unwrap())
            .unwrap()
            .with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
        ..calm()
    }
}

/// Returns a second execution environment of the same function, over the same table and store.
fn another(one: &Function) -> Function {
    function(one.claims.target().clone(), one.state.store.clone())
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

/// Returns a batch that arrives at `arrived`, with one reading of each entity and of this age.
fn readings(entities: &[String], arrived: Timestamp, age: SignedDuration) -> String {
    received(entities, arrived, arrived, age)
}

/// Returns such a batch with readings that were received at `received`, before the batch arrived.
fn received(
    entities: &[String],
    received: Timestamp,
    arrived: Timestamp,
    age: SignedDuration,
) -> String {
    let payload = batch_of(entities.iter().map(|entity| {
        json!({"kind": "reading", "dataset": "telemetry",
            "event_id": format!("{entity}-{received}"), "entity": entity,
            "event_time": (received - age).to_string(), "received_at": received.to_string(),
            "measures": {}, "attributes": {}, "tags": []})
    }));
    let mut payload: Value = serde_json::from_str(&payload).unwrap();
    for record in payload["Records"].as_array_mut().unwrap() {
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
        let seconds = arrived.as_millisecond() as f64 / 1_000.0;
        record["kinesis"]["approximateArrivalTimestamp"] = json!(seconds);
    }
    payload.to_string()
}

fn devices(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("device-{number:04}")).collect()
}

async fn try_handle(
    function: &Function,
    payload: &str,
    owner: &str,
) -> Result<BatchResponse, InvocationError> {
    function.handle(payload, owner, Deadline::after(Duration::from_secs(58))).await
}

/// Handles a batch with a reading of each entity that arrives now.
async fn come(function: &Function, entities: &[String], owner: &str) {
    let payload = readings(entities, clock::now(), SignedDuration::ZERO);
    assert_eq!(try_handle(function, &payload, owner).await.unwrap(), BatchResponse::default());
}

async fn round(function: &Function, owner: &str) {
    try_handle(function, SCHEDULED, owner).await.unwrap();
}

async fn pass(time: SignedDuration) {
    advance(Duration::try_from(time).unwrap()).await;
}

fn subjects(function: &Function) -> Vec<String> {
    function.topic.target().stored().into_iter().map(|message| message.subject).collect()
}

#[tokio::test(start_paused = true)]
async fn no_data_alert_fires_and_resolves_once() {
    let function = calm();
    come(&function, &devices(1), "a").await;
    pass(minutes(4)).await;
    round(&function, "b").await;
    assert!(subjects(&function).is_empty(), "a last-seen time may be stored up to a minute late");
    pass(minutes(2)).await;

    round(&function, "c").await;
    round(&function, "d").await;
    assert_eq!(subjects(&function), ["Nothing from device-0000"]);
    pass(minutes(60)).await;
    round(&another(&function), "e").await;
    come(&function, &devices(1), "f").await;
    come(&function, &devices(1), "g").await;

    assert_eq!(subjects(&function), ["Nothing from device-0000", "Over: Nothing from device-0000"]);
    let messages = function.topic.target().stored();
    let forms: Vec<_> = messages.iter().map(|it| &it.attributes.last().unwrap().1[..]).collect();
    assert_eq!(forms, ["alert", "end"]);
    let end: Value = serde_json::from_str(&messages[1].message).unwrap();
    assert_eq!(end["silent_since"], "2026-11-20T10:00:00Z");
    pass(minutes(6)).await;
    round(&function, "h").await;
    assert_eq!(subjects(&function).len(), 3, "the second no-data period sends another alert");
}

#[tokio::test(start_paused = true)]
async fn frequent_readings_cause_few_writes_and_no_alert() {
    let function = calm();
    for second in 0..60 {
        come(&function, &devices(1), &format!("a{second}")).await;
        pass(SignedDuration::from_secs(10)).await;
        round(&function, &format!("b{second}")).await;
    }

    assert!(subjects(&function).is_empty());
    let written = function.state.store.watched()[0].last_seen.duration_since(clock::now()).abs();
    assert!(written <= minutes(2), "stored last-seen time is {written} old");
    let rounds = 60 * (1 + 8);
    let calls = function.state.store.calls() - rounds;
    assert!((9..=12).contains(&calls), "{calls} writes in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn replay_of_old_readings_raises_no_alert() {
    let function = calm();
    let payload = readings(&devices(500), clock::now(), SignedDuration::from_hours(365 * 24));

    try_handle(&function, &payload, "a").await.unwrap();
    pass(minutes(10)).await;
    round(&function, "b").await;

    assert_eq!(function.state.store.watched().len(), 0);
    assert!(subjects(&function).is_empty());
}

#[tokio::test(start_paused = true)]
async fn thousand_no_data_alerts_make_three_messages() {
    let function = calm();
    come(&function, &devices(1_000), "a").await;
    pass(minutes(6)).await;

    round(&function, "b").await;
    round(&function, "c").await;

    assert_eq!(subjects(&function).len(), 3);
    assert!(
        subjects(&function)[2].starts_with("998 alerts of silent"),
        "{:?}",
        subjects(&function)
    );
    assert!(function.state.store.watched().iter().all(|it| it.due.is_none()));
    pass(minutes(1)).await;
    come(&function, &devices(1_000), "d").await;
    assert!(subjects(&function)[5].starts_with("998 ends of silent"), "{:?}", subjects(&function));
}

#[tokio::test(start_paused = true)]
async fn lagging_function_suppresses_no_data_alerts() {
    let function = calm();
    come(&function, &devices(2), "a").await;
    let arrived = clock::now() + SignedDuration::from_secs(1);
    pass(minutes(10)).await;
    // The function reads a record that arrived nine minutes ago; later ones are still unread.
    let late = readings(&devices(1), arrived, SignedDuration::ZERO);
    try_handle(&function, &late, "b").await.unwrap();

    round(&function, "c").await;
    assert!(subjects(&function).is_empty());
    pass(minutes(4)).await;
    round(&function, "d").await;

    assert_eq!(subjects(&function).len(), 2, "nothing more was behind");
}

#[tokio::test(start_paused = true)]
async fn redelivered_old_reading_does_not_resolve_alert() {
    let function = calm();
    let payload = readings(&devices(1), clock::now(), SignedDuration::ZERO);
    try_handle(&function, &payload, "a").await.unwrap();
    pass(minutes(6)).await;
    round(&function, "b").await;

    try_handle(&another(&function), &payload, "c").await.unwrap();
    pass(minutes(6)).await;
    round(&function, "d").await;

    assert_eq!(subjects(&function).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn kill_during_scheduled_run_loses_no_alert() {
    let mut kills = 0;
    for after in (0..400).step_by(7).map(Duration::from_millis) {
        let first = calm();
        come(&first, &devices(2), "a").await;
        pass(minutes(6)).await;
        if timeout(after, round(&first, "b")).await.is_ok() {
            break;
        }
        kills += 1;
        // The lease of the killed function expires.
        pass(minutes(1)).await;
        let next = another(&first);
        round(&next, "c").await;

        let entities = subjects(&first).len() + subjects(&next).len();
        assert!((2..=4).contains(&entities), "killed after {after:?}: {entities}");
        assert!(next.state.store.watched().iter().all(|it| it.due.is_none()), "{after:?}");
    }
    assert!(kills > 8, "{kills}");
}

#[tokio::test(start_paused = true)]
async fn unwritable_last_seen_is_reported() {
    clock::begin();
    let faults = Faults::new(1, BTreeMap::from([(Fault::ServerError, 1.0)]));
    let function = function(SimClaims::new(Faults::none(1)), SimAlertState::new(faults.clone()));
    let payload = readings(&devices(3), clock::now(), SignedDuration::ZERO);

    let answer = try_handle(&function, &payload, "a").await.unwrap();

    assert_eq!(answer, BatchResponse::failed([format!("{:056}", 0)]));
    let error = try_handle(&function, SCHEDULED, "b").await.unwrap_err();
    assert_eq!(error.kind(), "Plumbing");
    faults.pause();
    assert_eq!(try_handle(&function, &payload, "c").await.unwrap(), BatchResponse::default());
}

/// Makes one scheduled run per minute.
async fn rounds(function: &Function, minutes: u32, name: &str) {
    for number in 0..minutes {
        pass(SignedDuration::from_mins(1)).await;
        round(function, &format!("{name}{number}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn second_no_data_alert_waits_for_cooldown() {
    let function = calm_with(KEY, "cooldown = \"1h\"");
    come(&function, &devices(1), "a").await;
    rounds(&function, 10, "b").await;
    come(&function, &devices(1), "c").await;

    rounds(&function, 49, "d").await;
    assert_eq!(subjects(&function), ["Nothing from device-0000", "Over: Nothing from device-0000"]);
    rounds(&function, 2, "e").await;
    assert_eq!(subjects(&function).len(), 3, "the cooldown is over and no reading has arrived");
    rounds(&function, 120, "f").await;
    come(&function, &devices(1), "g").await;

    assert_eq!(
        subjects(&function)[2..],
        ["Nothing from device-0000", "Over: Nothing from device-0000"]
    );
    assert!(function.state.store.watched()[0].silent_since.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_data_resolved_within_cooldown_sends_nothing() {
    let function = calm_with(KEY, "cooldown = \"1h\"");
    come(&function, &devices(1), "a").await;
    rounds(&function, 10, "b").await;
    come(&function, &devices(1), "c").await;
    rounds(&function, 40, "d").await;

    for number in 0..20 {
        come(&function, &devices(1), &format!("e{number}")).await;
        rounds(&function, 1, &format!("f{number}")).await;
    }

    assert_eq!(subjects(&function).len(), 2, "{:?}", subjects(&function));
}

#[tokio::test(start_paused = true)]
async fn no_data_of_shared_key_sends_one_alert() {
    let function = calm_with("key = \"{dataset}\"", "cooldown = \"1h\"");
    come(&function, &devices(500), "a").await;
    pass(minutes(2)).await;
    come(&function, &["late".to_owned()], "b").await;

    rounds(&function, 30, "c").await;
    assert_eq!(subjects(&function).len(), 1);
    rounds(&function, 35, "d").await;

    assert_eq!(subjects(&function).len(), 2);
    assert!(function.state.store.watched().iter().all(|it| it.due.is_none()));
}

#[tokio::test(start_paused = true)]
async fn long_entity_name_is_watched_like_any_other() {
    let function = calm();
    let long = "é".repeat(150_000);

    come(&function, &[long.clone(), devices(1).remove(0)], "a").await;
    rounds(&function, 6, "b").await;
    come(&function, &[long], "c").await;

    assert_eq!(subjects(&function).len(), 3, "two no-data alerts and one resolved");
}

#[tokio::test(start_paused = true)]
async fn catching_up_suppresses_no_data_alerts() {
    let function = calm();
    come(&function, &devices(2), "a").await;
    let long_ago = clock::now() + SignedDuration::from_secs(1);
    pass(minutes(30)).await;
    // Readings of half an hour ago arrive in the stream now, because `transform` is catching up.
    let late = received(&devices(1), long_ago, clock::now(), SignedDuration::ZERO);
    try_handle(&function, &late, "b").await.unwrap();

    round(&function, "c").await;
    assert!(subjects(&function).is_empty());
    pass(minutes(4)).await;
    round(&function, "d").await;

    assert_eq!(subjects(&function).len(), 2, "nothing more was behind");
}
