//! Result of a run, as a table or as JSON.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

/// Row counts of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Rows read. The rest of a damaged file counts as one row.
    pub rows: u64,
    /// Rows that became events.
    pub events: u64,
    /// Bad rows.
    pub quarantined: u64,
    /// Rows dropped by a configured filter.
    pub filtered: u64,
    /// Alerts of rules over single readings, each counted once however many readings share it.
    pub alerts: u64,
    /// Windows of the events, if `--windows` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<u64>,
    /// Bad rows by code.
    pub bad_rows_by_code: BTreeMap<&'static str, u64>,
    /// Alerts by rule.
    pub alerts_by_rule: BTreeMap<String, u64>,
    /// Duration in seconds of wall-clock time.
    pub seconds: f64,
}

impl Report {
    /// Returns whether the counts reconcile: `rows = events + quarantined + filtered`.
    pub(crate) fn is_balanced(&self) -> bool {
        self.rows == self.events + self.quarantined + self.filtered
    }

    /// Returns the counts as one JSON object.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Returns the counts as an aligned table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |name: &str, count: u64| {
            table.add_row([name.to_owned(), HumanCount(count).to_string()]);
        };
        row("rows", self.rows);
        row("events", self.events);
        row("quarantined", self.quarantined);
        for (code, count) in &self.bad_rows_by_code {
            row(&format!("  {code}"), *count);
        }
        row("filtered", self.filtered);
        row("alerts", self.alerts);
        for (rule, count) in &self.alerts_by_rule {
            row(&format!("  {rule}"), *count);
        }
        if let Some(windows) = self.windows {
            table.add_row(["windows".to_owned(), HumanCount(windows).to_string()]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let balance =
            if self.is_balanced() { "the books balance" } else { "THE BOOKS DO NOT BALANCE" };
        format!("{table}\n\n {balance}: {} rows in {:.2} s", HumanCount(self.rows), self.seconds)
    }
}
