use proptest::prelude::*;
use serde_json::json;

use crate::expression::{Expression, Scope};
use tributary_model::event::Event;

const MEASURES: [&str; 3] = ["severity", "temperature_c", "depth_m"];
const TEXTS: [&str; 6] = ["OH", "OH/Lucas", "night", "day", "1h", "2026-11-20T10:00:00Z"];

/// Generates events that have each field or lack it.
fn event() -> impl Strategy<Value = String> {
    let number = prop::sample::select(vec![-3.5, 0.0, 1.0, 2.0, 4.0, 1e30]);
    let text = || prop::sample::select(TEXTS.to_vec());
    let measures = prop::collection::vec(prop::option::of(number), MEASURES.len());
    let attributes = (prop::option::of(text()), prop::option::of(text()));
    let tags = prop::sample::subsequence(vec!["night", "day", "OH"], 0..=3);
    let entity = (text(), any::<bool>(), prop::option::of(0..3_u32));
    (measures, attributes, tags, entity).prop_map(
        |(measures, (city, state), tags, (entity, is_placed, revision))| {
            let mut event = json!({"kind": "reading", "dataset": "accidents", "event_id": "e1",
                "entity": entity, "event_time": "2026-11-20T10:00:00Z", "tags": tags,
                "received_at": "2026-11-20T10:00:01.5Z", "measures": {}, "attributes": {}});
            for (name, value) in MEASURES.iter().zip(measures) {
                if let Some(value) = value {
                    event["measures"][name] = value.into();
                }
            }
            for (name, value) in [("city", city), ("state", state)] {
                if let Some(value) = value {
                    event["attributes"][name] = value.into();
                }
            }
            if is_placed {
                event["location"] = json!({"lat": 4.0, "lon": -83.5, "cell": "OH"});
            }
            if let Some(revision) = revision {
                event["window"] = json!({"spec": "1h", "start": "2026-11-20T10:00:00Z",
                    "end": "2026-11-20T11:00:00Z", "revision": revision});
            }
            event.to_string()
        },
    )
}

fn select(choices: &[&str]) -> impl Strategy<Value = String> + use<> {
    prop::sample::select(choices.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn double() -> impl Strategy<Value = String> {
    let leaf = select(&[
        "event.measures.severity",
        "event.measures['temperature_c']",
        "event.measures.depth_m",
        "event.location.lat",
        "event.location.lon",
        "0.0",
        "1.0",
        "-3.5",
        "1e300",
    ]);
    leaf.prop_recursive(2, 6, 2, |inner| {
        let binary = (inner.clone(), select(&["+", "-", "*", "/"]), inner.clone());
        prop_oneof![
            binary.prop_map(|(one, operator, other)| format!("({one} {operator} {other})")),
            inner.prop_map(|one| format!("-({one})")),
        ]
    })
}

fn number() -> impl Strategy<Value = String> {
    let integer = select(&[
        "0",
        "-1",
        "9223372036854775807",
        "(1 + 3)",
        "event.window.revision",
        "size(event.tags)",
        "-event.window.revision",
        "(event.window.revision * 9223372036854775807)",
        "(2 / event.window.revision - size(event.tags))",
        "(9 % event.window.revision)",
        "(has(event.window) ? event.window.revision : 7)",
    ]);
    prop_oneof![3 => double(), 1 => integer]
}

fn text() -> impl Strategy<Value = String> {
    select(&[
        "event.entity",
        "event.kind",
        "event.dataset",
        "event.event_id",
        "event.event_time",
        "event.received_at",
        "event.location.cell",
        "event.window.spec",
        "event.window.start",
        "event.window.end",
        "event.attributes.city",
        "event['attributes']['state']",
        "'OH'",
        "'2026-11-20T10:00:00Z'",
        "'night'",
        "'accidents'",
        "''",
        "(has(event.attributes.city) ? event.attributes.city : event.entity)",
    ])
}

fn sign() -> impl Strategy<Value = String> {
    select(&["==", "!=", "<", "<=", ">", ">="])
}

fn condition() -> impl Strategy<Value = String> {
    let numbers =
        (number(), sign(), number()).prop_map(|(one, sign, other)| format!("{one} {sign} {other}"));
    let texts =
        (text(), sign(), text()).prop_map(|(one, sign, other)| format!("{one} {sign} {other}"));
    let in_numbers = (number(), prop::collection::vec(number(), 0..4))
        .prop_map(|(of, list)| format!("{of} in [{}]", list.join(", ")));
    let in_texts = (text(), prop::collection::vec(text(), 0..4))
        .prop_map(|(of, list)| format!("{of} in [{}]", list.join(", ")));
    let matches = (text(), select(&["startsWith", "endsWith", "contains"]), text())
        .prop_map(|(of, function, part)| format!("{of}.{function}({part})"));
    let tagged = text().prop_map(|text| format!("{text} in event.tags"));
    let tag = (sign(), text(), select(&["&&", "||"]), number()).prop_map(
        |(sign, text, operator, number)| {
            format!("event.tags.exists(t, t {sign} {text} {operator} {number} > 1.0)")
        },
    );
    let other = select(&[
        "has(event.measures.depth_m)",
        "has(event.attributes.city)",
        "has(event.location)",
        "has(event.window)",
        "'city' in event.attributes",
        "'location' in event",
        "true",
        "false",
    ]);
    let leaf = prop_oneof![
        3 => numbers, 2 => texts, 1 => in_numbers, 1 => in_texts, 1 => matches, 1 => tagged,
        1 => tag, 1 => other
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let two = || (inner.clone(), inner.clone());
        prop_oneof![
            two().prop_map(|(one, other)| format!("({one}) && ({other})")),
            two().prop_map(|(one, other)| format!("({one}) || ({other})")),
            (two(), sign()).prop_map(|((one, other), sign)| format!("({one}) {sign} ({other})")),
            inner.clone().prop_map(|one| format!("!({one})")),
            (two(), inner.clone())
                .prop_map(|((one, two), three)| format!("(({one}) ? ({two}) : ({three}))")),
        ]
    })
}

fn compiled(text: &str) -> Expression {
    Expression::compile("test", text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn predicate_agrees_with_cel(
        when in condition(), events in prop::collection::vec(event(), 8)
    ) {
        let predicate = compiled(&when);
        prop_assert!(predicate.is_predicate(), "{}", when);
        let cel = compiled(&when).without_predicate();
        for event in &events {
            let event = Event::from_json(event.as_bytes()).unwrap();
            let expected = cel.holds(&Scope::of(&event));
            prop_assert_eq!(predicate.holds(&Scope::of(&event)), expected, "{} {:?}", when, event);
        }
    }
}

#[test]
fn expression_beyond_predicates_is_left_to_cel() {
    for when in [
        "event.tags.all(t, t == 'night')",
        "event.tags.exists(t, event.tags.exists(u, t < u))",
        "double(event.attributes.city) > 1.0",
        "event.window.revision == 1u",
        "event.entity + 'x' == 'y'",
        "has(event.location.lat)",
        "event.colour == 'red'",
        "event.entity > 3",
        "event.measures.severity",
        "event.tags[0] == 'night'",
        "[1, 2] == [1, 2]",
        "'night' in (event.entity == 'x' ? event.tags : event.tags)",
        "(event.entity == 'x' ? event.location : event.location).lat > 1.0",
        "(event.entity == 'x' ? 1 : 2.0) > 1.0",
    ] {
        assert!(!compiled(when).is_predicate(), "{when}");
    }
}

#[test]
fn unordered_values_are_an_error_as_in_cel() {
    let text = json!({"kind": "reading", "dataset": "d", "event_id": "e", "entity": "e",
        "tags": [], "event_time": "2026-11-20T10:00:00Z", "attributes": {},
        "received_at": "2026-11-20T10:00:00Z", "measures": {"zero": 0.0}});
    let text = text.to_string();
    let event = Event::from_json(text.as_bytes()).unwrap();
    let nan = "event.measures.zero / event.measures.zero";
    for (when, expected) in [
        (format!("{nan} > 1.0"), None),
        (format!("{nan} == {nan}"), Some(false)),
        (format!("{nan} != 1.0"), Some(true)),
        (format!("{nan} > 1.0 || true"), Some(true)),
        (format!("event.measures.absent > 1.0 || {nan} > 1.0"), None),
        (format!("{nan} > 1.0 || event.measures.absent > 1.0"), Some(false)),
    ] {
        let expression = compiled(&when);
        assert!(expression.is_predicate(), "{when}");
        assert_eq!(expression.holds(&Scope::of(&event)).ok(), expected, "{when}");
    }
}
