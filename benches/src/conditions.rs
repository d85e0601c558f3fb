//! Cost of the shipped conditions: as predicates, and by CEL.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use tributary_config::Configuration;
use tributary_model::event::Event;
use tributary_rules::Rules;
use tributary_rules::expression::{Expression, Scope};

/// Samples of each side, taken in turn; the fastest counts.
const SAMPLES: usize = 50;

/// Minimum duration of a sample.
const MIN_SAMPLE: Duration = Duration::from_millis(2);

/// Cost of a condition on one event in nanoseconds, the scope of the event included.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Id of the rule.
    pub rule: String,
    /// True if the condition compiles to a predicate.
    pub is_predicate: bool,
    /// As the functions evaluate it.
    pub compiled: f64,
    /// By CEL.
    pub cel: f64,
}

/// Condition in both forms, and its events.
struct Case<'e> {
    rule: String,
    compiled: Expression,
    cel: Expression,
    events: Vec<&'e Event<'e>>,
}

/// Measures each shipped condition on the events of its examples, and all together.
///
/// # Panics
///
/// Panics if the shipped configuration or an example is invalid.
#[must_use]
pub fn compare() -> Vec<Cost> {
    let rules = Configuration::shipped().and_then(|it| it.rules()).expect("the shipped rules");
    let texts = events();
    let events: Vec<_> = texts
        .iter()
        .map(|text| Event::from_json(text.as_bytes()).expect("an event of an example"))
        .collect();
    let cases = cases(&rules, &events);
    let mut costs: Vec<_> = cases.iter().map(|case| cost(&case.rule, &[case])).collect();
    costs.push(cost("all", &cases.iter().collect::<Vec<_>>()));
    costs
}

/// Formats costs, with the ratio of both sides.
#[must_use]
pub fn table(costs: &[Cost]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["rule", "", "ns", "CEL, ns", "ratio"]);
    for Cost { rule, is_predicate, compiled, cel } in costs {
        let form = if *is_predicate { "predicate" } else { "CEL" };
        let numbers =
            [format!("{compiled:.1}"), format!("{cel:.1}"), format!("{:.3}", compiled / cel)];
        let [compiled, cel, ratio] = numbers;
        table.add_row([rule.clone(), form.to_owned(), compiled, cel, ratio]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Reads the events of all examples, each as one JSON object.
fn events() -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/rules/shipped");
    let listed = |path: &Path| {
        let entries = fs::read_dir(path).expect("a folder of examples");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let files = listed(Path::new(root)).into_iter().flat_map(|folder| listed(&folder));
    let values = files.map(|file| {
        let text = fs::read_to_string(file).expect("an example");
        serde_json::from_str::<serde_json::Value>(&text).expect("an example")
    });
    let events = values.flat_map(|value| match value {
        serde_json::Value::Array(events) => events,
        mut value => match value["events"].take() {
            serde_json::Value::Array(events) => events,
            _ => vec![value],
        },
    });
    events.map(|event| event.to_string()).collect()
}

fn cases<'e>(rules: &Rules, events: &'e [Event<'e>]) -> Vec<Case<'e>> {
    let cases = rules.iter().filter_map(|rule| {
        let when = rule.spec.when.as_ref()?;
        let compile = || Expression::compile("rule", when).expect("a shipped condition");
        Some(Case {
            rule: rule.spec.id.clone(),
            compiled: compile(),
            cel: compile().without_predicate(),
            events: events.iter().filter(|event| rule.applies_to(event)).collect(),
        })
    });
    cases.collect()
}

fn cost(rule: &str, cases: &[&Case<'_>]) -> Cost {
    let pairs = |choose: for<'c> fn(&'c Case<'_>) -> &'c Expression| {
        let each = cases
            .iter()
            .flat_map(move |case| case.events.iter().map(move |event| (choose(case), *event)));
        each.collect::<Vec<_>>()
    };
    let (compiled, cel) = (pairs(|case| &case.compiled), pairs(|case| &case.cel));
    let mut best = [f64::INFINITY; 2];
    for _ in 0..SAMPLES {
        for (best, pairs) in best.iter_mut().zip([&compiled, &cel]) {
            *best = best.min(sample(pairs));
        }
    }
    Cost {
        rule: rule.to_owned(),
        is_predicate: cases.iter().all(|case| case.compiled.is_predicate()),
        compiled: best[0],
        cel: best[1],
    }
}

/// Returns the nanoseconds of one evaluation.
fn sample(pairs: &[(&Expression, &Event<'_>)]) -> f64 {
    let (start, mut evaluations) = (Instant::now(), 0_u32);
    while start.elapsed() < MIN_SAMPLE {
        // The clock costs as much as an evaluation.
        for _ in 0..20 {
            for (expression, event) in pairs {
                let held = expression.holds(&Scope::of(black_box(event)));
                assert!(black_box(held).is_ok(), "a shipped condition fails");
                evaluations += 1;
            }
        }
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(evaluations)
}
