//! The schema engine against second implementations of two datasets.

use serde_json::json;
use system_tests::oracle;
use tributary_datagen::{FeedKind, Settings, Simulation};
use tributary_model::bad_row::Rejection;
use tributary_model::event::Event;

use crate::support::shipped;

/// Number of generated rows of each dataset.
const ROWS: usize = 4_000;

/// Compares the event of a row with that of its oracle. Returns `true` if both accept the row.
///
/// Where the oracle rejects, the engine rejects too, or the event lists a fault, or the text stands
/// for no value.
fn agree(dataset: &str, payload: &str, expected: Result<Event<'_>, Rejection>) -> bool {
    let found = shipped().datasets.by_name(dataset).unwrap().event(payload, None);
    let Ok(expected) = expected else { return false };
    assert!(found.is_ok(), "{payload}: {found:?}");
    if let Some(found) = found.ok().filter(|found| found.faults.is_empty()) {
        assert_eq!(json!(found), json!(expected), "{payload}");
    }
    true
}

fn generated(kind: FeedKind) -> Vec<String> {
    let mut simulation = Simulation::new(kind, &Settings::of(kind)).unwrap();
    let mut row = || simulation.next().map(|it| String::from_utf8(it.json.to_vec()).unwrap());
    (0..ROWS).map_while(|_| row()).collect()
}

fn fixtures(dataset: &str) -> Vec<String> {
    let folder = format!("{}/../fixtures/datasets/{dataset}", env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| std::fs::read_to_string(format!("{folder}/{file}")).unwrap_or_default();
    let files = ["valid.jsonl", "bad-rows.jsonl", "faults.jsonl"].map(read);
    files.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
}

#[test]
fn accidents_match_their_oracle() {
    let rows = generated(FeedKind::Accidents).into_iter().chain(fixtures("accidents"));
    let accepted = rows.filter(|row| agree("accidents", row, oracle::accidents::event(row, None)));

    assert!(accepted.count() > ROWS * 9 / 10);
}

#[test]
fn telemetry_matches_its_oracle() {
    let rows = generated(FeedKind::Telemetry).into_iter().chain(fixtures("telemetry"));
    let accepted = rows.filter(|row| agree("telemetry", row, oracle::telemetry::event(row, None)));

    assert!(accepted.count() > ROWS * 9 / 10);
}
