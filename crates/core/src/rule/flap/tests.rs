use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::AlertsConfig;
use crate::event::Event;
use crate::rule::Rules;

const RULE: &str = r#"
[[rules]]
id = "hot"
dataset = "telemetry"
severity = "warning"
when = "event.measures.temperature_c > 30.0"
title = "{entity} is hot"
key = "{entity}"
cooldown = "1m"
flap = { alerts = 3, within = "1h" }
"#;

fn rules(text: &str) -> Rules {
    Rules::compile(&AlertsConfig::from_toml(text).unwrap()).unwrap()
}

/// The alert of an event in this minute.
fn alert(rules: &Rules, minute: i64) -> Alert {
    let time = Timestamp::from_second(1_795_168_800 + 60 * minute).unwrap().to_string();
    let event = json!({"kind": "reading", "dataset": "telemetry", "event_id": "e", "entity": "d",
        "event_time": time, "received_at": time, "measures": {"temperature_c": 31},
        "attributes": {}, "tags": []})
    .to_string();
    rules.alerts(&Event::from_json(event.as_bytes()).unwrap()).0.remove(0)
}

/// What is told, alert by alert.
fn told(minutes: &[i64]) -> Vec<Alert> {
    let rules = rules(RULE);
    let rule = rules.iter().next().unwrap();
    let mut store = std::collections::BTreeMap::<String, Marks>::new();
    let tell = |minute: &i64| {
        let alert = alert(&rules, *minute);
        let stretch = rule.stretch(&alert).unwrap();
        let marks = store.entry(stretch.mark.item.clone()).or_default();
        marks.insert(stretch.mark.window, stretch.mark.value);
        rule.damped(&alert, &stretch, marks).unwrap_or(alert)
    };
    minutes.iter().map(tell).collect()
}

#[test]
fn what_comes_and_goes_all_the_time_is_told_so_often_and_then_that_it_flaps_once() {
    let told = told(&[0, 5, 10, 15, 20, 25, 60]);

    let ids: BTreeSet<_> = told.iter().map(|alert| alert.alert_id).collect();
    assert_eq!(ids.len(), 5, "three, that it flaps, and one of the next hour");
    assert_eq!(told[3].alert_id, told[5].alert_id);
    assert_eq!(told[3].form, crate::alert::Form::Flapping);
    let message: serde_json::Value = serde_json::from_str(&told[3].message).unwrap();
    insta::assert_json_snapshot!(message);
}

#[test]
fn events_of_one_alert_count_once() {
    assert!(told(&[0, 0, 0, 0, 0]).iter().all(|it| it.form == crate::alert::Form::Alert));
}

#[test]
fn a_rule_that_has_too_few_alerts_to_flap_is_refused_and_so_is_one_of_too_many() {
    let absent = RULE.replace("when = \"event.measures.temperature_c > 30.0\"", "absent = \"5m\"");
    let compiled = |text: &str, cooldown: &str, flap: &str| {
        let text = text.replace("cooldown = \"1m\"", &format!("cooldown = {cooldown:?}"));
        let text = text.replace("{ alerts = 3, within = \"1h\" }", flap);
        AlertsConfig::from_toml(&text)
            .and_then(|it| Rules::compile(&it))
            .map_err(|it| it.to_string())
    };
    for (text, cooldown, flap, expected) in [
        (RULE, "20m", "{ alerts = 3, within = \"1h\" }", "at most 3 alerts within 1h"),
        (RULE, "1h", "{ alerts = 1, within = \"30m\" }", "at most 1 alert within 30m"),
        (RULE, "0s", "{ alerts = 3, within = \"1h\" }", "without a cooldown a key has 1 alert"),
        (RULE, "1s", "{ alerts = 3, within = \"1h\" }", "could have 3600 alerts within that"),
        (&absent, "20m", "{ alerts = 3, within = \"1h\" }", "at most 3 alerts within 1h"),
    ] {
        let error = compiled(text, cooldown, flap).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    for (text, cooldown, flap) in [
        (RULE, "19m", "{ alerts = 3, within = \"1h\" }"),
        (&absent, "19m", "{ alerts = 3, within = \"1h\" }"),
        (&absent, "25m", "{ alerts = 3, within = \"1h\" }"),
        (&absent, "0s", "{ alerts = 50, within = \"1h\" }"),
    ] {
        assert!(compiled(text, cooldown, flap).is_ok(), "{cooldown} {flap}");
    }
}

#[test]
fn a_rule_that_flaps_at_once_or_never_is_refused() {
    for (flap, expected) in [("alerts = 0", "with 0 alerts"), ("alerts = 1", "`within` is no time")]
    {
        let text = RULE.replace("alerts = 3", flap).replace("\"1h\"", "\"0s\"");
        let error = AlertsConfig::from_toml(&text).and_then(|it| Rules::compile(&it)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn each_alert_is_told_or_that_it_flaps_in_whatever_order_they_come(
        minutes in prop::collection::vec(0i64..180, 1..60),
    ) {
        let told = told(&minutes);

        let flaps: BTreeSet<_> =
            told.iter().filter(|it| it.form == crate::alert::Form::Flapping).map(|it| it.alert_id).collect();
        prop_assert!(flaps.len() <= 3, "one an hour");
        // In the order of time no more than three are told of an hour.
        let mut sorted = minutes;
        sorted.sort_unstable();
        let told = self::told(&sorted);
        let alone: BTreeSet<_> =
            told.iter().filter(|it| it.form == crate::alert::Form::Alert).map(|it| it.alert_id).collect();
        prop_assert!(alone.len() <= 9);
    }
}
