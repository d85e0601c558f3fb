//! What a replay came to.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;
use tributary_operate::quarantine::QuarantinedRow;

use crate::output::{eprint_line, print_summary};
use crate::summary::Format;

/// So many rows that are left out are told one by one.
const MAX_REPORTED: u64 = 10;

/// The counts of a replay.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    #[serde(rename = "dry_run")]
    pub is_dry_run: bool,
    /// Rows that were asked for.
    pub rows: u64,
    pub already_replayed: u64,
    /// Rows that were not looked at, because of `--limit`.
    pub beyond_limit: u64,
    /// Rows that become events, or that a declared filter drops.
    pub events: u64,
    pub filtered: u64,
    /// Rows that would be rejected again, by code.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Rows that no record can be made of, by reason.
    pub unable: BTreeMap<&'static str, u64>,
    /// Rows that are, or would be, sent; and of them those that are others than in quarantine.
    pub to_send: u64,
    pub mended: u64,
    /// Rows that are in RAW and marked as replayed.
    pub sent: u64,
    pub undelivered: u64,
    /// Whether somebody stopped it.
    #[serde(rename = "stopped")]
    pub is_stopped: bool,
    pub seconds: f64,
    #[serde(skip)]
    pub last_error: Option<String>,
    #[serde(skip)]
    pub reported: u64,
}

impl Outcome {
    /// Tells the first of the rows that are left out.
    pub(super) fn leave_out(&mut self, row: &QuarantinedRow<'_>, why: &str) {
        self.reported += 1;
        if self.reported <= MAX_REPORTED {
            eprint_line(&format!("left out: {} of {}: {why}", row.record_id, row.source));
        }
    }

    fn left_out(&self) -> u64 {
        let rejected: u64 = self.rejected.values().sum();
        let unable: u64 = self.unable.values().sum();
        self.events + self.filtered + rejected + unable - self.to_send
    }

    /// Shows it: on standard error where rows went to standard output. The exit code is 0 where every row that was asked for is, or would be, sent.
    pub(super) fn show(&self, format: Format, data_on_stdout: bool) -> Result<ExitCode> {
        if self.reported > MAX_REPORTED {
            let more = HumanCount(self.reported - MAX_REPORTED);
            eprint_line(&format!("left out: {more} more; --left-out FILE has them all"));
        }
        let text = match format {
            Format::Json => serde_json::to_string(self)?,
            Format::Table => self.table(),
        };
        print_summary(&text, data_on_stdout)?;
        if self.undelivered > 0 {
            let why = self.last_error.as_deref().unwrap_or("no answer");
            eprint_line(&format!(
                "tributary: {} rows were not delivered: {why}",
                HumanCount(self.undelivered)
            ));
        }
        let is_done = self.left_out() == 0 && self.undelivered == 0 && !self.is_stopped;
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut row = |name: &str, count: u64, always: bool| {
            if count > 0 || always {
                table.add_row([name.to_owned(), HumanCount(count).to_string()]);
            }
        };
        row("rows", self.rows, true);
        row("already replayed", self.already_replayed, false);
        row("beyond the limit", self.beyond_limit, false);
        row("become events", self.events, true);
        row("filtered", self.filtered, false);
        row("rejected again", self.rejected.values().sum(), false);
        for (code, count) in &self.rejected {
            row(&format!("  {code}"), *count, true);
        }
        row("cannot be replayed", self.unable.values().sum(), false);
        for (reason, count) in &self.unable {
            row(&format!("  {reason}"), *count, true);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let (to_send, mended) = (HumanCount(self.to_send), HumanCount(self.mended));
        let (sent, seconds) = (HumanCount(self.sent), self.seconds);
        let stopped = if self.is_stopped { "; stopped before the end" } else { "" };
        let end = if self.is_dry_run {
            format!("nothing was sent: --yes sends {to_send} rows, {mended} of them mended")
        } else {
            format!("{sent} of {to_send} rows sent, {mended} mended, in {seconds:.2} s")
        };
        format!("{}\n\n {end}{stopped}", table.trim_fmt())
    }
}
