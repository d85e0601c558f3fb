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

/// One word of a window: its number, its revision, whether `when` held.
type Word = (i64, u32, bool);

/// A store of marks, as the function writes it.
#[derive(Default)]
struct Store(BTreeMap<String, Marks>);

impl Store {
    /// Takes a word; the numbers of the windows that fire.
    fn take(
        &mut self,
        series: ConsecutiveWindows<'_>,
        (number, revision, holds): Word,
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

fn fired(words: &[Word], slide: i64) -> Vec<i64> {
    let rules = rules(RULE);
    let series =
        rules.iter().next().unwrap().consecutive_windows(SignedDuration::from_secs(slide)).unwrap();
    let mut store = Store::default();
    words.iter().flat_map(|word| store.take(series, *word)).collect()
}

#[test]
fn a_rule_fires_when_it_held_often_enough_in_a_row_and_goes_on_while_it_does() {
    let words =
        [(1, 0, true), (2, 0, true), (3, 0, true), (4, 0, true), (5, 0, false), (6, 0, true)];

    assert_eq!(fired(&words, 60), [3, 4]);
}

#[test]
fn windows_that_are_not_next_to_each_other_are_no_row() {
    assert!(fired(&[(1, 0, true), (2, 0, true), (4, 0, true), (5, 0, true)], 60).is_empty());
}

#[test]
fn a_window_that_comes_late_completes_the_row_it_was_missing_in() {
    assert_eq!(fired(&[(1, 0, true), (3, 0, true), (4, 0, true), (2, 0, true)], 60), [3, 4]);
}

#[test]
fn a_revision_that_does_not_hold_leaves_the_row_and_an_older_word_does_not_bring_it_back() {
    let words = [(1, 0, true), (2, 0, true), (2, 1, false), (3, 0, true), (2, 0, true)];

    assert!(fired(&words, 60).is_empty());
    assert_eq!(fired(&[(2, 0, false), (1, 0, true), (3, 0, true), (2, 1, true)], 60), [3]);
}

#[test]
fn a_word_that_comes_again_fires_again_so_that_a_kill_loses_nothing() {
    assert_eq!(fired(&[(1, 0, true), (2, 0, true), (3, 0, true), (3, 0, true)], 60), [3, 3]);
}

#[test]
fn what_does_not_hold_and_was_never_said_is_not_noted() {
    let rules = rules(RULE);
    let series =
        rules.iter().next().unwrap().consecutive_windows(SignedDuration::from_mins(1)).unwrap();

    assert_eq!(series.marks("d", &span(60, 0), false), []);
    assert_eq!(series.marks("d", &span(60, 1), false).len(), 1);
}

#[test]
fn another_rule_of_the_same_name_begins_anew() {
    let (one, other) = (rules(RULE), rules(&RULE.replace("30.0", "31.0")));
    let item = |rules: &Rules| {
        let series =
            rules.iter().next().unwrap().consecutive_windows(SignedDuration::from_mins(1)).unwrap();
        series.marks("d", &span(60, 0), true).remove(0).item
    };

    assert_ne!(item(&one), item(&other));
    assert_eq!(item(&one), item(&rules(&RULE.replace("\"hot\"", "\"warm\""))));
}

/// Which windows end a row of three, by the highest word of each.
fn reference(words: &[Word]) -> Vec<i64> {
    let mut known: BTreeMap<i64, (u32, bool)> = BTreeMap::new();
    for (number, revision, holds) in words {
        let word = known.entry(*number).or_insert((*revision, *holds));
        *word = (*word).max((*revision, *holds));
    }
    let holds = |number| known.get(&number).is_some_and(|word| word.1);
    known.keys().copied().filter(|end| (end - 2..=*end).all(holds)).collect()
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_fires_for_every_row_that_is_there_in_the_end(
        // Around the border of a stretch.
        words in prop::collection::vec((60i64..70, 0u32..3, any::<bool>()), 0..60),
    ) {
        let fired = fired(&words, 60);

        for end in reference(&words) {
            prop_assert!(fired.contains(&end), "{end} of {fired:?}");
        }
        // And for none of which a window never held.
        let ever = |number| words.iter().any(|(it, _, holds)| *it == number && *holds);
        prop_assert!(fired.iter().all(|end| (end - 2..=*end).all(ever)));
    }
}
