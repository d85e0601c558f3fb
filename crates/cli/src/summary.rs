//! Summary of a feed, as a table or as JSON.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::HumanCount;
use serde::Serialize;

use crate::output::{eprint_line, print_summary};
use crate::pace::Pace;
use crate::target::{Status, Target};

/// Format of a summary: a table on standard error, or one JSON object on standard output. The
/// object goes to standard error if records go to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

/// Throughput of a feed, and whether the target, the pace or the source limited it.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    /// Duration in seconds of wall-clock time.
    pub seconds: f64,
    /// Records per second.
    pub rate: u64,
    /// `target` if most of the time was spent waiting for it, `pace` if a tempo was kept, else
    /// `source`.
    pub slower: &'static str,
    /// Lag behind the tempo at the end, if over 1 second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind_seconds: Option<f64>,
    /// Share of the time spent waiting for the target.
    pub waited_share: f64,
}

impl Throughput {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a positive rate, for a person"
    )]
    pub(crate) fn new(records: u64, elapsed: Duration, status: Status, pace: &Pace) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let waited_share = (status.waited.as_secs_f64() / seconds).min(1.0);
        let behind = pace.behind();
        let slower = match behind {
            None if !pace.is_free() => "pace",
            _ if waited_share > 0.5 => "target",
            _ => "source",
        };
        Self {
            seconds: thousandths(seconds),
            rate: (records as f64 / seconds).round() as u64,
            slower,
            behind_seconds: behind.map(|lag| thousandths(lag.as_secs_f64())),
            waited_share: thousandths(waited_share),
        }
    }

    /// Returns one line of text. Writing to a string cannot fail.
    fn line(&self, records: u64) -> String {
        let mut line = format!(
            "{} records in {:.2} s, {} a second",
            HumanCount(records),
            self.seconds,
            HumanCount(self.rate)
        );
        if let Some(behind) = self.behind_seconds {
            let _ = write!(line, "; {behind:.1} s behind its pace");
        }
        if self.slower == "target" {
            let _ = write!(
                line,
                "; limited by the target: {:.0} % of the time was spent waiting for it",
                100.0 * self.waited_share
            );
        }
        line
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Summary as a table.
pub(crate) struct Report<'a> {
    /// Name of the feed and its target.
    pub title: &'a str,
    pub records: u64,
    /// Further counts. Those that are 0 are left out.
    pub details: &'a [(&'a str, u64)],
    pub throughput: &'a Throughput,
    /// Set if records go to standard output.
    pub data_on_stdout: bool,
}

impl Report<'_> {
    /// Prints the summary; `summary` holds the same values for JSON.
    pub(crate) fn print(&self, summary: &impl Serialize, format: Format) -> Result<()> {
        if format == Format::Json {
            let text = serde_json::to_string(summary)?;
            return Ok(print_summary(&text, self.data_on_stdout)?);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let counts = self.details.iter().filter(|(_, count)| *count > 0);
        for (name, count) in [("records", self.records)].iter().chain(counts) {
            table.add_row([(*name).to_owned(), HumanCount(*count).to_string()]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        eprint_line(&format!(
            " {}\n{table}\n\n {}",
            self.title,
            self.throughput.line(self.records)
        ));
        Ok(())
    }
}

/// Returns the exit code, and prints why records are undelivered if any are.
pub(crate) fn outcome(target: &dyn Target) -> ExitCode {
    let undelivered = target.status().undelivered;
    if undelivered == 0 {
        return ExitCode::SUCCESS;
    }
    let why = target.last_error().unwrap_or_else(|| "no answer".to_owned());
    eprint_line(&format!(
        "tributary: {} records were not delivered: {why}",
        HumanCount(undelivered)
    ));
    ExitCode::FAILURE
}
