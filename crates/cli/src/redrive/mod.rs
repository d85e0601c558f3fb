//! `tributary redrive`: redrives what Lambda, Firehose and SQS set aside.

mod deliveries;
mod parked;

pub(crate) use parked::{client, invoke};

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;
use indicatif::HumanCount;
use jiff::Timestamp;
use serde::Serialize;
use tributary_aws::bucket::{Bucket, Entry};
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::sqs::{Queue as _, Received, SqsQueue};

use crate::output::{eprint_line, print_summary};
use crate::progress::Progress;
use crate::stack::{Stack, with_aws};
use crate::stop::Stop;
use crate::summary::{Format, thousandths};
use crate::table::{shown, table};
use crate::units;

/// Prefix of redriven objects, in front of their old keys.
const REDRIVEN: &str = "redriven/";

/// Maximum number of leftovers printed one by one.
const MAX_REPORTED: u64 = 10;

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
    with_aws(async |config| {
        let stack = Stack::read(config, &arguments.stack).await?;
        let outcome = Outcome { is_dry_run: !arguments.yes, ..Outcome::default() };
        let mut redrive = Redrive { arguments, config, stack, stop, outcome };
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
        outcome.seconds = thousandths(started.elapsed().as_secs_f64());
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

    /// Redrives the dead letters, or counts them in a dry run.
    async fn dead_letters(&mut self) -> Result<()> {
        let queue = |output: &str| -> Result<SqsQueue> {
            let url = self.stack.output(output)?.to_owned();
            Ok(SqsQueue::new(clients::sqs(self.config), url))
        };
        let (letters, source) = (queue("IngestDeadLetterQueueUrl")?, queue("IngestQueueUrl")?);
        let Arguments { yes, since, until, .. } = *self.arguments;
        let mut found = Line { waiting: letters.message_count().await?, ..Line::default() };
        if yes {
            found = self.move_letters(&letters, &source, found.waiting).await?;
        } else if since.is_some() || until.is_some() {
            let mut peeked = Vec::new();
            let counted = self.peek(&letters, found.waiting, &mut peeked).await;
            // All are released, whatever ended the count: others cannot receive a hidden message.
            let mut released = Ok(());
            for message in &peeked {
                released = released.and(letters.release(message).await);
            }
            found.waiting = counted?;
            released?;
        }
        if found.waiting > 0 {
            let Line { waiting, redriven, left, .. } = found;
            let line = self.outcome.line("dead-letters", "ingest queue");
            (line.waiting, line.redriven, line.left) = (waiting, redriven, left);
        }
        Ok(())
    }

    /// Sends each message to the ingest queue, then removes it from the dead-letter queue. If the
    /// process is killed in between, the message is sent twice and its object is read twice, under
    /// the same ids.
    async fn move_letters(
        &self,
        letters: &SqsQueue,
        source: &SqsQueue,
        expected: u64,
    ) -> Result<Line> {
        // A message that fails again may return before the loop ends. It was sent after this time.
        let started = Timestamp::now();
        let (mut moved, mut progress) = (Line::default(), Progress::of_steps(expected, "messages"));
        while !self.stop.is_wanted() {
            let messages = letters.receive().await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                moved.waiting += 1;
                let is_in_time = |sent_at| sent_at < started && self.is_in_range(sent_at);
                if message.sent_at.is_none_or(is_in_time) {
                    source.send(message.body.clone()).await?;
                    letters.remove(&message).await?;
                    moved.redriven += 1;
                } else {
                    moved.left += 1;
                }
                progress.step();
            }
        }
        Ok(moved)
    }

    /// Receives all messages into `peeked`, since only a received message shows when it was sent,
    /// and returns how many are in the range of time.
    async fn peek(
        &self,
        letters: &SqsQueue,
        expected: u64,
        peeked: &mut Vec<Received>,
    ) -> Result<u64> {
        let (mut in_range, mut progress) = (0, Progress::of_steps(expected, "messages"));
        while !self.stop.is_wanted() {
            let messages = letters.receive().await?;
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let is_wanted = message.sent_at.is_none_or(|sent_at| self.is_in_range(sent_at));
                in_range += u64::from(is_wanted);
                progress.step();
                peeked.push(message);
            }
        }
        Ok(in_range)
    }

    /// Lists the objects below a prefix that were written in the time range. Also returns the keys
    /// of objects that an earlier run redrove but could not remove.
    async fn objects(
        &self,
        bucket: &Bucket,
        prefix: &str,
    ) -> Result<(Vec<Entry>, BTreeSet<String>)> {
        let mut found = bucket.list(prefix, None).await?;
        found.retain(|entry| entry.written_at.is_none_or(|time| self.is_in_range(time)));
        let done = bucket.list(&format!("{REDRIVEN}{prefix}"), None).await?;
        let key = |entry: Entry| entry.key.strip_prefix(REDRIVEN).map(str::to_owned);
        Ok((found, done.into_iter().filter_map(key).collect()))
    }

    /// Returns whether a time is in the requested range.
    fn is_in_range(&self, time: Timestamp) -> bool {
        let Arguments { since, until, .. } = self.arguments;
        since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
    }

    /// Archives an object that was redriven, and counts it. Otherwise reports why it is left.
    async fn settle(
        &mut self,
        (kind, place): (&'static str, &str),
        bucket: &Bucket,
        (key, bytes): (&str, Vec<u8>),
        redriven: Result<(), String>,
    ) -> Result<()> {
        match redriven {
            Ok(()) => {
                self.archive(bucket, key, bytes).await?;
                self.outcome.line(kind, place).redriven += 1;
            }
            Err(why) => {
                self.outcome.line(kind, place).left += 1;
                self.outcome.report(key, &why);
            }
        }
        Ok(())
    }

    /// Copies a finished object below `redriven/` and removes the original. If the removal fails,
    /// the next run only removes it.
    async fn archive(&self, bucket: &Bucket, key: &str, bytes: Vec<u8>) -> Result<()> {
        bucket.put(&format!("{REDRIVEN}{key}"), bytes).await?;
        bucket.remove(key).await?;
        Ok(())
    }
}

/// Counts of a redrive.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    #[serde(rename = "dry_run")]
    is_dry_run: bool,
    lines: Vec<Line>,
    /// Set if a signal stopped the redrive.
    #[serde(rename = "stopped")]
    is_stopped: bool,
    seconds: f64,
    #[serde(skip)]
    reported: u64,
}

/// Counts of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Line {
    /// Function of the batches, delivery of the records, or queue of the messages.
    place: String,
    kind: &'static str,
    /// Batches, objects or messages found.
    waiting: u64,
    /// Records in them, if known.
    records: u64,
    redriven: u64,
    /// Items still in place after the attempt.
    left: u64,
}

impl Outcome {
    /// Returns the line of a place, and adds it if missing.
    fn line(&mut self, kind: &'static str, place: &str) -> &mut Line {
        let found = self.lines.iter().position(|line| line.kind == kind && line.place == place);
        let at = found.unwrap_or_else(|| {
            self.lines.push(Line { place: place.to_owned(), kind, ..Line::default() });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }

    /// Counts a leftover, and prints it if it is one of the first 10.
    fn report(&mut self, what: &str, why: &str) {
        self.reported += 1;
        if self.reported <= MAX_REPORTED {
            eprint_line(&format!("left: {what}: {why}"));
        }
    }

    /// Prints the result. Returns exit code 0 if nothing is left.
    fn show(&self, format: Format) -> Result<ExitCode> {
        if self.reported > MAX_REPORTED {
            eprint_line(&format!("left: {} more", HumanCount(self.reported - MAX_REPORTED)));
        }
        print_summary(&format.text(self, || self.table())?, false)?;
        let is_left = |line: &Line| line.waiting > line.redriven;
        let is_done = !self.lines.iter().any(is_left) && !self.is_stopped;
        Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn table(&self) -> String {
        if self.lines.is_empty() {
            return " nothing was set aside".to_owned();
        }
        let header = ["kind", "of", "waiting", "records", "redriven", "left"];
        let mut table = table(header, 2..6);
        for line in &self.lines {
            let counts = [line.waiting, line.records, line.redriven, line.left].map(shown);
            table.add_row([line.kind.to_owned(), line.place.clone()].into_iter().chain(counts));
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
