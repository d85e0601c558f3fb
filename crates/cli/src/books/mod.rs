//! `tributary books`: whether what all functions say of their records balances.

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
use tributary_operate::reconciliation::{FunctionSeries, MappingSeries, Reconciliation, TimeRange};

use crate::output::print_line;
use crate::stack::Stack;
use crate::summary::Format;
use crate::units;

/// Counts are in CloudWatch this long after they were logged.
const METRICS_DELAY: SignedDuration = SignedDuration::from_mins(3);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The stack, whose outputs name its functions
    #[arg(long, value_name = "NAME")]
    stack: String,

    /// From when on: a time, or a span such as 1h before now
    #[arg(long, value_name = "WHEN", default_value = "1h", value_parser = units::moment,
        allow_hyphen_values = true)]
    since: Timestamp,

    /// Up to when: a time, or a span before now [default: now, of metrics three minutes ago]
    #[arg(long, value_name = "WHEN", value_parser = units::moment,
        allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// How long a record may be under way from one function to the next
    #[arg(long, value_name = "LENGTH", default_value = "5m", value_parser = units::duration)]
    slack: Duration,

    /// Where counts are read
    #[arg(long, value_enum, default_value_t = From::Metrics)]
    from: From,

    /// How the books are shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Where the functions' counts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// CloudWatch metrics, with those of the event source mappings
    Metrics,
    /// The lines that the functions log, to the batch; works on a local AWS too
    Logs,
}

/// Exit codes: 0 when the books balance, 1 when they do not, 2 for what cannot be read or asked for.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let window = arguments.window(Timestamp::now())?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("nothing can be read")?;
    let (functions, mappings) = runtime.block_on(arguments.read(window))?;
    let reconciliation = Reconciliation::of(&functions, &mappings, window);
    print_line(&match arguments.format {
        Format::Table => table::table(&reconciliation, arguments, window),
        Format::Json => serde_json::to_string(&reconciliation)?,
    })?;
    Ok(if reconciliation.is_balanced() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Arguments {
    /// The window that is asked for; of metrics in whole minutes, in which they are counted.
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
            bail!("there is nothing between {since:.0} and {until:.0}");
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

/// The beginning of the period that a time is in.
fn floor(time: Timestamp, period: SignedDuration) -> Result<Timestamp> {
    let seconds = period.as_secs();
    let number = time::period(time.round(Unit::Second)?, seconds);
    Ok(Timestamp::from_second(number * seconds)?)
}
