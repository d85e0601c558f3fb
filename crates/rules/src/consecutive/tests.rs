use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::Rules;
use crate::{AlertsConfig, shipped};

const RULE: &str = r#"
[[rules]]
id = "heat"
dataset = "telemetry"
window = "telemetry-1m"
severity = "warning"
when = "event.measures.temperature_c_mean > 30.0"
for = 3
title = "hot"
key = "{entity}"
cooldown = "1h"
"#;

fn rules(text: &str) -> Rules {
    Rules::compile(&AlertsConfig::from_toml(text).unwrap().rules, &shipped::schemas()).unwrap()
}

fn span(start: i64, revision: u32) -> WindowSpan<'static> {
    let at = |second| Timestamp::from_second(second).unwrap();
    WindowSpan {
        spec: Cow::Borrowed("telemetry-1m"),
        start: at(start),
        end: at(start + 60),
        revision,
    }
}

/// Evaluation of a window: its number, its revision, and the result of `when`.
type Evaluation = (i64, u32, bool);

/// In-memory store of marks, as the function writes them.
#[derive(Default)]
struct Store(BTreeMap<String, Marks>);

impl Store {
    /// Stores an evaluation and returns the numbers of the windows that fire.
    fn take(
        &mut self,
        series: ConsecutiveWindows<'_>,
        (number, revision, holds): Evaluation,
    ) -> Vec<i64> {
        let mut fired = Vec::new();
        for mark in series.marks("d", &span(number * 60, revision), holds) {
            let marks = self.0.entry(mark.item.clone()).or_default();
            let slot = marks.entry(mark.window).or_default();
            *slot = (*slot).max(mark.value);
            if holds {
                fired.extend(series.fires("d", &mark, marks));
            }
        }
        fired.iter().map(|start| start.as_second() / 60).collect()
    }
}

fn fired(evaluations: &[Evaluation], slide: i64) -> Vec<i64> {
    let rules = rules(RULE);
    let series =
        rules.iter().next().unwrap().consecutive_windows(SignedDuration::from_secs(slide)).unwrap();
    let mut store = Store::default();
    evaluations.iter().flat_map(|evaluation| store.take(series, *evaluation)).collect()
}

#[test]
fn rule_fires_at_third_window_and_keeps_firing() {
    let evaluations =
        [(1, 0, true), (2, 0, true), (3, 0, true), (4, 0, true), (5, 0, false), (6, 0, true)];

    assert_eq!(fired(&evaluations, 60), [3, 4]);
}

#[test]
fn windows_with_a_gap_do_not_count() {
    assert!(fired(&[(1, 0, true), (2, 0, true), (4, 0, true), (5, 0, true)], 60).is_empty());
}

#[test]
fn late_window_closes_the_gap() {
    assert_eq!(fired(&[(1, 0, true), (3, 0, true), (4, 0, true), (2, 0, true)], 60), [3, 4]);
}

#[test]
fn older_evaluation_does_not_replace_newer_revision() {
    let evaluations = [(1, 0, true), (2, 0, true), (2, 1, false), (3, 0, true), (2, 0, true)];

    assert!(fired(&evaluations, 60).is_empty());
    assert_eq!(fired(&[(2, 0, false), (1, 0, true), (3, 0, true), (2, 1, true)], 60), [3]);
}

#[test]
fn repeated_evaluation_fires_again() {
    assert_eq!(fired(&[(1, 0, true), (2, 0, true), (3, 0, true), (3, 0, true)], 60), [3, 3]);
}

#[test]
fn first_evaluation_that_fails_is_not_stored() {
    let rules = rules(RULE);
    let series =
        rules.iter().next().unwrap().consecutive_windows(SignedDuration::from_mins(1)).unwrap();

    assert_eq!(series.marks("d", &span(60, 0), false), []);
    assert_eq!(series.marks("d", &span(60, 1), false).len(), 1);
}

#[test]
fn changed_rule_does_not_reuse_marks() {
    let (one, other) = (rules(RULE), rules(&RULE.replace("30.0", "31.0")));
    let item = |rules: &Rules| {
        let series =
            rules.iter().next().unwrap().consecutive_windows(SignedDuration::from_mins(1)).unwrap();
        series.marks("d", &span(60, 0), true).remove(0).item
    };

    assert_ne!(item(&one), item(&other));
    assert_eq!(item(&one), item(&rules(&RULE.replace("\"hot\"", "\"warm\""))));
}

/// Returns the windows that end three consecutive ones, by the latest evaluation of each.
fn reference(evaluations: &[Evaluation]) -> Vec<i64> {
    let mut known: BTreeMap<i64, (u32, bool)> = BTreeMap::new();
    for (number, revision, holds) in evaluations {
        let evaluation = known.entry(*number).or_insert((*revision, *holds));
        *evaluation = (*evaluation).max((*revision, *holds));
    }
    let holds = |number| known.get(&number).is_some_and(|evaluation| evaluation.1);
    known.keys().copied().filter(|end| (end - 2..=*end).all(holds)).collect()
}

proptest! {
    #[test]
    fn evaluations_in_any_order_fire_like_reference(
        // Around the border of a chunk.
        evaluations in prop::collection::vec((60i64..70, 0u32..3, any::<bool>()), 0..60),
    ) {
        let fired = fired(&evaluations, 60);

        for end in reference(&evaluations) {
            prop_assert!(fired.contains(&end), "{end} of {fired:?}");
        }
        // No window fires if one of its three windows never held.
        let ever = |number| evaluations.iter().any(|(it, _, holds)| *it == number && *holds);
        prop_assert!(fired.iter().all(|end| (end - 2..=*end).all(ever)));
    }
}
