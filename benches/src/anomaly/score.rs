//! What is told against the truth.

use comfy_table::{CellAlignment, Table, presets};

use tributary_anomaly::AnomalyKind;

use super::TRAINING_WINDOWS;
use super::rules::{Detection, Method};
use super::series::{Scenario, Series};

/// Counts over the windows that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Windows with a fault, told.
    pub hits: u64,
    /// Windows without, told.
    pub false_alarms: u64,
    /// Windows with a fault, not told.
    pub misses: u64,
    /// All windows.
    pub windows: u64,
    /// Faults, each of one or more windows.
    pub faults: u64,
    /// Faults of which a window was told.
    pub found: u64,
    /// Faults that were found and whose kind is what was told most often of them.
    pub named: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of windows")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Score {
    /// The part of what was told that is true.
    #[must_use]
    pub fn precision(&self) -> f64 {
        ratio(self.hits, self.hits + self.false_alarms)
    }

    /// The part of what is true that was told.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.hits, self.hits + self.misses)
    }

    /// The harmonic mean of the two.
    #[must_use]
    pub fn f1(&self) -> f64 {
        ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)
    }

    /// False alarms a device and day.
    #[must_use]
    pub fn false_alarms_a_day(&self) -> f64 {
        1_440.0 * ratio(self.false_alarms, self.windows)
    }

    fn add(&mut self, series: &Series, reported: &[Detection]) {
        let count = series.means.len();
        let mut truth = vec![false; count];
        for (_, fault) in &series.faults {
            truth[fault.clone()].fill(true);
        }
        let mut counts = vec![true; count];
        for echo in &series.echoes {
            counts[echo.clone()].fill(false);
        }
        for at in TRAINING_WINDOWS..count {
            // What is true counts, also where it is the echo of something else.
            if series.means[at].is_none() || !(counts[at] || truth[at]) {
                continue;
            }
            self.windows += 1;
            match (truth[at], reported[at].is_anomaly) {
                (true, true) => self.hits += 1,
                (true, false) => self.misses += 1,
                (false, true) => self.false_alarms += 1,
                (false, false) => {}
            }
        }
        for (kind, fault) in &series.faults {
            let seen = fault.clone().any(|at| series.means[at].is_some());
            if fault.start < TRAINING_WINDOWS || !seen {
                continue;
            }
            self.faults += 1;
            let reported = &reported[fault.clone()];
            self.found += u64::from(reported.iter().any(|reported| reported.is_anomaly));
            let times =
                |kind| reported.iter().filter(|reported| reported.kind == Some(kind)).count();
            let max = AnomalyKind::ALL.into_iter().max_by_key(|&kind| times(kind));
            self.named += u64::from(max == Some(*kind) && times(*kind) > 0);
        }
    }
}

/// The score of a method on a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which faults there were.
    pub scenario: Scenario,
    /// Who looked for them.
    pub method: Method,
    /// What came of it.
    pub score: Score,
}

pub(super) fn row(scenario: Scenario, method: Method, series: &[Series]) -> Row {
    let mut score = Score::default();
    for series in series {
        score.add(series, &method.report(&series.means));
    }
    Row { scenario, method, score }
}

/// The rows as people read them.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let head = [
        "fault",
        "method",
        "precision",
        "recall",
        "F1",
        "found",
        "of",
        "named",
        "false alarms a day",
    ];
    table.set_header(head);
    for (at, Row { scenario, method, score }) in rows.iter().enumerate() {
        let is_first = at == 0 || rows[at - 1].scenario != *scenario;
        let named = if *method == Method::Ours { score.named.to_string() } else { "-".to_owned() };
        table.add_row([
            if is_first { scenario.as_str().to_owned() } else { String::new() },
            method.to_string(),
            format!("{:.3}", score.precision()),
            format!("{:.3}", score.recall()),
            format!("{:.3}", score.f1()),
            score.found.to_string(),
            score.faults.to_string(),
            named,
            format!("{:.2}", score.false_alarms_a_day()),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
