//! Result of a replay from quarantine.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use indicatif::HumanCount;
use serde::Serialize;
use tributary_operate::quarantine::QuarantinedRow;

use crate::output::{eprint_line, print_summary};
use crate::summary::Format;
use crate::table;

/// Maximum number of skipped rows printed one by one.
const MAX_REPORTED: u64 = 10;

/// Counts of a replay.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    #[serde(rename = "dry_run")]
    pub is_dry_run: bool,
    /// Rows that match the filter.
    pub rows: u64,
    pub already_replayed: u64,
    /// Rows not evaluated because of `--limit`.
    pub beyond_limit: u64,
    /// Rows that become events, and rows that a configured filter drops.
    pub events: u64,
    pub filtered: u64,
    /// Readings that are given to the windows that they are late for.
    pub late: u64,
    /// Rows that would be rejected again, by code.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Rows that cannot be rebuilt into a record, by reason.
    pub unable: BTreeMap<&'static str, u64>,
    /// Rows that are sent, or would be in a dry run; and the repaired ones among them.
    pub to_send: u64,
    pub mended: u64,
    /// Rows that are in RAW or in their windows, and marked as replayed.
    pub sent: u64,
    pub undelivered: u64,
    /// Set if a signal stopped the replay.
    #[serde(rename = "stopped")]
    pub is_stopped: bool,
    pub seconds: f64,
    #[serde(skip)]
    pub last_error: Option<String>,
    #[serde(skip)]
    pub reported: u64,
}

impl Outcome {
    /// Counts a skipped row, and prints it if it is one of the first 10.
    pub(super) fn leave_out(&mut self, row: &QuarantinedRow<'_>, why: &str) {
        self.reported += 1;
        if self.reported <= MAX_REPORTED {
            eprint_line(&format!("left out: {} of {}: {why}", row.record_id, row.source));
        }
    }

    fn left_out(&self) -> u64 {
        let rejected: u64 = self.rejected.values().sum();
        let unable: u64 = self.unable.values().sum();
        self.events + self.filtered + self.late + rejected + unable - self.to_send
    }

    /// Prints the result, on standard error if rows went to standard output. Returns exit code 0 if
    /// every requested row was sent, or would be in a dry run.
    pub(super) fn show(&self, format: Format, data_on_stdout: bool) -> Result<ExitCode> {
        if self.reported > MAX_REPORTED {
            let more = HumanCount(self.reported - MAX_REPORTED);
            eprint_line(&format!("left out: {more} more; --left-out FILE writes all of them"));
        }
        print_summary(&format.text(self, || self.table())?, data_on_stdout)?;
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
        let mut rows = Vec::new();
        let mut row = |name: &str, count: u64, always: bool| {
            rows.extend((count > 0 || always).then(|| (name.to_owned(), count)));
        };
        row("rows", self.rows, true);
        row("already replayed", self.already_replayed, false);
        row("beyond the limit", self.beyond_limit, false);
        row("become events", self.events, true);
        row("filtered", self.filtered, false);
        row("revise windows", self.late, false);
        row("rejected again", self.rejected.values().sum(), false);
        for (code, count) in &self.rejected {
            row(&format!("  {code}"), *count, true);
        }
        row("cannot be replayed", self.unable.values().sum(), false);
        for (reason, count) in &self.unable {
            row(&format!("  {reason}"), *count, true);
        }
        let (to_send, mended) = (HumanCount(self.to_send), HumanCount(self.mended));
        let (sent, seconds) = (HumanCount(self.sent), self.seconds);
        let stopped = if self.is_stopped { "; stopped before the end" } else { "" };
        let end = if self.is_dry_run {
            format!("nothing was sent: --yes sends {to_send} rows, {mended} of them mended")
        } else {
            format!("{sent} of {to_send} rows sent, {mended} mended, in {seconds:.2} s")
        };
        format!("{}\n\n {end}{stopped}", table::counts(rows).trim_fmt())
    }
}
