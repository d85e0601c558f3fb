//! `tributary books`: reconciles the batch counts of all functions.

mod logs;
mod metrics;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp, Unit};
use serde::Serialize;
use tributary_aws::clients::SdkConfig;
use tributary_model::time;
use tributary_operate::reconciliation::{
    FunctionSeries, MappingSeries, Reconciliation, Stream, TimeRange,
};

use self::logs::Versions;
use self::metrics::{COUNTS, MAPPING};
use crate::config::{Store, short};
use crate::output::print_line;
use crate::stack::{Stack, with_aws};
use crate::summary::Format;
use crate::table;
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
    let counts = with_aws(async |config| arguments.read(config, window).await)?;
    let Counts { functions, mappings, config } = counts;
    let reconciliation = Reconciliation::of(&STREAMS, &functions, &mappings, window);
    let books = Books { reconciliation, config };
    print_line(&arguments.format.text(&books, || table(&books, arguments, window))?)?;
    Ok(if books.reconciliation.is_balanced() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts as they were read.
struct Counts {
    functions: Vec<FunctionSeries>,
    mappings: Vec<MappingSeries>,
    config: ConfigVersions,
}

/// Versions of the configuration.
#[derive(Serialize)]
struct ConfigVersions {
    in_use: String,
    /// Versions that each function worked with, where the counts are from logs.
    #[serde(skip_serializing_if = "Versions::is_empty")]
    functions: Versions,
}

/// The reconciliation, and the configurations it is of.
#[derive(Serialize)]
struct Books {
    #[serde(flatten)]
    reconciliation: Reconciliation,
    config: ConfigVersions,
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
        units::check_order(Some(since), Some(until))?;
        if until.duration_since(since) <= slack {
            bail!("{since:.0} to {until:.0} is no longer than the slack of {} s", slack.as_secs());
        }
        Ok(TimeRange { since, until, slack })
    }

    async fn read(&self, config: &SdkConfig, window: TimeRange) -> Result<Counts> {
        let stack = Stack::read(config, &self.stack).await?;
        let (functions, mappings, versions) = match self.from {
            From::Metrics => {
                let (functions, mappings) = metrics::read(config, &stack, window).await?;
                (functions, mappings, Versions::new())
            }
            From::Logs => {
                let (functions, versions) = logs::read(config, &stack, window).await?;
                (functions, Vec::new(), versions)
            }
        };
        let in_use = Store::open(config, stack).await?.in_use();
        Ok(Counts { functions, mappings, config: ConfigVersions { in_use, functions: versions } })
    }
}

/// Returns the start of the period that contains a time.
fn floor(time: Timestamp, period: SignedDuration) -> Result<Timestamp> {
    let seconds = period.as_secs();
    let number = time::period(time.round(Unit::Second)?, seconds);
    Ok(Timestamp::from_second(number * seconds)?)
}

/// Returns the table of the batch counts and the reconciliation.
fn table(books: &Books, arguments: &Arguments, window: TimeRange) -> String {
    let Books { reconciliation, config } = books;
    let from = match arguments.from {
        From::Metrics => "metrics",
        From::Logs => "logs",
    };
    let TimeRange { since, until, slack } = window;
    let name = &arguments.stack;
    let mut parts = vec![format!(" The books of {name}, {since:.0} to {until:.0}, from {from}")];

    let head = ["function"].into_iter().chain(COUNTS.map(|(name, _)| name));
    let rows = reconciliation.functions.iter().map(|it| {
        let mut counts = it.counts;
        ([it.function.as_str()], COUNTS.map(|(_, field)| *field(&mut counts)))
    });
    parts.extend(part(head, rows));

    let head = ["stream", "to", "put", "under way", "taken"];
    let rows = reconciliation.streams.iter();
    let rows = rows.map(|it| ([it.stream, it.consumer], [it.put, it.under_way, it.taken]));
    parts.extend(part(head, rows));

    let head = ["mapping of", "to", "polled", "filtered", "invoked", "failed", "dropped", "parked"];
    let rows = reconciliation.mappings.iter().map(|it| {
        let mut counts = it.counts;
        let names = [it.source.as_str(), &it.function];
        (names, MAPPING.map(|(_, field)| *field(&mut counts)))
    });
    parts.extend(part(head, rows));

    let mut lines = vec![format!(" configuration in use: {}", short(&config.in_use))];
    // Whoever worked with the present one alone needs no line.
    let others = config.functions.iter().filter(|(_, used)| !used.iter().eq([&config.in_use]));
    lines.extend(others.map(|(function, used)| {
        let used: Vec<_> = used.iter().map(|version| short(version)).collect();
        format!("   {function} worked with {}", used.join(" and "))
    }));
    parts.push(lines.join("\n"));
    if !reconciliation.notes.is_empty() {
        parts.push(format!(" note: {}", reconciliation.notes.join("\n note: ")));
    }
    let slack = slack.as_secs();
    parts.push(if reconciliation.is_balanced() {
        format!(" The books balance; what is put in the last {slack} s may be under way.")
    } else {
        format!(" THE BOOKS DO NOT BALANCE:\n   {}", reconciliation.faults.join("\n   "))
    });
    let parts: Vec<_> = parts.iter().map(|part| part.trim_end()).collect();
    parts.join("\n\n")
}

/// Returns a table with names aligned left and counts aligned right, or `None` without rows.
fn part<'a, const NAMES: usize, const COUNTS: usize>(
    head: impl IntoIterator<Item = &'static str>,
    rows: impl Iterator<Item = ([&'a str; NAMES], [u64; COUNTS])>,
) -> Option<String> {
    let mut table = table::table(head, NAMES..NAMES + COUNTS);
    table.add_rows(rows.map(|(names, counts)| {
        names.map(str::to_owned).into_iter().chain(counts.map(table::shown))
    }));
    (!table.is_empty()).then(|| table.trim_fmt())
}
