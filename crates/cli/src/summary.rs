//! Summary of a feed, as a table or as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use indicatif::HumanCount;
use serde::Serialize;

use crate::output::{eprint_line, print_summary};
use crate::pace::Pace;
use crate::table;
use crate::target::{Status, Target};

/// Format of a summary: a table on standard error, or one JSON object on standard output. The
/// object goes to standard error if records go to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

impl Format {
    /// Returns `value` as one JSON object, or else the text of `table`.
    pub(crate) fn text(
        self,
        value: &impl Serialize,
        table: impl FnOnce() -> String,
    ) -> serde_json::Result<String> {
        if self == Self::Json { serde_json::to_string(value) } else { Ok(table()) }
    }
}

/// Throughput of a feed, and whether the target, the pace or the source limited it.
#[derive(Debug, Serialize)]
struct Throughput {
    /// Duration in seconds of wall-clock time.
    seconds: f64,
    /// Records per second.
    rate: u64,
    /// `target` if most of the time was spent waiting for it, `pace` if a tempo was kept, else
    /// `source`.
    slower: &'static str,
    /// Lag behind the tempo at the end, if over 1 second.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind_seconds: Option<f64>,
    /// Share of the time spent waiting for the target.
    waited_share: f64,
}

impl Throughput {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a positive rate, for a person"
    )]
    fn new(records: u64, elapsed: Duration, waited: Duration, pace: &Pace) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-6);
        let waited_share = (waited.as_secs_f64() / seconds).min(1.0);
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

/// Rounds seconds to milliseconds.
pub(crate) fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Result of a feed: what it is, its counts, and those that only such a feed has.
#[derive(Serialize)]
pub(crate) struct Summary<F, C> {
    #[serde(flatten)]
    feed: F,
    /// Records sent in this run.
    records: u64,
    #[serde(flatten)]
    status: Status,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rejected_by_code: BTreeMap<String, u64>,
    #[serde(flatten)]
    counts: C,
    #[serde(flatten)]
    throughput: Throughput,
}

impl<F: Serialize, C: Serialize> Summary<F, C> {
    pub(crate) fn new(
        feed: F,
        records: u64,
        target: &dyn Target,
        counts: C,
        started: Instant,
        pace: &Pace,
    ) -> Self {
        let (status, rejected_by_code) = (target.tally().status(), target.tally().rejected());
        let throughput = Throughput::new(records, started.elapsed(), status.waited, pace);
        Self { feed, records, status, rejected_by_code, counts, throughput }
    }

    /// Prints the summary of the feed `title`, with `details` in the table. Counts that are 0 are
    /// left out of the table.
    pub(crate) fn print(
        &self,
        title: &str,
        details: &[(&str, u64)],
        format: Format,
        data_on_stdout: bool,
    ) -> Result<()> {
        if format == Format::Json {
            return Ok(print_summary(&serde_json::to_string(self)?, data_on_stdout)?);
        }
        let Status { undelivered, retried, rejected, .. } = self.status;
        let all = [("undelivered", undelivered), ("retried", retried), ("rejected", rejected)];
        let others = all.iter().chain(details).filter(|(_, count)| *count > 0);
        let table = table::counts([("records", self.records)].iter().chain(others).copied());
        eprint_line(&format!(" {title}\n{table}\n\n {}", self.throughput.line(self.records)));
        Ok(())
    }
}

/// Returns the exit code, and prints why records are undelivered if any are.
pub(crate) fn outcome(target: &dyn Target) -> ExitCode {
    let undelivered = target.tally().status().undelivered;
    if undelivered == 0 {
        return ExitCode::SUCCESS;
    }
    let why = target.tally().last_error().unwrap_or_else(|| "no answer".to_owned());
    eprint_line(&format!(
        "tributary: {} records were not delivered: {why}",
        HumanCount(undelivered)
    ));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Tempo;

    #[test]
    fn target_is_slower_beyond_half_the_time() {
        let slower = |waited_ms, tempo| {
            let (second, waited) = (Duration::from_secs(1), Duration::from_millis(waited_ms));
            let throughput = Throughput::new(500, second, waited, &Pace::new(tempo));
            (throughput.slower, throughput.waited_share, throughput.rate)
        };

        assert_eq!(slower(700, Tempo::Free), ("target", 0.7, 500));
        assert_eq!(slower(300, Tempo::Free), ("source", 0.3, 500));
        assert_eq!(slower(700, Tempo::Rate(500.0)), ("pace", 0.7, 500));
    }
}
