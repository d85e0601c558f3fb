use std::path::{Path, PathBuf};

use super::*;
use crate::{AlertsConfig, shipped};
use jiff::SignedDuration;
use tributary_config::ALERTS;
use tributary_windows::Window;
use tributary_windows::aggregate::Sample;

fn rules() -> Rules {
    Rules::compile(&AlertsConfig::from_toml(ALERTS).unwrap().rules, &shipped::schemas()).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rules/shipped")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn example(rule: &str, file: &str) -> String {
    std::fs::read_to_string(folder().join(rule).join(file)).unwrap()
}

#[test]
fn shipped_rules_fire_as_their_examples_expect() {
    let (schemas, windows, specs) = (shipped::schemas(), shipped::windows(), shipped::specs());
    let (examples, rules) = (Examples::new(&schemas, &windows, &specs), rules());
    for rule in rules.iter() {
        let mut seen = [0, 0];
        for file in entries(&folder().join(&rule.spec.id)) {
            let shows = Expectation::of_name(name(&file)).unwrap_or_else(|| panic!("{file:?}"));
            let fires = examples.fires(&rules, &rule.spec.id, &example(&rule.spec.id, name(&file)));
            assert_eq!(fires, Ok(shows == Expectation::Fires), "{}", file.display());
            seen[usize::from(shows == Expectation::Fires)] += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0, "{} has examples of both kinds", rule.spec.id);
    }
}

/// Returns true if a rule fires on a window of `readings`: event times and values of a measure.
fn fires_on_readings(id: &str, measure: &str, readings: &[(Timestamp, f64)]) -> bool {
    let (rules, specs) = (rules(), shipped::specs());
    let rule = rules.iter().find(|rule| rule.spec.id == id).unwrap();
    let spec = specs.iter().find(|spec| Some(&spec.id) == rule.spec.window.as_ref()).unwrap();
    let mut windows = BTreeMap::new();
    for (number, (time, value)) in (0..).zip(readings) {
        let at = spec.measures.iter().position(|name| name == measure).unwrap();
        let mut values = vec![None; spec.measures.len()];
        values[at] = Some(*value);
        let sample = Sample { id: number << 8, time: *time, values, counted: Vec::new() };
        for span in spec.windows_of(*time) {
            let window = windows.entry(span).or_insert_with(|| Window::open(span));
            window.apply(spec, [(&sample, None)], *time);
        }
    }
    windows.values().any(|window: &Window| {
        let alerts = rules.alerts(&window.event(spec, "entity")).0;
        alerts.iter().any(|alert| alert.rule == id)
    })
}

/// A gauge reports every 15 minutes; the level rises by 0.2 m between two of its readings.
#[test]
fn rise_between_two_readings_fires_at_any_offset() {
    let noon: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let time = |minute: i64| noon + SignedDuration::from_mins(minute);
    for offset in 0..30 {
        let readings = |rise: f64| -> Vec<_> {
            let level = |step: i64| if step < 4 { 2.0 } else { 2.0 + rise };
            (0..8).map(|step| (time(offset + 15 * step), level(step))).collect()
        };
        assert!(fires_on_readings("flood-fast-rise", "water_level_m", &readings(0.2)), "{offset}");
        assert!(!fires_on_readings("flood-fast-rise", "water_level_m", &readings(0.1)), "{offset}");
    }
}

/// Cases grow by half from one day to the next.
#[test]
fn weekly_jump_fires_at_any_offset() {
    let monday: Timestamp = "2030-03-04T00:00:00Z".parse().unwrap();
    for jump in 10..24 {
        let readings = |after: f64| -> Vec<_> {
            let time = |day: i64| monday + SignedDuration::from_hours(24 * day);
            (0..35).map(|day| (time(day), if day < jump { 1_000.0 } else { after })).collect()
        };
        assert!(fires_on_readings("covid-jump", "cases", &readings(1_500.0)), "{jump}");
        assert!(!fires_on_readings("covid-jump", "cases", &readings(1_100.0)), "{jump}");
    }
}

#[test]
fn example_folders_belong_to_rules() {
    // Those in the files of datasets too.
    let rules = tributary_config::Configuration::shipped().unwrap().alerts.rules;
    for folder in entries(&folder()).iter().filter(|entry| entry.is_dir()) {
        assert!(rules.iter().any(|rule| rule.id == name(folder)), "{}", folder.display());
    }
}

#[test]
fn invalid_example_is_rejected() {
    let (schemas, windows, specs) = (shipped::schemas(), shipped::windows(), shipped::specs());
    let (examples, rules) = (Examples::new(&schemas, &windows, &specs), rules());
    let hot = example("high-temperature", "fires-above-30.json");
    for (rule, text, expected) in [
        ("high-temperature", "[]".to_owned(), "has no event that the rule is asked about"),
        ("flood-danger", hot.clone(), "has no event that the rule is asked about"),
        ("sustained-heat", hot.clone(), "has no event that the rule is asked about"),
        (
            "high-temperature",
            hot.replace("30.1", "101"),
            "event 1: no event has measures.temperature_c is 101",
        ),
        (
            "high-temperature",
            hot.replace("temperature_c", "temp"),
            "event 1: no event has measures.temp",
        ),
        (
            "high-temperature",
            hot.replace("\"ok\"", "\"OK\""),
            "event 1: no event has attributes.status",
        ),
        (
            "high-temperature",
            hot.replace("\"telemetry\"", "\"x\""),
            "event 1: there is no dataset x",
        ),
        ("high-temperature", hot.replace("\"entity\"", "\"x\""), "event 1: missing field `entity`"),
        ("high-temperature", "{\"events\":[],\"x\":1}".to_owned(), "is no example: "),
        ("high-temperature", hot[..20].to_owned(), "is no example: "),
        ("no-rule", hot.clone(), "there is no such rule"),
    ] {
        let error = examples.fires(&rules, rule, &text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn expectation_is_first_word_of_name() {
    assert_eq!(Expectation::of_name("fires-above-30.json"), Some(Expectation::Fires));
    assert_eq!(Expectation::of_name("silent-at-30.json"), Some(Expectation::DoesNotFire));
    assert_eq!(Expectation::of_name("firesome.json"), None);
    assert_eq!(Expectation::of_name("above-30.json"), None);
}
