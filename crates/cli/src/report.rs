//! What a run came to, for a person or for a program.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

/// The books of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Rows read; a file's damaged rest counts as one.
    pub rows: u64,
    /// Rows that became events.
    pub events: u64,
    /// Rows that are bad.
    pub quarantined: u64,
    /// Rows that a declared filter dropped.
    pub filtered: u64,
    /// Alerts that the readings made by themselves, each once however many of them share it.
    pub alerts: u64,
    /// Windows that the events came to, where somebody asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<u64>,
    /// Bad rows by code.
    pub bad_rows_by_code: BTreeMap<&'static str, u64>,
    /// Alerts by rule.
    pub alerts_by_rule: BTreeMap<String, u64>,
    /// How long it took, by the wall clock.
    pub seconds: f64,
}

impl Report {
    /// Whether each row is one of event, quarantined and filtered.
    pub(crate) fn is_balanced(&self) -> bool {
        self.rows == self.events + self.quarantined + self.filtered
    }

    /// For a program: one JSON object.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// For a person: aligned and short.
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
