use std::path::{Path, PathBuf};

use super::*;
use crate::{AlertsConfig, shipped};
use tributary_config::ALERTS;

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
