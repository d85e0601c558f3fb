//! `tributary redrive`: redrives what Lambda, Firehose and SQS set aside.

mod dead_letters;
mod deliveries;
mod outcome;
mod parked;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use jiff::Timestamp;
use tokio::runtime;
use tributary_aws::bucket::{Bucket, Entry};
use tributary_aws::clients::{self, SdkConfig};

use self::outcome::Outcome;
use crate::stack::Stack;
use crate::stop::Stop;
use crate::summary::Format;
use crate::units;

/// Prefix of redriven objects, in front of their old keys.
const REDRIVEN: &str = "redriven/";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Stack, whose outputs name buckets, queues and streams
    #[arg(long, value_name = "NAME")]
    stack: String,

    /// Only this kind; can be repeated
    #[arg(long, value_enum, value_name = "KIND")]
    only: Vec<Kind>,

    /// Redrives; without it, items are only counted, and nothing is sent or moved
    #[arg(long)]
    yes: bool,

    /// Only parked batches of this function, with or without the stack's name
    #[arg(long, value_name = "NAME")]
    function: Option<String>,

    /// Only what was set aside at or after: a time, or a duration before now such as 2h
    #[arg(long, value_name = "WHEN", value_parser = units::moment, allow_hyphen_values = true)]
    since: Option<Timestamp>,

    /// Only what was set aside before: a time, or a duration before now such as 2h
    #[arg(long, value_name = "WHEN", value_parser = units::moment, allow_hyphen_values = true)]
    until: Option<Timestamp>,

    /// Format of the summary
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Kind of item, by the service that set it aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Kind {
    /// Batches that Lambda parked after its last retry
    Parked,
    /// Records that Firehose could not deliver
    Deliveries,
    /// Messages in the dead-letter queue of the ingest queue
    DeadLetters,
}

/// State of a redrive.
struct Redrive<'a> {
    arguments: &'a Arguments,
    config: &'a SdkConfig,
    stack: Stack,
    stop: Stop,
    outcome: Outcome,
}

/// Redrives. Exit codes: 0 when nothing is left over, 1 when something is, 2 for bad arguments and
/// for data that cannot be read or written.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    units::check_order(arguments.since, arguments.until)?;
    let started = Instant::now();
    let stop = Stop::on_signal()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("nothing can be read")?;
    runtime.block_on(async {
        let config = clients::load().await;
        let stack = Stack::read(&config, &arguments.stack).await?;
        let outcome = Outcome { is_dry_run: !arguments.yes, ..Outcome::default() };
        let mut redrive = Redrive { arguments, config: &config, stack, stop, outcome };
        for kind in [Kind::Parked, Kind::Deliveries, Kind::DeadLetters] {
            match kind {
                _ if !redrive.is_wanted(kind) => {}
                Kind::Parked => redrive.parked().await?,
                Kind::Deliveries => redrive.deliveries().await?,
                Kind::DeadLetters => redrive.dead_letters().await?,
            }
        }
        let mut outcome = redrive.outcome;
        outcome.is_stopped = redrive.stop.is_wanted();
        outcome.seconds = (started.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        outcome.show(arguments.format)
    })
}

impl Redrive<'_> {
    fn is_wanted(&self, kind: Kind) -> bool {
        let is_asked_for = self.arguments.only.is_empty() || self.arguments.only.contains(&kind);
        // Only parked batches belong to a function.
        is_asked_for && (self.arguments.function.is_none() || kind == Kind::Parked)
    }

    fn bucket(&self, output: &str) -> Result<Bucket> {
        let name = self.stack.output(output)?.to_owned();
        Ok(Bucket::new(clients::s3(self.config), name))
    }

    /// Lists the objects below a prefix that were written in the time range. Also returns the keys
    /// of objects that an earlier run redrove but could not remove.
    async fn objects(
        &self,
        bucket: &Bucket,
        prefix: &str,
    ) -> Result<(Vec<Entry>, BTreeSet<String>)> {
        let Arguments { since, until, .. } = self.arguments;
        let mut found = bucket.list(prefix, None).await?;
        found.retain(|entry| {
            let is_after = |since: &Timestamp| entry.written_at.is_none_or(|time| time >= *since);
            let is_before = |until: &Timestamp| entry.written_at.is_none_or(|time| time < *until);
            since.as_ref().is_none_or(is_after) && until.as_ref().is_none_or(is_before)
        });
        let done = bucket.list(&format!("{REDRIVEN}{prefix}"), None).await?;
        let key = |entry: Entry| entry.key.strip_prefix(REDRIVEN).map(str::to_owned);
        Ok((found, done.into_iter().filter_map(key).collect()))
    }

    /// Copies a finished object below `redriven/` and removes the original. If the removal fails,
    /// the next run only removes it.
    async fn archive(&self, bucket: &Bucket, key: &str, bytes: Vec<u8>) -> Result<()> {
        bucket.put(&format!("{REDRIVEN}{key}"), bytes).await?;
        bucket.remove(key).await?;
        Ok(())
    }
}
