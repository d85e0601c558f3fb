//! `tributary books`: reconciles the batch counts of all functions.

mod logs;
mod metrics;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp, Unit};
use tokio::runtime;
use tributary_aws::clients;
use tributary_model::time;
use tributary_operate::reconciliation::{
    FunctionSeries, MappingSeries, Reconciliation, Stream, TimeRange,
};

use crate::output::print_line;
use crate::stack::Stack;
use crate::summary::Format;
use crate::units;

/// Streams of a stack, with the functions at their two ends.
const STREAMS: [Stream; 2] = [
    Stream {
        name: "RAW",
        producers: &["ingest-s3", "ingest-http", "ingest-kafka"],
        consumers: &["transform"],
    },
    Stream {
        name: "EVENTS",
        producers: &["transform"],
        consumers: &["metrics", "alerts", "windows"],
    },
];

/// Time until logged counts appear in CloudWatch metrics.
const METRICS_DELAY: SignedDuration = SignedDuration::from_mins(3);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Stack, whose outputs name its functions
    #[arg(long, value_name = "NAME")]
    stack: String,

    /// Start of the time range: a time, or a duration before now such as 1h
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = units::moment,
        allow_hyphen_values = true)]
    since: Timestamp,

    /// End of the time range: a time, or a duration before now [default: now; 3 minutes ago with
    /// metrics]
    #[arg(long, value_name = "WHEN", value_parser = units::moment,
        allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// Maximum time that a record may take from one function to the next
    #[arg(long, value_name = "LENGTH", default_value = "5m", value_parser = units::duration)]
    slack: Duration,

    /// Source of the counts
    #[arg(long, value_enum, default_value_t = From::Metrics)]
    from: From,

    /// Format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Source of the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// CloudWatch metrics, including those of the event source mappings
    Metrics,
    /// Log lines of the functions, exact per batch; also works on a local AWS
    Logs,
}

/// Prints the reconciliation. Exit codes: 0 when the counts reconcile, 1 when they do not, 2 for
/// read errors and bad arguments.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let window = arguments.window(Timestamp::now())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("nothing can be read")?;
    let (functions, mappings) = runtime.block_on(arguments.read(window))?;
    let reconciliation = Reconciliation::of(&STREAMS, &functions, &mappings, window);
    print_line(&match arguments.format {
        Format::Table => table::table(&reconciliation, arguments, window),
        Format::Json => serde_json::to_string(&reconciliation)?,
    })?;
    Ok(if reconciliation.is_balanced() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// Returns the requested time range, rounded down to whole periods if metrics are read.
    fn window(&self, now: Timestamp) -> Result<TimeRange> {
        let slack = SignedDuration::try_from(self.slack)?;
        let (mut since, mut until) = (self.since, self.until.unwrap_or(now));
        if self.from == From::Metrics {
            until = self.until.map_or_else(|| now.checked_sub(METRICS_DELAY), Ok)?;
            let period = metrics::period(since, now);
            since = floor(since, period)?;
            until = floor(until, period)?;
        }
        if since >= until {
            bail!("{since:.0} to {until:.0} is no time range: --since must be before --until");
        }
        if until.duration_since(since) <= slack {
            bail!("{since:.0} to {until:.0} is no longer than the slack of {} s", slack.as_secs());
        }
        Ok(TimeRange { since, until, slack })
    }

    async fn read(&self, window: TimeRange) -> Result<(Vec<FunctionSeries>, Vec<MappingSeries>)> {
        let config = clients::load().await;
        let stack = Stack::read(&config, &self.stack).await?;
        match self.from {
            From::Metrics => metrics::read(&config, &stack, window).await,
            From::Logs => Ok((logs::read(&config, &stack, window).await?, Vec::new())),
        }
    }
}

/// Returns the start of the period that contains a time.
fn floor(time: Timestamp, period: SignedDuration) -> Result<Timestamp> {
    let seconds = period.as_secs();
    let number = time::period(time.round(Unit::Second)?, seconds);
    Ok(Timestamp::from_second(number * seconds)?)
}
