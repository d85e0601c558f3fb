use serde_json::json;

use super::*;
use crate::Rules;
use crate::{AlertsConfig, shipped};

const RULE: &str = r#"
[[rules]]
id = "silent"
dataset = "telemetry"
severity = "warning"
absent = "8m"
title = "Nothing from {entity}, which was {attributes.status}"
key = "{entity}"
cooldown = "0s"
"#;

fn rules(text: &str) -> Rules {
    Rules::compile(&AlertsConfig::from_toml(text).unwrap().rules, &shipped::schemas()).unwrap()
}

/// Returns a reading with this event time and arrival time.
fn reading(happened: &str, received: &str) -> String {
    json!({"kind": "reading", "dataset": "telemetry", "event_id": "e", "entity": "device-01",
        "event_time": happened, "received_at": received, "measures": {},
        "attributes": {"status": "OK"}, "tags": []})
    .to_string()
}

fn seen(rules: &Rules, happened: &str, received: &str) -> Option<WatchedEntity> {
    let json = reading(happened, received);
    rules.iter().next().unwrap().watched_entity(&Event::from_json(json.as_bytes()).unwrap())
}

#[test]
fn reading_updates_last_seen_to_arrival_time() {
    let rules = rules(RULE);
    let watched = seen(&rules, "2026-11-20T09:50:00Z", "2026-11-20T10:00:00Z").unwrap();

    assert_eq!((&watched.entity[..], &watched.key[..]), ("device-01", "device-01"));
    assert_eq!(watched.title, "Nothing from device-01, which was OK");
    assert_eq!(watched.last_seen.to_string(), "2026-11-20T10:00:00Z");
    let rule = rules.iter().next().unwrap();
    assert_eq!(
        rule.due(watched.last_seen).to_string(),
        "2026-11-20T10:10:00Z",
        "8 min and a quarter"
    );
    assert!(watched.bucket() < BUCKETS);
}

#[test]
fn old_reading_is_ignored_but_future_one_counts() {
    let rules = rules(RULE);

    assert_eq!(seen(&rules, "2025-11-20T10:00:00Z", "2026-11-20T10:00:00Z"), None);
    assert_eq!(seen(&rules, "2026-11-20T08:59:59Z", "2026-11-20T10:00:00Z"), None);
    assert!(seen(&rules, "2026-11-20T09:00:00Z", "2026-11-20T10:00:00Z").is_some());
    assert!(seen(&rules, "2027-11-20T10:00:00Z", "2026-11-20T10:00:00Z").is_some());
}

#[test]
fn reading_may_be_as_old_as_absent() {
    let rules = rules(&RULE.replace("8m", "26h"));

    assert!(seen(&rules, "2026-11-19T10:00:00Z", "2026-11-20T10:00:00Z").is_some());
    assert_eq!(rules.iter().next().unwrap().write_interval(), SignedDuration::from_mins(5));
}

#[test]
fn no_data_and_resolved_alerts_have_own_ids() {
    let (rules, cooled) = (rules(RULE), rules(&RULE.replace("\"0s\"", "\"1h\"")));
    let at = |received| seen(&rules, received, received).unwrap();
    let first = at("2026-11-20T10:00:00Z");
    let second = at("2026-11-20T10:30:00Z");
    let id = |rules: &Rules, watched| rules.iter().next().unwrap().no_data_alert(watched).alert_id;

    assert_eq!(id(&rules, &first), id(&rules, &first));
    assert_ne!(id(&rules, &first), id(&rules, &second));
    assert_ne!(id(&cooled, &first), id(&cooled, &second), "a cooldown does not merge them");
    let end = rules.iter().next().unwrap().resolved_alert(&second, first.last_seen);
    assert_ne!(end.alert_id, id(&rules, &first));
    let message: serde_json::Value = serde_json::from_str(&end.message).unwrap();
    insta::assert_json_snapshot!(message);
}

#[test]
fn changed_absent_uses_new_items() {
    assert_ne!(
        rules(RULE).iter().next().unwrap().item_of("a"),
        rules(&RULE.replace("8m", "9m")).iter().next().unwrap().item_of("a")
    );
}

#[test]
fn first_no_data_alert_covers_its_cooldown() {
    let rules = rules(&RULE.replace("\"0s\"", "\"1h\""));
    let rule = rules.iter().next().unwrap();
    let mut marks = Marks::new();
    let mut reported = |received: &str, due: Option<&str>| {
        let mut watched = seen(&rules, received, received).unwrap();
        watched.due = due.map(|due| due.parse().unwrap()).or(watched.due);
        let no_data = rule.no_data_alert(&watched);
        let cooldown_period = rule.cooldown_period(&watched).unwrap();
        marks.insert(cooldown_period.mark.window, cooldown_period.mark.value);
        (
            rule.alert_in_cooldown(&watched.key, &cooldown_period, &marks),
            cooldown_period,
            no_data.alert_id,
        )
    };

    let (first, period, id) = reported("2026-11-20T10:00:00Z", None);
    assert_eq!((first, period.end.to_string()), (None, "2026-11-20T11:00:00Z".to_owned()));
    let (second, ..) = reported("2026-11-20T10:20:00Z", None);
    assert_eq!(second, Some(id));
    let (_, later, _) = reported("2026-11-20T10:20:00Z", Some("2026-11-20T11:00:00Z"));
    assert_ne!(later.mark.item, period.mark.item, "the period contains the due time");
    assert_eq!(reported("2026-11-20T10:00:00Z", None).0, None, "the first is sent again");
}

#[test]
fn long_names_are_shortened_and_stay_distinct() {
    let rules = rules(RULE);
    let rule = rules.iter().next().unwrap();
    let seen = |last: &str| {
        let long = "é".repeat(150_000) + last;
        let json =
            reading("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z").replace("device-01", &long);
        rule.watched_entity(&Event::from_json(json.as_bytes()).unwrap()).unwrap()
    };
    let (one, other) = (seen("1"), seen("2"));

    assert_eq!((one.entity.chars().count(), one.key.chars().count()), (256, 256));
    assert_eq!(one.title.chars().count(), 1_024);
    assert_ne!((&one.entity, &one.key, &one.item), (&other.entity, &other.key, &other.item));
    assert_eq!(rule.item_of(&one.entity), one.item, "a stored name yields the same item");
    assert!(rule.no_data_alert(&one).message.len() < 16 * 1024);
}

#[test]
fn window_age_counts_from_its_end() {
    let text = RULE.replace("absent", "window = \"telemetry-1d\"\nabsent").replace("8m", "26h");
    let rules = rules(&text);
    let window = |received: &str| {
        let json = json!({"kind": "window", "dataset": "telemetry", "event_id": "e",
            "entity": "device-01", "event_time": "2026-11-19T10:00:00Z", "received_at": received,
            "measures": {}, "attributes": {}, "tags": [], "window": {"spec": "telemetry-1d",
            "start": "2026-11-19T10:00:00Z", "end": "2026-11-20T10:00:00Z", "revision": 0}})
        .to_string();
        rules.iter().next().unwrap().watched_entity(&Event::from_json(json.as_bytes()).unwrap())
    };

    assert!(window("2026-11-20T10:01:00Z").is_some());
    assert!(window("2026-11-21T11:00:00Z").is_some(), "25 hours after its end");
    assert!(window("2026-11-21T12:00:01Z").is_none());
}
