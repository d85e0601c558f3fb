//! Scores of detections against the labels.

use comfy_table::{CellAlignment, Table, presets};

use tributary_anomaly::AnomalyKind;

use super::TRAINING_WINDOWS;
use super::rules::{Detection, Method};
use super::series::{Scenario, Series};

/// Counts over the scored windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Windows with a fault and a detection.
    pub hits: u64,
    /// Windows with a detection but no fault.
    pub false_alarms: u64,
    /// Windows with a fault but no detection.
    pub misses: u64,
    /// All scored windows.
    pub windows: u64,
    /// Faults, each of one or more windows.
    pub faults: u64,
    /// Faults with a detection in at least one window.
    pub found: u64,
    /// Faults found whose most frequently reported kind is the right one.
    pub named: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of windows")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Score {
    /// Returns the share of detections that are faults.
    #[must_use]
    pub fn precision(&self) -> f64 {
        ratio(self.hits, self.hits + self.false_alarms)
    }

    /// Returns the share of faulty windows that were detected.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.hits, self.hits + self.misses)
    }

    /// Returns the harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> f64 {
        ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)
    }

    /// Returns the number of false alarms per device and day.
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
            // A faulty window is scored even among the ignored windows of another fault.
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

/// Score of a method on a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Faults of the series.
    pub scenario: Scenario,
    /// Method that was scored.
    pub method: Method,
    /// Resulting score.
    pub score: Score,
}

pub(super) fn row(scenario: Scenario, method: Method, series: &[Series]) -> Row {
    let mut score = Score::default();
    for series in series {
        score.add(series, &method.report(&series.means));
    }
    Row { scenario, method, score }
}

/// Formats the rows as a table.
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
