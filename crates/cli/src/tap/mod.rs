//! `tributary tap`: follows a stream.

mod lineage;
mod shards;
mod show;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::HumanCount;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::{select, time};
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::tail::{Reader, Shard, Start};
use tributary_kpl as kpl;
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_rows::object_fault;
use tributary_rules::filter::Filter;

use self::lineage::Lineage;
use self::shards::{Batch, EndedShard, ReadStats, Tail};
use self::show::{DisplayRecord, Format, Screen};
use crate::output::eprint_line;
use crate::stack::with_aws;
use crate::stop::Stop;
use crate::units;

/// Maximum wait between two checks of the stop flag.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// Maximum number of pages queued for display.
const PAGES: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Stream, in the account and region of the AWS environment
    #[arg(value_name = "STREAM")]
    stream: String,

    /// Shows only records for which this CEL expression holds, such as
    /// `event.measures.temperature_c > 30` or `event.payload.sensor_id == 's-1'`
    #[arg(long = "where", value_name = "CEL")]
    filter: Option<String>,

    /// Start: latest, start, a time, or a duration before now such as 15m
    #[arg(long, value_name = "WHEN", default_value = "latest", value_parser = units::from,
        allow_hyphen_values = true)]
    from: Start,

    /// Number of records to show
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Format of the records [default: table on a terminal, else json]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Counts of records.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    shown: u64,
    filtered: u64,
    undecodable: u64,
    /// Records for which the expression failed.
    unanswered: u64,
}

struct Tap<'a> {
    arguments: &'a Arguments,
    filter: Option<Filter>,
    screen: Screen,
    stop: Stop,
    counts: Counts,
    lineage: Lineage,
    stats: Arc<ReadStats>,
}

/// Shows a stream until the limit or the end of all shards is reached, or a signal stops it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let compile = |text: &String| Filter::compile("--where", text);
    let mut tap = Tap {
        arguments,
        filter: arguments.filter.as_ref().map(compile).transpose()?,
        screen: Screen::new(arguments.format),
        stop: Stop::on_signal()?,
        counts: Counts::default(),
        lineage: Lineage::default(),
        stats: Arc::default(),
    };
    let result = with_aws(async |config| tap.tail(config).await);
    let result = result.and_then(|()| Ok(tap.screen.flush()?));
    // The reader of our output may have closed the pipe. The counts still go to standard error.
    tap.report();
    result.map(|()| ExitCode::SUCCESS)
}

impl Tap<'_> {
    async fn tail(&mut self, config: &SdkConfig) -> Result<()> {
        let reader = Reader::new(clients::kinesis(config), self.arguments.stream.clone());
        let (sender, mut batches) = mpsc::channel(PAGES);
        let mut tails: JoinSet<Result<EndedShard>> = JoinSet::new();
        // Every record of a shard that does not exist yet is later than now.
        let first = self.arguments.from.clone();
        let later = if first == Start::Latest { Start::Oldest } else { first.clone() };
        let stats = Arc::clone(&self.stats);
        let follow = |tails: &mut JoinSet<_>, shard, start: &Start| {
            let tail = Tail::new(reader.clone(), shard, start.clone(), Arc::clone(&stats));
            tails.spawn(tail.run(sender.clone()));
        };
        let shards = reader.shards().await?;
        // A closed shard has no records later than now.
        let is_wanted = |shard: &Shard| first != Start::Latest || shard.is_open;
        for shard in self.lineage.add(shards.into_iter().filter(is_wanted)) {
            follow(&mut tails, shard, &first);
        }
        let mut tick = time::interval(MAX_SLEEP);
        while !self.is_over() {
            select! {
                biased;
                Some(batch) = batches.recv() => self.show(&batch)?,
                Some(ended) = tails.join_next() => {
                    let (shard, children) = ended.context("a shard was lost")??;
                    for shard in self.lineage.ended(&shard, children) {
                        follow(&mut tails, shard, &later);
                    }
                }
                _ = tick.tick() => {
                    // Nothing more will arrive: the stream was deleted, or all shards are closed.
                    if tails.is_empty() && batches.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        let is_enough = |limit| self.counts.shown >= limit;
        self.stop.is_wanted() || self.arguments.limit.is_some_and(is_enough)
    }

    fn show(&mut self, batch: &Batch) -> Result<()> {
        for record in &batch.records {
            let (shard, number) = (&*batch.shard, record.sequence_number.as_str());
            let mut shown = DisplayRecord {
                arrived_at: record.arrived_at,
                partition_key: &record.partition_key,
                data: &record.data,
            };
            let at = record.arrived_at;
            let origin = || Origin::of_record(shard, number, at);
            match kpl::user_records(&record.data) {
                None => self.record(&shown, origin)?,
                Some(Ok(user_records)) => {
                    for (index, user_record) in user_records.iter().enumerate() {
                        shown.partition_key = user_record.partition_key;
                        shown.data = user_record.data;
                        self.record(&shown, || Origin::of_user_record(shard, number, index, at))?;
                    }
                }
                Some(Err(fault)) => {
                    let rejection = Rejection::row(Code::BrokenAggregate, fault.to_string());
                    self.undecodable(&shown, &rejection, &origin())?;
                }
            }
            if self.is_over() {
                break;
            }
        }
        Ok(self.screen.flush()?)
    }

    /// Shows one user record if it passes the filter.
    fn record<'o>(
        &mut self,
        record: &DisplayRecord<'_>,
        origin: impl FnOnce() -> Origin<'o>,
    ) -> io::Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let text = match object(record.data) {
            Ok(text) => text,
            // The filter cannot be evaluated on it, and such a record must not be dropped silently.
            Err(rejection) => return self.undecodable(record, &rejection, &origin()),
        };
        match self.filter.as_ref().map_or(Ok(true), |filter| filter.holds(text)) {
            Ok(true) => {
                self.counts.shown += 1;
                self.screen.object(record, text)?;
            }
            Ok(false) => self.counts.filtered += 1,
            Err(error) => {
                self.counts.unanswered += 1;
                if self.counts.unanswered == 1 {
                    eprint_line(&format!("tributary: --where failed for a record: {error}"));
                }
            }
        }
        Ok(())
    }

    fn undecodable(
        &mut self,
        record: &DisplayRecord<'_>,
        rejection: &Rejection,
        origin: &Origin<'_>,
    ) -> io::Result<()> {
        if self.is_over() {
            return Ok(());
        }
        self.counts.shown += 1;
        self.counts.undecodable += 1;
        self.screen.undecodable(record, rejection, origin)
    }

    /// `raw: 1,234 shown, 17 filtered, 2 undecodable; 3 reads throttled; 4 shards`
    fn report(&self) {
        let Counts { shown, filtered, undecodable, unanswered } = self.counts;
        let mut text = format!(
            "{} shown, {} filtered, {} undecodable",
            HumanCount(shown),
            HumanCount(filtered),
            HumanCount(undecodable)
        );
        let shards = self.lineage.begun() as u64;
        let plural = if shards == 1 { "" } else { "s" };
        let more = [
            (unanswered, ", ", "with --where errors"),
            (self.stats.throttled.load(Relaxed), "; ", "reads throttled"),
            (self.stats.renewed.load(Relaxed), "; ", "iterators renewed"),
        ];
        for (count, before, what) in more {
            if count > 0 {
                text.extend([before, &HumanCount(count).to_string(), " ", what]);
            }
        }
        let (stream, shards) = (&self.arguments.stream, HumanCount(shards));
        eprint_line(&format!("tributary: {stream}: {text}; {shards} shard{plural}"));
    }
}

/// Returns the text of a record, which must be one JSON object.
fn object(data: &[u8]) -> Result<&str, Rejection> {
    let text = str::from_utf8(data).map_err(|error| {
        let message = format!("byte {} of the record is not UTF-8", error.valid_up_to());
        Rejection::row(Code::NotUtf8, message)
    })?;
    match object_fault(text) {
        None => Ok(text),
        Some(fault) => Err(Rejection::row(Code::InvalidJson, fault)),
    }
}
