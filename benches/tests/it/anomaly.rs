//! Tests that pin the quality of anomaly detection against two common rules with the best window
//! length in hindsight.

use tributary_benches::anomaly::{Extent, Method, Row, Scenario, compare, table};

/// Small enough for every `make test`; `make bench-anomaly` simulates more.
const EXTENT: Extent = Extent { seeds: 1..3, devices: 3, days: 3 };

fn f1_of_others(rows: &[Row], scenario: Scenario) -> f64 {
    rows.iter()
        .filter(|row| row.scenario == scenario && row.method != Method::Ours)
        .map(|row| row.score.f1())
        .fold(0.0, f64::max)
}

#[test]
fn detector_beats_three_sigma_and_moving_median() {
    let rows = compare(&EXTENT);

    assert_eq!(rows.len(), 3 * Scenario::ALL.len());
    for row in rows.iter().filter(|row| row.method == Method::Ours) {
        let Row { scenario, score, .. } = row;
        let others = f1_of_others(&rows, *scenario);
        assert!(score.faults > 10, "{}", table(&rows));
        assert!(score.f1() >= others, "{}\n{}", scenario.as_str(), table(&rows));
        // At least 9 of 10 faults are found, and 4 of 5 are reported with the right kind.
        assert!(10 * score.found >= 9 * score.faults, "{}", table(&rows));
        assert!(5 * score.named >= 4 * score.faults, "{}", table(&rows));
    }
}

#[test]
fn same_seeds_give_same_scores() {
    let extent = Extent { seeds: 1..2, devices: 1, days: 2 };

    assert_eq!(compare(&extent), compare(&extent));
}
