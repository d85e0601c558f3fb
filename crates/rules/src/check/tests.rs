use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::expression::Scope;
use crate::shipped;
use tributary_model::event::Event;

fn fields(name: &str) -> Fields {
    match shipped::windows().get(name) {
        Some(fields) => fields.clone(),
        None => shipped::schemas().get(name).unwrap().clone(),
    }
}

/// Returns the name of a code on the wire.
fn name_of(code: Code) -> String {
    serde_json::from_value(serde_json::to_value(code).unwrap()).unwrap()
}

/// Returns the faults of an expression as `code message`. A `^` marks the expected position and is
/// no part of the expression.
fn reported(of: &str, marked: &str) -> Vec<String> {
    let when = marked.replace('^', "");
    let faults = faults(&fields(of), &when).into_iter();
    let reported = faults.map(|fault| {
        let place = marked.find('^').filter(|place| *place != fault.offset);
        let place = place.map(|_| format!("at {:?}: ", &when[fault.offset..]));
        format!("{}{} {}", place.unwrap_or_default(), name_of(fault.code), fault.message)
    });
    reported.collect()
}

#[test]
fn satisfiable_conditions_pass() {
    for (of, when) in [
        ("accidents", "event.measures.severity >= 4.0"),
        ("accidents", "event.measures.severity >= 4 && 'night' in event.tags"),
        ("accidents", "event.tags.exists(tag, tag.startsWith('weather_')) && size(event.tags) > 3"),
        ("accidents", "event.attributes['city'] in ['Dayton', 'Toledo']"),
        ("accidents", "event.entity.startsWith('OH/') && event.location.lat > 40.0"),
        ("accidents", "event.measures.temperature_c * 1.8 + 32.0 > 100.0"),
        (
            "accidents",
            "has(event.measures.duration_min) ? event.measures.duration_min > 60.0 : false",
        ),
        ("accidents", "!(event.measures.severity < 3.0) || event.attributes.state == 'OH'"),
        ("accidents", "event.event_time > '2026-01-01' && event.kind == 'reading'"),
        ("telemetry", "event.attributes.status in ['warning', 'failure']"),
        ("telemetry", "event.measures.temperature_c > event.measures.dew_point_c"),
        ("telemetry-1m", "event.kind == 'window' && event.measures.temperature_c_mean > 30.0"),
        ("telemetry-1m", "'anomaly' in event.tags && event.window.revision == 0"),
        ("telemetry-1m", "event.measures.temperature_c_mean_z > 6.0 || event.measures.count < 3.0"),
        ("flood-30m", "event.measures.water_level_m_per_h > 0.5"),
        ("accidents-1h", "event.measures.count_severity_4 > 2.0"),
        ("covid-1d", "double(event.measures.cases_max) - event.measures.cases_min > 100.0"),
        ("telemetry", "true"),
        ("accidents", "'clock_ahead' in event.tags"),
        ("covid", "!('clock_ahead' in event.tags) && event.measures.cases > 10.0"),
        ("flood", "'clock_ahead' in event.tags"),
        ("telemetry", "event.tags.exists(tag, tag == 'clock_ahead')"),
        ("telemetry-1m", "9007199254740992 + event.window.revision > 9007199254740992"),
        ("telemetry", "9007199254740993 > 9007199254740992"),
        ("telemetry", "(event.entity == 'x' ? event.location : event.location).lat > 1.0"),
        ("telemetry", "double(event.entity) > 1.0 && event.tags.all(t, t == 'x')"),
    ] {
        assert_eq!(reported(of, when), Vec::<String>::new(), "{when}");
    }
}

#[test]
fn dead_condition_is_reported_at_first_character() {
    for (of, when, expected) in [
        ("accidents", "^event.measures.severity > 4.0", "dead never holds: severity is 1 to 4"),
        (
            "accidents",
            "event.measures.severity >= 3 && ^event.measures.severity < 2",
            "dead never holds: severity is 3 to 4 here",
        ),
        (
            "accidents",
            "event.entity == 'x' || ^event.measures.severity == 2.5",
            "dead never holds: severity is 1 to 4",
        ),
        (
            "accidents",
            "!(^event.measures.severity >= 1.0)",
            "dead always holds, so its opposite never holds: severity is 1 to 4",
        ),
        (
            "telemetry",
            "event.attributes.status in ['OK', 'WARN']",
            "dead never holds: status is failure, inactive, ok, unknown or warning",
        ),
        (
            "telemetry",
            "event.measures.temperature_c > 100",
            "dead never holds: temperature_c is -90 to 100",
        ),
        ("flood", "event.kind == 'window'", "dead never holds: kind is reading"),
        ("flood", "event.tags.exists(t, ^t == 'stage_flood')", "dead never holds"),
        (
            "flood",
            "event.attributes.stage.startsWith('x')",
            "dead never holds: stage is danger, normal, warning or watch",
        ),
        (
            "flood",
            "!has(event.measures.water_level_m) && ^event.measures.water_level_m > 1.0",
            "dead never holds: water_level_m is -10 to 100",
        ),
        ("accidents", "size(event.tags) < 0", "dead never holds"),
        (
            "accidents",
            "event.measures.humidity_pct * 2.0 > 200.0",
            "dead never holds: humidity_pct is 0 to 100",
        ),
        ("telemetry-1m", "event.measures.count < 1.0", "dead never holds: count is at least 1"),
        (
            "accidents",
            "event.attributes.city == 'Zürich' && ^event.measures.severity > 4.0",
            "dead",
        ),
        ("telemetry", "false", "dead can never fire"),
    ] {
        let reported = reported(of, when);
        assert!(reported.len() == 1 && reported[0].starts_with(expected), "{when}: {reported:?}");
    }
}

#[test]
fn always_true_condition_is_a_warning() {
    for (of, when, expected) in [
        ("accidents", "event.measures.severity >= 1.0", "always always holds: severity is 1 to 4"),
        (
            "telemetry",
            "event.measures.temperature_c > 30.0 && ^event.attributes.status != 'OK'",
            "always always holds: status is failure, inactive, ok, unknown or warning",
        ),
        (
            "accidents",
            "event.measures.severity >= 3.0 && ^event.measures.severity >= 2.0",
            "always always holds: severity is 3 to 4 here",
        ),
        (
            "accidents",
            "!(^event.measures.severity > 4.0) && event.entity == 'x'",
            "always always fails: severity is 1 to 4",
        ),
    ] {
        assert_eq!(reported(of, when), [expected], "{when}");
        let when = when.replace('^', "");
        assert!(faults(&fields(of), &when).iter().all(|fault| fault.level == Level::Warning));
    }
}

#[test]
fn unknown_name_is_reported_with_suggestions() {
    for (of, when, expected) in [
        (
            "telemetry",
            "event.measures.^temprature_c > 30.0",
            "unknown_field telemetry has no measures.temprature_c; temperature_c?",
        ),
        (
            "telemetry-1m",
            "event.measures.^temperature_c > 30.0",
            "unknown_field telemetry-1m has no measures.temperature_c; there are \
             temperature_c_first, temperature_c_last, temperature_c_max,",
        ),
        (
            "accidents",
            "event.^weather == 'x'",
            "unknown_field accidents has no weather; there are kind, ",
        ),
        ("accidents", "event.^window.revision > 0", "unknown_field accidents has no window"),
        ("covid", "event.^location.lat > 1.0", "unknown_field covid has no location"),
        (
            "accidents",
            "has(event.measures.depth_m)",
            "unknown_field accidents has no measures.depth_m",
        ),
        (
            "accidents",
            "'depth_m' in event.measures",
            "unknown_field accidents has no measures.depth_m",
        ),
        (
            "accidents",
            "event.attributes[^'ctiy'] == 'x'",
            "unknown_field accidents has no attributes.ctiy; city?",
        ),
        (
            "accidents",
            "'nigth' in event.tags",
            "unknown_field accidents has no tag \"nigth\"; night?",
        ),
        (
            "telemetry",
            "'hot' in event.tags",
            "unknown_field telemetry has no tag \"hot\"; there are clock_ahead",
        ),
        ("accidents", "row.severity > 3", "unknown_field names row, and only event is there"),
        (
            "accidents",
            "event.entity.matches('x')",
            "unknown_function matches is no function there is",
        ),
        ("accidents", "max(1.0, 2.0) > 1.0", "unknown_function max is no function"),
    ] {
        let reported = reported(of, when);
        assert!(reported.len() == 1 && reported[0].starts_with(expected), "{when}: {reported:?}");
    }
}

#[test]
fn type_mismatch_is_reported() {
    for (when, expected) in [
        ("event.entity > 3", "wrong_type compares a text with a number"),
        ("event.measures.severity == '4'", "wrong_type compares a number with a text"),
        ("event.measures.severity + 1 > 2.0", "wrong_type calculates with a double and a whole"),
        ("event.measures > 1", "wrong_type compares the object measures with a number"),
        ("event.measures.severity in ['4']", "wrong_type looks for a number in a list of others"),
        ("event.measures.severity == null", "wrong_type no field is null"),
        ("event.measures.severity", "wrong_type is a number and should be a yes or no"),
        ("event.entity && true", "wrong_type && does not apply to a text and a yes or no"),
        (
            "event.measures.severity.startsWith('4')",
            "wrong_type startsWith does not apply to a number and a text",
        ),
        ("event.entity.name == 'x'", "wrong_type a text has no fields"),
        ("event.measures.exists(m, m == 'x')", "wrong_type the object measures is no list"),
        ("size(^event.measures) > 1", "wrong_type size does not apply to the object measures"),
        ("event.measures.severity % 2.0 == 0.0", "wrong_type a double has no remainder"),
        ("event.measures.", "unparsable does not parse: "),
    ] {
        let reported = reported("accidents", when);
        assert!(reported.len() == 1 && reported[0].starts_with(expected), "{when}: {reported:?}");
    }
}

#[test]
fn choices_lists_and_filters_are_checked_by_part() {
    for (of, when, expected) in [
        (
            "accidents",
            "event.attributes.state == 'OH' ? ^event.measures.severity > 4.0 : \
             event.measures.severity > 3.0",
            "dead never holds: severity is 1 to 4",
        ),
        ("accidents", "(^event.measures.severity > 4.0) == true", "dead never holds: severity is"),
        ("accidents", "false != (^event.measures.severity > 4.0)", "dead never holds: severity is"),
        (
            "accidents",
            "event.measures.severity / 2.0 > 3.0",
            "dead never holds: severity is 1 to 4",
        ),
        (
            "accidents-1h",
            "event.measures.count_severity_4 == 0.0",
            "dead never holds: count_severity_4 is at least 1",
        ),
        (
            "telemetry",
            "event.attributes.status in ['warning', ^'FAILURE']",
            "dead is never found: status is failure, inactive, ok, unknown or warning",
        ),
        (
            "accidents",
            "!(event.measures.severity in [4, ^5])",
            "always is never found: severity is 1 to 4",
        ),
        (
            "accidents",
            "event.measures.severity >= 3 && event.measures.severity in [4, ^1]",
            "dead is never found: severity is 3 to 4 here",
        ),
        ("accidents", "event.measures.severity in [4, ^'x']", "wrong_type compares a number with"),
        ("accidents", "{'a': event.measures.^foo}.a > 1.0", "unknown_field accidents has no"),
        ("accidents", "^event.tags.map(t, t + 'x')", "wrong_type should be a yes or no"),
    ] {
        let reported = reported(of, when);
        assert!(reported.len() == 1 && reported[0].starts_with(expected), "{when}: {reported:?}");
    }
    let states = reported("accidents", "event.attributes.state in ['OH', ^'Utah', 'xx']");
    assert_eq!(states.len(), 2, "{states:?}");
}

#[test]
fn optional_field_is_not_assumed_present() {
    for when in [
        "has(event.measures.wind_chill_c) != has(event.measures.temperature_c) && \
         !has(event.measures.wind_chill_c)",
        "(has(event.measures.wind_chill_c) ? event.measures.wind_chill_c : \
         event.measures.temperature_c) < -20.0 && !has(event.measures.wind_chill_c)",
        "(event.measures.severity > 3.0 || has(event.measures.wind_chill_c)) == true && \
         !has(event.measures.wind_chill_c)",
        "((event.measures.wind_chill_c > 3.0 && event.measures.severity > 3.0) == false) && \
         !has(event.measures.wind_chill_c)",
    ] {
        assert_eq!(reported("accidents", when), Vec::<String>::new(), "{when}");
    }
}

#[test]
fn listed_functions_are_callable() {
    let event = r#"{"kind":"reading","dataset":"flood","event_id":"e","entity":"e","tags":[],
        "event_time":"2026-11-20T10:00:00Z","received_at":"2026-11-20T10:00:00Z",
        "measures":{},"attributes":{}}"#;
    let event = Event::from_json(event.as_bytes()).unwrap();
    for name in names::FUNCTIONS {
        let call = match name {
            "contains" | "startsWith" | "endsWith" => format!("'1'.{name}('1')"),
            name => format!("{name}('1') == {name}('1')"),
        };
        let call = if name == "bool" { "bool('true')".to_owned() } else { call };
        let held = Expression::compile("test", &call).unwrap().holds(&Scope::of(&event));
        assert_eq!(held, Ok(true), "{call}");
    }
    for call in ["'a'.matches('a')", "max(1, 2) == 2", "timestamp('2026-11-20T10:00:00Z') != 1"] {
        assert!(Expression::compile("test", call).unwrap().holds(&Scope::of(&event)).is_err());
    }
}

/// Generates expressions over three fields of `accidents` and its tags.
fn expression() -> impl Strategy<Value = String> {
    let signs = || prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let number = || prop::sample::select(vec!["0", "1.0", "2", "2.5", "3.0", "4.0", "5", "-1.0"]);
    let severity = (signs(), number())
        .prop_map(|(sign, number)| format!("event.measures.severity {sign} {number}"));
    let turned = (signs(), number())
        .prop_map(|(sign, number)| format!("{number} {sign} event.measures.humidity_pct"));
    let sum = (signs(), number()).prop_map(|(sign, number)| {
        format!("event.measures.severity * 2.0 - event.measures.humidity_pct {sign} {number}")
    });
    let light = prop::sample::select(vec!["day", "night", "dusk"]);
    let twilight = (signs(), light.clone())
        .prop_map(|(sign, light)| format!("event.attributes.civil_twilight {sign} '{light}'"));
    let listed = prop::collection::vec(number(), 0..3)
        .prop_map(|list| format!("event.measures.severity in [{}]", list.join(", ")));
    let other = prop::sample::select(vec![
        "has(event.measures.humidity_pct)",
        "'night' in event.tags",
        "'humidity_pct' in event.measures",
        "event.tags.exists(t, t.startsWith('weather_s'))",
        "event.tags.exists(t, t == 'night' && t.endsWith('y'))",
        "event.tags.all(t, t == 'night')",
        "size(event.tags) > 0",
        "event.attributes.civil_twilight.contains('g')",
        "event.measures.severity == event.measures.humidity_pct",
        "has(event.measures.humidity_pct) != has(event.measures.severity)",
        "(has(event.measures.humidity_pct) ? event.measures.humidity_pct : \
         event.measures.severity) < 3.0",
        "(event.measures.severity > 3.0 || has(event.measures.humidity_pct)) == true",
        "(event.measures.humidity_pct > 2.0 && event.measures.severity > 3.0) != true",
        "(event.measures.humidity_pct > 2.0) == false",
        "event.measures.severity / 2.0 > 1.5",
        "event.measures.severity / -2.0 <= event.measures.humidity_pct",
        "event.tags.exists_one(t, t == 'night')",
        "size(event.tags.filter(t, t != 'night')) > 0",
        "event.tags == ['night']",
        "event.attributes.civil_twilight in ['day', event.entity]",
        "!(event.attributes.civil_twilight in ['day'])",
        "true",
    ]);
    let leaf = prop_oneof![
        3 => severity, 1 => turned, 1 => sum, 2 => twilight, 1 => listed,
        3 => other.prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) && ({other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            inner.clone().prop_map(|one| format!("!({one})")),
            (inner.clone(), inner.clone(), inner)
                .prop_map(|(one, two, three)| format!("(({one}) ? ({two}) : ({three}))")),
        ]
    })
}

/// Returns every event that differs in the fields that the expressions use.
fn events() -> Vec<String> {
    let mut events = Vec::new();
    for severity in ["1", "2", "3", "4"] {
        for humidity in
            ["", ",\"humidity_pct\":0", ",\"humidity_pct\":2.5", ",\"humidity_pct\":100"]
        {
            for twilight in ["", "\"civil_twilight\":\"day\"", "\"civil_twilight\":\"night\""] {
                for tags in ["", "\"night\"", "\"weather_snow\",\"day\""] {
                    events.push(format!(
                        "{{\"kind\":\"reading\",\"dataset\":\"accidents\",\"event_id\":\"e\",\
                         \"entity\":\"OH\",\"event_time\":\"2026-11-20T10:00:00Z\",\
                         \"received_at\":\"2026-11-20T10:00:00Z\",\"measures\":{{\"severity\":\
                         {severity}{humidity}}},\"attributes\":{{{twilight}}},\"tags\":[{tags}]}}"
                    ));
                }
            }
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn dead_conditions_never_hold_and_others_evaluate(when in expression()) {
        let faults = faults(&fields("accidents"), &when);
        let compiled = Expression::compile("test", &when).unwrap();
        let is_dead = |fault: &Fault| fault.message.starts_with("can never fire");
        let dead = faults.iter().any(is_dead);
        for event in events() {
            let event = Event::from_json(event.as_bytes()).unwrap();
            let held = compiled.holds(&Scope::of(&event));
            prop_assert!(held.is_ok(), "{}: {:?}", when, held);
            // Faults of parts are reported for parts; the whole is dead only if reported alone.
            prop_assert!(!(dead && held == Ok(true)), "{}", when);
            let parts = ["&&", "||", "?", ", ", "filter"];
            let alone = !parts.iter().any(|part| when.contains(part));
            let is_refused = faults.iter().any(|fault| fault.level == Level::Error);
            prop_assert!(!(alone && is_refused && held == Ok(true)), "{}", when);
        }
    }
}

/// Returns the bad examples by name, in order.
fn bad_examples() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/rules/bad");
    let files = std::fs::read_dir(root).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    let named = |file: &std::path::PathBuf| {
        (
            file.file_stem().unwrap().to_str().unwrap().to_owned(),
            std::fs::read_to_string(file).unwrap(),
        )
    };
    files.iter().map(named).collect()
}

#[test]
fn bad_examples_are_rejected_with_position() {
    let mut reported = String::new();
    for (name, text) in bad_examples() {
        let mut checked = check(&text, &shipped::schemas(), &shipped::windows());
        checked.require_examples(|rule| if rule == "snow-at-night" { (0, 0) } else { (1, 1) });
        let is_warning = matches!(name.as_str(), "always" | "too-few-readings");
        assert_eq!(checked.is_usable(), is_warning, "{name}");
        for finding in &checked.findings {
            let code = name_of(finding.code);
            // The parser's wording has its own tests.
            let is_ours = !matches!(finding.code, Code::Unparsable | Code::Unreadable);
            let message = if is_ours { finding.message.as_str() } else { "…" };
            let (line, column, rule) =
                (finding.line, finding.column, finding.rule.as_ref().unwrap());
            writeln!(reported, "{name}:{line}:{column}: {rule}: {code}: {message}").unwrap();
        }
    }
    insta::assert_snapshot!(reported);
}

#[test]
fn shipped_rules_have_no_findings() {
    assert_eq!(
        check(tributary_config::ALERTS, &shipped::schemas(), &shipped::windows()).findings,
        []
    );
}

#[test]
fn file_without_rules_is_rejected() {
    for text in ["rules = []", "rules = [] # later"] {
        let checked = check(text, &shipped::schemas(), &shipped::windows());
        let reported: Vec<_> = checked.findings.iter().map(ToString::to_string).collect();
        assert_eq!(reported, ["1:1: there are no rules"]);
        assert!(!checked.is_usable());
    }
}

#[test]
fn rule_without_both_examples_is_rejected() {
    let (_, text) = bad_examples().into_iter().find(|(name, _)| name == "no-test").unwrap();
    for (count, expected) in [
        ((0, 0), vec!["has neither an example that fires nor one that does not"]),
        ((0, 2), vec!["has no example that fires"]),
        ((1, 0), vec!["has no example that does not fire"]),
        ((1, 1), vec![]),
    ] {
        let mut checked = check(&text, &shipped::schemas(), &shipped::windows());
        checked.require_examples(|_| count);
        let reported: Vec<_> =
            checked.findings.iter().map(|finding| &finding.message[..]).collect();
        assert_eq!(reported, expected);
    }
}
