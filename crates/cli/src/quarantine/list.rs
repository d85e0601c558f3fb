//! `tributary quarantine list`: counts of the quarantine by kind.

use std::collections::BTreeMap;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use jiff::Timestamp;
use serde::Serialize;
use tributary_model::time::{as_millis, millis};

use super::index::{Index, Kind};
use super::marks::State;

/// Counts of the quarantine.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    /// Rows that match the filter, each counted once.
    pub rows: u64,
    pub waiting: u64,
    pub replayed: u64,
    pub came_back: u64,
    /// Lines and objects read, and lines that are not bad rows.
    pub lines: u64,
    pub objects: usize,
    pub unreadable: u64,
    pub kinds: Vec<Counted>,
}

/// Counts of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    pub rows: u64,
    pub waiting: u64,
    pub replayed: u64,
    pub came_back: u64,
    #[serde(with = "as_millis")]
    pub first_rejected_at: Timestamp,
    #[serde(with = "as_millis")]
    pub last_rejected_at: Timestamp,
}

impl Listing {
    pub(super) fn of(index: &Index) -> Self {
        let mut kinds: BTreeMap<&Kind, Counted> = BTreeMap::new();
        for (_, seen, state) in index.wanted() {
            let kind = &index.kinds[seen.kind];
            let counted = kinds.entry(kind).or_insert_with(|| Counted {
                dataset: kind.dataset.clone(),
                code: kind.code.clone(),
                field: kind.field.clone(),
                rows: 0,
                waiting: 0,
                replayed: 0,
                came_back: 0,
                first_rejected_at: seen.rejected_at,
                last_rejected_at: seen.rejected_at,
            });
            counted.rows += 1;
            match state {
                State::Waiting => counted.waiting += 1,
                State::Replayed => counted.replayed += 1,
                State::CameBack => counted.came_back += 1,
            }
            counted.first_rejected_at = counted.first_rejected_at.min(seen.rejected_at);
            counted.last_rejected_at = counted.last_rejected_at.max(seen.rejected_at);
        }
        let kinds: Vec<_> = kinds.into_values().collect();
        let sum = |of: fn(&Counted) -> u64| kinds.iter().map(of).sum();
        Self {
            rows: sum(|it| it.rows),
            waiting: sum(|it| it.waiting),
            replayed: sum(|it| it.replayed),
            came_back: sum(|it| it.came_back),
            lines: index.lines,
            objects: index.objects.len(),
            unreadable: index.unreadable,
            kinds,
        }
    }

    /// Returns a table with one line per kind, and the total.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let head = ["dataset", "code", "field", "rows", "waiting", "replayed", "came back"];
        table.set_header(head.into_iter().chain(["first rejected", "last rejected"]));
        let count = |count: u64| HumanCount(count).to_string();
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        for it in &self.kinds {
            table.add_row([
                text(&it.dataset),
                it.code.clone(),
                text(&it.field),
                count(it.rows),
                count(it.waiting),
                count(it.replayed),
                count(it.came_back),
                millis(it.first_rejected_at),
                millis(it.last_rejected_at),
            ]);
        }
        for column in 3..7 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let (objects, lines) = (HumanCount(self.objects as u64), HumanCount(self.lines));
        let mut text = format!(
            " {} rows, {} of them waiting; {lines} lines in {objects} objects",
            count(self.rows),
            count(self.waiting + self.came_back),
        );
        if self.unreadable > 0 {
            text.extend([", ", &count(self.unreadable), " lines unreadable"]);
        }
        if self.kinds.is_empty() { text } else { format!("{}\n\n{text}", table.trim_fmt()) }
    }

    /// Returns one JSON object.
    pub(super) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }
}
