//! Result of a redrive.

use std::process::ExitCode;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

use crate::output::{self, print_summary};
use crate::summary::Format;

/// Maximum number of leftovers printed one by one.
const MAX_REPORTED: u64 = 10;

/// Counts of a redrive.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    #[serde(rename = "dry_run")]
    pub is_dry_run: bool,
    pub lines: Vec<Line>,
    /// Set if a signal stopped the redrive.
    #[serde(rename = "stopped")]
    pub is_stopped: bool,
    pub seconds: f64,
    #[serde(skip)]
    pub reported: u64,
}

/// Counts of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Function of the batches, delivery of the records, or queue of the messages.
    pub place: String,
    pub kind: &'static str,
    /// Batches, objects or messages found.
    pub waiting: u64,
    /// Records in them, if known.
    pub records: u64,
    pub redriven: u64,
    /// Items still in place after the attempt.
    pub left: u64,
}

impl Outcome {
    /// Returns the line of a place, and adds it if missing.
    pub(super) fn line(&mut self, kind: &'static str, place: &str) -> &mut Line {
        let found = self.lines.iter().position(|line| line.kind == kind && line.place == place);
        let at = found.unwrap_or_else(|| {
            self.lines.push(Line { place: place.to_owned(), kind, ..Line::default() });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }

    /// Counts a leftover, and prints it if it is one of the first 10.
    pub(super) fn report(&mut self, what: &str, why: &str) {
        self.reported += 1;
        if self.reported <= MAX_REPORTED {
            output::eprint_line(&format!("left: {what}: {why}"));
        }
    }

    /// Prints the result. Returns exit code 0 if nothing is left.
    pub(super) fn show(&self, format: Format) -> Result<ExitCode> {
        if self.reported > MAX_REPORTED {
            output::eprint_line(&format!(
                "left: {} more",
                HumanCount(self.reported - MAX_REPORTED)
            ));
        }
        let text = match format {
            Format::Json => serde_json::to_string(self)?,
            Format::Table => self.table(),
        };
        print_summary(&text, false)?;
        let is_left = |line: &Line| line.waiting > line.redriven;
        let is_done = !self.lines.iter().any(is_left) && !self.is_stopped;
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn table(&self) -> String {
        if self.lines.is_empty() {
            return " nothing was set aside".to_owned();
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["kind", "of", "waiting", "records", "redriven", "left"]);
        for line in &self.lines {
            let mut row = vec![line.kind.to_owned(), line.place.clone()];
            let counts = [line.waiting, line.records, line.redriven, line.left];
            row.extend(counts.map(|count| HumanCount(count).to_string()));
            table.add_row(row);
        }
        for column in 2..6 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let stopped = if self.is_stopped { "; stopped before the end" } else { "" };
        let sum = |of: fn(&Line) -> u64| HumanCount(self.lines.iter().map(of).sum());
        let (redriven, left) = (sum(|line| line.redriven), sum(|line| line.left));
        let end = if self.is_dry_run {
            "nothing was sent: --yes does it".to_owned()
        } else {
            format!("{redriven} redriven, {left} left")
        };
        let seconds = self.seconds;
        format!("{}\n\n {end}{stopped}, in {seconds:.2} s", table.trim_fmt())
    }
}
