use jiff::SignedDuration;
use serde_json::json;

use super::*;

fn rules(text: &str) -> Result<Rules, ConfigError> {
    Rules::compile(&AlertsConfig::from_toml(text)?.rules, &shipped::schemas())
}

fn rule(changes: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("id", "hot"),
        ("dataset", "accidents"),
        ("severity", "warning"),
        ("when", "event.measures.temperature_c > 30"),
        ("title", "{measures.temperature_c} °C in {attributes.city} ({entity})"),
        ("key", "{entity}"),
        ("cooldown", "1h"),
    ];
    for change in changes {
        fields.retain(|(name, _)| *name != change.0);
        fields.push(*change);
    }
    let lines = fields.iter().map(|(name, value)| format!("{name} = {}\n", json!(value)));
    format!("[[rules]]\n{}", lines.collect::<String>())
}

fn event(time: &str, measures: &serde_json::Value) -> String {
    json!({"kind": "reading", "dataset": "accidents", "event_id": "e1", "entity": "OH/Montgomery",
        "event_time": time, "received_at": "2026-11-20T10:00:00Z", "measures": measures,
        "attributes": {"city": "Dayton"}, "tags": ["night"]})
    .to_string()
}

fn alerts(rules: &Rules, event: &str) -> Vec<Alert> {
    let (alerts, errors) = rules.alerts(&Event::from_json(event.as_bytes()).unwrap());
    assert_eq!(errors, []);
    alerts
}

#[test]
fn shipped_accident_rule_fires_at_severity_4() {
    let rules = rules(tributary_config::ALERTS).unwrap();

    for (severity, count) in [(3.0, 0), (4.0, 1)] {
        let event = event("2026-11-20T10:00:00Z", &json!({"severity": severity}));
        assert_eq!(alerts(&rules, &event).len(), count, "{severity}");
    }
}

#[test]
fn alert_message_has_title_and_event() {
    let rules = rules(&rule(&[])).unwrap();
    let alerts = alerts(&rules, &event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31.5})));

    assert_eq!(alerts[0].title, "31.5 °C in Dayton (OH/Montgomery)");
    let message: serde_json::Value = serde_json::from_str(&alerts[0].message).unwrap();
    insta::assert_json_snapshot!(message);
}

#[test]
fn alert_id_changes_with_cooldown_period() {
    let rules = rules(&rule(&[])).unwrap();
    let id = |time| alerts(&rules, &event(time, &json!({"temperature_c": 31}))).remove(0).alert_id;

    assert_eq!(id("2026-11-20T09:00:00Z"), id("2026-11-20T09:59:59Z"));
    assert_ne!(id("2026-11-20T09:00:00Z"), id("2026-11-20T10:00:00Z"));
}

/// A gauge sends 30 days of readings of the future, an hour apart.
#[test]
fn clock_ahead_uses_no_future_alert_period() {
    let rules = rules(&rule(&[])).unwrap();
    let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    let id = |time: Timestamp| {
        let event = event(&time.to_string(), &json!({"temperature_c": 31}));
        alerts(&rules, &event).remove(0).alert_id.to_string()
    };

    let ids: BTreeSet<_> =
        (0..720).map(|hour| id(now + SignedDuration::from_hours(hour))).collect();

    assert_eq!(ids, BTreeSet::from([id(now)]));
    // Within the allowance, event time decides.
    assert_ne!(id(now), id(now - SignedDuration::from_mins(1)));
}

#[test]
fn event_older_than_within_does_not_fire() {
    let limited = rule(&[]) + "within = \"1h\"\n";
    let limited = rules(&limited).unwrap();
    let unlimited = rules(&rule(&[])).unwrap();

    for (time, count) in [
        ("2026-11-20T09:00:00Z", 1),
        ("2026-11-20T08:59:59Z", 0),
        ("2020-01-01T00:00:00Z", 0),
        ("2026-11-20T10:30:00Z", 1),
    ] {
        let event = event(time, &json!({"temperature_c": 31}));
        assert_eq!(alerts(&limited, &event).len(), count, "{time}");
        assert_eq!(alerts(&unlimited, &event).len(), 1, "{time}");
    }
}

#[test]
fn within_of_no_age_is_refused() {
    for (changes, message) in [
        (&[("within", "0s")][..], "`within`: is no time"),
        (&[("within", "1500ms")], "`within`: is no whole number of seconds"),
    ] {
        let error = rules(&rule(changes)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let absent = rule(&[("within", "1h")])
        .replace("when = \"event.measures.temperature_c > 30\"", "absent = \"5m\"");
    let error = rules(&absent).unwrap_err().to_string();
    assert!(error.contains("`within`: is the age"), "{error}");
}

#[test]
fn missing_field_makes_rule_false() {
    let rules = rules(&rule(&[])).unwrap();

    assert!(alerts(&rules, &event("2026-11-20T10:00:00Z", &json!({}))).is_empty());
}

#[test]
fn failing_rule_does_not_stop_others() {
    let text = rule(&[("id", "broken"), ("when", "event.entity > 3")]) + &rule(&[]);
    let rules = rules(&text).unwrap();
    let event = event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31}));

    let (alerts, errors) = rules.alerts(&Event::from_json(event.as_bytes()).unwrap());

    assert_eq!(alerts.iter().map(|alert| &alert.rule[..]).collect::<Vec<_>>(), ["hot"]);
    assert_eq!(errors.iter().map(|error| &error.rule[..]).collect::<Vec<_>>(), ["broken"]);
}

#[test]
fn rule_of_other_dataset_does_not_apply() {
    let rules = rules(&rule(&[])).unwrap();
    let event = event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31}))
        .replace("\"accidents\"", "\"telemetry\"");

    assert!(alerts(&rules, &event).is_empty());
}

const MAX_BYTES: usize = 255 * 1024;

#[test]
fn oversized_event_is_sent_as_reference() {
    let rules = rules(&rule(&[("title", "{entity}")])).unwrap();
    let rules = rules.with_max_message_bytes(MAX_BYTES);
    let event = event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31}))
        .replace("Dayton", &"x".repeat(MAX_BYTES));

    let message = &alerts(&rules, &event)[0].message;

    assert!(message.len() < 1024, "{}", message.len());
    let message: serde_json::Value = serde_json::from_str(message).unwrap();
    assert_eq!(message["event"]["event_id"], "e1");
}

#[test]
fn oversized_entity_is_cut() {
    let rules = rules(&rule(&[("title", "{entity} {attributes.city}")])).unwrap();
    let rules = rules.with_max_message_bytes(MAX_BYTES);
    let event = event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31}))
        .replace("OH/", &"\u{fc}".repeat(MAX_BYTES));

    let alert = alerts(&rules, &event).remove(0);

    let message: serde_json::Value = serde_json::from_str(&alert.message).unwrap();
    assert_eq!(message["entity"], "\u{fc}".repeat(1024));
    assert_eq!(message["title"], message["entity"]);
    assert_eq!(message["event"]["event_id"], "e1");
}

#[test]
fn message_without_a_limit_holds_its_event() {
    let rules = rules(&rule(&[("title", "{entity}")])).unwrap();
    let event = event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31}))
        .replace("Dayton", &"x".repeat(MAX_BYTES));

    let message = &alerts(&rules, &event)[0].message;

    assert!(message.len() > MAX_BYTES, "{}", message.len());
}

#[test]
fn invalid_rule_is_reported_by_name() {
    for (changes, expected) in [
        (vec![("when", "event.measures.")], "rule hot: does not parse"),
        (vec![("when", "row.severity > 3")], "rule hot: names row, and only `event` is there"),
        (vec![("title", "{entity")], "rule hot: \"{entity\" lacks a closing brace"),
        (vec![("title", "{city}")], "rule hot: {city} is none of {dataset}"),
        (vec![("dataset", "weather")], "rule hot: dataset \"weather\" is none of accidents"),
        (vec![("cooldown", "often")], "\"often\" is no length of time"),
        (vec![("severity", "awful")], "alerts.toml: TOML parse error at line"),
        (vec![("colour", "red")], "unknown field `colour`"),
    ] {
        let error = rules(&rule(&changes)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = rules(&(rule(&[]) + &rule(&[]))).unwrap_err().to_string();
    assert_eq!(error, "rule hot: duplicate id");
}

const SUSTAINED: &str = r#"
[[rules]]
id = "heat"
dataset = "telemetry"
window = "telemetry-1m"
severity = "warning"
when = "event.measures.temperature_c_mean > 30.0"
for = 3
title = "{entity} has been hot since {window.start}, until {window.end}"
key = "{entity}"
cooldown = "1h"
digest = 10
"#;

const ABSENT: &str = r#"
[[rules]]
id = "silent"
dataset = "telemetry"
severity = "warning"
absent = "5m"
title = "{entity} is silent"
key = "{entity}"
cooldown = "1h"
"#;

fn window(spec: &str) -> String {
    json!({"kind": "window", "dataset": "telemetry", "event_id": "w1", "entity": "device-01",
        "event_time": "2026-11-20T10:00:00Z", "received_at": "2026-11-20T10:03:00Z",
        "measures": {"count": 4, "temperature_c_mean": 31.5}, "attributes": {}, "tags": [],
        "window": {"spec": spec, "start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:01:00Z",
        "revision": 0}})
    .to_string()
}

fn matches(rules: &Rules, event: &str) -> Vec<String> {
    let (matches, errors) = rules.matches(&Event::from_json(event.as_bytes()).unwrap());
    assert_eq!(errors, []);
    matches.iter().map(|rule| rule.spec.id.clone()).collect()
}

#[test]
fn rules_apply_to_readings_or_their_window_spec() {
    let of_windows = rules(SUSTAINED).unwrap();
    assert_eq!(matches(&of_windows, &window("telemetry-1m")), ["heat"]);
    assert_eq!(matches(&of_windows, &window("telemetry-5m")), Vec::<String>::new());
    let reading = window("telemetry-1m").replace("\"window\",", "\"reading\",");
    assert_eq!(matches(&of_windows, &reading), Vec::<String>::new());

    let of_readings = rules(&rule(&[("when", "true")])).unwrap();
    let reading = event("2026-11-20T10:00:00Z", &json!({}));
    assert_eq!(matches(&of_readings, &reading), ["hot"]);
    for kind in ["window", "heartbeat"] {
        let other = reading.replace("\"reading\"", &format!("\"{kind}\""));
        assert_eq!(matches(&of_readings, &other), Vec::<String>::new(), "{kind}");
    }
}

#[test]
fn sustained_and_absent_rules_ignore_single_event() {
    let rules = rules(&format!("{SUSTAINED}{ABSENT}")).unwrap();

    assert!(alerts(&rules, &window("telemetry-1m")).is_empty());
    let [heat, silent] = &rules.iter().collect::<Vec<_>>()[..] else { panic!("two rules") };
    assert_eq!(
        (heat.spec.window.as_deref(), heat.spec.sustained, heat.spec.absent.map(|length| length.0)),
        (Some("telemetry-1m"), Some(3), None)
    );
    assert_eq!((heat.digest(), heat.spec.cooldown.0), (10, SignedDuration::from_hours(1)));
    assert_eq!((silent.spec.window.as_deref(), silent.spec.sustained), (None, None));
    assert_eq!(
        (silent.spec.absent.map(|length| length.0), silent.digest()),
        (Some(SignedDuration::from_mins(5)), 10)
    );
}

#[test]
fn title_can_name_its_window() {
    let rules = rules(SUSTAINED).unwrap();
    let window = window("telemetry-1m");

    let alert = rules.iter().next().unwrap().alert(&Event::from_json(window.as_bytes()).unwrap());

    let times = "since 2026-11-20T10:00:00Z, until 2026-11-20T10:01:00Z";
    assert_eq!(alert.title, format!("device-01 has been hot {times}"));
}

#[test]
fn contradictory_fields_are_rejected() {
    for (text, from, to, expected) in [
        (ABSENT, "absent = ", "when = \"true\"\nabsent = ", "`absent`: excludes `when`"),
        (ABSENT, "absent = \"5m\"", "", "rule silent: has neither `when` nor `absent`"),
        (ABSENT, "\"5m\"", "\"0s\"", "`absent`: is no time"),
        (ABSENT, "absent = ", "for = 3\nabsent = ", "`for`: counts windows in which `when` holds"),
        (SUSTAINED, "window = \"telemetry-1m\"", "", "`for`: counts windows, and no `window`"),
        (SUSTAINED, "for = 3", "for = 1", "`for`: 1 is not 2 to 1000 windows in a row"),
        (SUSTAINED, "for = 3", "for = 1001", "`for`: 1001 is not 2 to 1000 windows in a row"),
        (SUSTAINED, "for = 3", "for = -1", "alerts.toml: TOML parse error at line"),
        (ABSENT, "absent = ", "max_entities = 0\nabsent = ", "`max_entities`: 0 is not 1 to 20000"),
        (SUSTAINED, "for = 3", "max_entities = 9", "`max_entities`: limits entities of rules with"),
        (SUSTAINED, "digest = 10", "digest = 0", "`digest`: 0 messages would send nothing"),
        (ABSENT, "absent = \"5m\"", "absent = \"1500ms\"", "`absent`: is no whole number of"),
        (ABSENT, "cooldown = \"1h", "cooldown = \"500ms", "`cooldown`: is no whole number of"),
        (ABSENT, "id = \"silent\"", "id = \"Silent\"", "rule Silent: takes a to z, digits"),
        (ABSENT, "id = \"silent\"", "id = \"../etc\"", "rule ../etc: takes a to z, digits"),
        (ABSENT, "id = \"silent\"", "id = \"\"", "takes a to z, digits"),
    ] {
        let error = rules(&text.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn key_with_missing_field_includes_entity() {
    let rules = rules(&rule(&[("key", "{attributes.station}")])).unwrap();
    let of = |entity: &str| {
        let json = event("2026-11-20T10:00:00Z", &json!({"temperature_c": 31}));
        alerts(&rules, &json.replace("OH/Montgomery", entity)).remove(0)
    };

    assert_eq!(of("OH/Lucas").key, "? OH/Lucas");
    assert_eq!(of("OH/Lucas").alert_id, of("OH/Lucas").alert_id);
    assert_ne!(of("OH/Lucas").alert_id, of("OH/Summit").alert_id);
}

#[test]
fn title_rounds_numbers_and_key_does_not() {
    let rules = rules(&rule(&[("key", "{measures.temperature_c}")])).unwrap();
    for (measured, shown) in [
        (31.099_999_999_999_998, "31.1"),
        (100.0, "100"),
        (30.123_456, "30.123"),
        (1e21, "1000000000000000000000"),
    ] {
        let json = event("2026-11-20T10:00:00Z", &json!({"temperature_c": measured}));
        let alert = alerts(&rules, &json).remove(0);
        assert_eq!(alert.title, format!("{shown} °C in Dayton (OH/Montgomery)"));
        assert_eq!(alert.key, measured.to_string());
    }
}

#[test]
fn shipped_conditions_are_predicates() {
    let rules = rules(tributary_config::ALERTS).unwrap();
    let conditions = rules.iter().filter_map(|rule| Some((rule, rule.condition()?)));
    let (predicates, cel): (Vec<_>, Vec<_>) =
        conditions.partition(|(_, condition)| condition.is_predicate());

    assert_eq!(rules.iter().count(), 11);
    assert_eq!(
        cel.iter().map(|(rule, _)| &rule.spec.id).collect::<Vec<_>>(),
        Vec::<&String>::new()
    );
    // `silent-sensor` has `absent` and no condition.
    assert_eq!(predicates.len(), 10);
}
