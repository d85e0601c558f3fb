//! `tributary quarantine replay`: sends bad rows back to RAW, and late readings to their windows.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::deadline::Deadline;
use tributary_aws::kinesis::{MAX_ENTRIES, Stream, StreamRecord};
use tributary_aws::producer::{Outbound, Producer};
use tributary_operate::quarantine::{
    Fixes, NotReplayable, QuarantinedRow, RebuiltRecord, Repair, ReplayVerdict, Replayer,
    SourceKind,
};

use super::filter::{Place, RowFilter};
use super::headers::Headers;
use super::index::{Index, Selected};
use super::late::{LateReadings, Revised};
use super::layer::{Layer, Mark, State};
use super::outcome::Outcome;
use crate::configuration::named;
use crate::output::{Lines, check_distinct, is_stdout};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::summary::{Format, thousandths};

/// Time limit for a batch, after which the replay ends. Throttling passes; a missing network does
/// not.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Maximum record size of a stream, unless its limit was raised.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    filter: RowFilter,

    /// Sends the rows; without it they are only evaluated, and nothing is sent or marked
    #[arg(long)]
    yes: bool,

    /// Stream of raw records, overrides the stack's
    #[arg(long, value_name = "NAME")]
    raw_stream: Option<String>,

    /// Sets a field of the row to the result of an expression over `payload` and `row`; null
    /// removes the field. Can be repeated
    #[arg(long = "set", value_name = "FIELD=CEL")]
    sets: Vec<String>,

    /// Replaces the text of the row before it is parsed, by an expression over `row`
    #[arg(long = "row", value_name = "CEL")]
    row: Option<String>,

    /// Replays only the rows of this file, with its contents: JSON Lines with `record_id` and
    /// `payload` or `row`, as written by `show --format json` and --left-out
    #[arg(long, value_name = "FILE")]
    mended: Option<PathBuf>,

    /// Dataset for rows without a known one
    #[arg(long = "as", value_name = "DATASET")]
    dataset_if_none: Option<String>,

    /// Also sends rows that would be rejected again
    #[arg(long)]
    force: bool,

    /// Also replays rows that were already replayed
    #[arg(long)]
    again: bool,

    /// Maximum number of rows
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// File for the rows that are left out, one JSON object a line with the reason; - is standard
    /// output
    #[arg(long, value_name = "FILE")]
    left_out: Option<PathBuf>,

    /// Maximum bytes of a record, as configured for the functions
    #[arg(long, value_name = "BYTES", default_value_t = MAX_RECORD_BYTES)]
    max_record_bytes: usize,

    /// Format of the summary
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Line of a `--mended` file. Further fields, as `show` writes them, are ignored.
#[derive(Deserialize)]
struct RepairLine {
    record_id: String,
    payload: Option<Box<RawValue>>,
    row: Option<String>,
}

/// State of a replay.
struct Replay<'a> {
    arguments: &'a Arguments,
    replayer: Replayer,
    mended: Option<HashMap<String, Repair>>,
    headers: Headers,
    /// Stream that rows are sent to; `None` in a dry run.
    raw: Option<Producer<Stream>>,
    /// Function that late readings are sent to; `None` without a stack.
    windows: Option<LateReadings>,
    index: Index,
    /// Rows evaluated but not sent yet.
    pending: Vec<(RebuiltRecord, Mark)>,
    left_out: Lines,
    outcome: Outcome,
}

/// Replays the requested rows and prints the result.
pub(super) async fn run(arguments: &Arguments, config: &SdkConfig) -> Result<ExitCode> {
    let started = Instant::now();
    let stop = Stop::on_signal()?;
    arguments.filter.check()?;
    let replayer = replayer(arguments)?;
    let mended = arguments.mended.as_deref().map(read_repairs).transpose()?;
    check_distinct(arguments.mended.as_deref(), &[("--left-out", arguments.left_out.as_deref())])?;
    let left_out = Lines::open(arguments.left_out.as_deref())?;
    let (layer, stack) = arguments.place.open(config).await?;
    let raw_stream = match (&arguments.raw_stream, &stack) {
        (Some(stream), _) => Some(stream.as_str()),
        (None, Some(stack)) => Some(stack.output("RawStreamName")?),
        (None, None) => None,
    };
    let raw = match raw_stream {
        _ if !arguments.yes => None,
        Some(stream) => {
            let max = arguments.max_record_bytes;
            Some(Producer::new(Stream::new(clients::kinesis(config), stream.to_owned(), max)))
        }
        None => bail!("the raw stream is unknown: expected --stack or --raw-stream"),
    };

    let function = stack.as_ref().and_then(|stack| stack.output("WindowsFunctionName").ok());
    let windows = function.map(|function| LateReadings::new(config, function));
    let headers = Headers::new(config, replayer.transformer.datasets());
    let mut replay = Replay {
        arguments,
        replayer,
        mended,
        headers,
        raw,
        windows,
        index: Index::read(&layer, &arguments.filter).await?,
        pending: Vec::new(),
        left_out,
        outcome: Outcome { is_dry_run: !arguments.yes, ..Outcome::default() },
    };
    replay.objects(&layer, &stop).await?;
    let Replay { left_out, mut outcome, .. } = replay;
    left_out.finish()?;
    outcome.seconds = thousandths(started.elapsed().as_secs_f64());
    let on_stdout = arguments.left_out.as_deref().is_some_and(is_stdout);
    outcome.show(arguments.format, on_stdout)
}

impl Replay<'_> {
    /// Chooses the rows to replay.
    fn select(&mut self) -> Selected {
        let (index, outcome) = (&self.index, &mut self.outcome);
        let mut wanted: Vec<_> = index.wanted().collect();
        wanted.retain(|(id, ..)| self.mended.as_ref().is_none_or(|it| it.contains_key(*id)));
        outcome.rows = wanted.len() as u64;
        wanted.retain(|(.., state)| *state != State::Replayed || self.arguments.again);
        outcome.already_replayed = outcome.rows - wanted.len() as u64;
        let limit = self.arguments.limit.unwrap_or(usize::MAX);
        let (selected, beyond_limit) = index.select(limit, wanted.into_iter());
        outcome.beyond_limit = beyond_limit as u64;
        selected
    }

    /// Replays the selected rows, object by object.
    async fn objects(&mut self, layer: &Layer, stop: &Stop) -> Result<()> {
        let mut selected = self.select();
        let mut fetch = layer.fetch(selected.objects.clone());
        let mut progress = Progress::of_steps(selected.rows.len() as u64, "rows");
        'rows: while let Some((key, bytes)) = fetch.next().await? {
            for line in selected.lines(&key, &bytes) {
                if stop.is_wanted() {
                    self.outcome.is_stopped = true;
                    break 'rows;
                }
                self.row(&QuarantinedRow::from_json(&line)?).await?;
                progress.step();
                if self.pending.len() >= MAX_ENTRIES {
                    self.flush().await?;
                }
                if self.windows.as_ref().is_some_and(LateReadings::is_full) {
                    self.revise().await?;
                }
                if self.outcome.undelivered > 0 {
                    break 'rows;
                }
            }
        }
        self.flush().await?;
        self.revise().await
    }

    /// Evaluates one row.
    async fn row(&mut self, row: &QuarantinedRow<'_>) -> Result<()> {
        let own = Repair::default();
        let by_hand = self.mended.as_ref().and_then(|mended| mended.get(row.record_id.as_ref()));
        let mended = by_hand.unwrap_or(&own);
        let header = match row.source_kind() {
            SourceKind::Object(place) if Replayer::needs_columns(row, mended) => {
                self.headers.of(&place).await
            }
            _ => Ok(None),
        };
        let verdict = match header {
            Ok(header) => self.replayer.evaluate(row, header, mended),
            Err(unable) => ReplayVerdict::NotReplayable(unable),
        };
        match verdict {
            ReplayVerdict::Event(rebuilt) => {
                self.outcome.events += 1;
                self.send_later(row, rebuilt);
            }
            ReplayVerdict::Filtered(rebuilt) => {
                self.outcome.filtered += 1;
                self.send_later(row, rebuilt);
            }
            ReplayVerdict::Rejected(rejection, rebuilt) => {
                let code = rejection.code.as_str();
                *self.outcome.rejected.entry(code).or_default() += 1;
                match rebuilt {
                    Some(rebuilt) if self.arguments.force => self.send_later(row, rebuilt),
                    _ => {
                        let field = rejection.field.map(|field| format!(" of {field}"));
                        let field = field.unwrap_or_default();
                        let why = format!("{code}{field}: {}", rejection.message);
                        self.leave_out(row, &why)?;
                    }
                }
            }
            ReplayVerdict::Late(event) => {
                self.outcome.late += 1;
                let Some(windows) = &mut self.windows else {
                    return self.leave_out(row, "is late for a window: expected --stack");
                };
                self.outcome.to_send += 1;
                if self.arguments.yes {
                    windows.add(event, mark_of(row, false));
                }
            }
            ReplayVerdict::NotReplayable(NotReplayable { code, message }) => {
                *self.outcome.unable.entry(code).or_default() += 1;
                self.leave_out(row, &message)?;
            }
        }
        Ok(())
    }

    fn send_later(&mut self, row: &QuarantinedRow<'_>, rebuilt: RebuiltRecord) {
        self.outcome.to_send += 1;
        self.outcome.mended += u64::from(rebuilt.is_repaired);
        if self.raw.is_none() {
            return;
        }
        let mark = mark_of(row, rebuilt.is_repaired);
        self.pending.push((rebuilt, mark));
    }

    fn leave_out(&mut self, row: &QuarantinedRow<'_>, why: &str) -> Result<()> {
        self.outcome.leave_out(row, why);
        if self.arguments.left_out.is_some() {
            let state = self.index.marks.state(&row.record_id, row.rejected_at);
            let decoded = super::show::Decoded::of(row, state, Some(why.to_owned()));
            self.left_out.value(&decoded)?;
        }
        Ok(())
    }

    /// Sends the pending rows and marks those that were accepted. If the process is killed in
    /// between, the next replay sends the rows again under the same ids.
    async fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let (Some(raw), false) = (&self.raw, pending.is_empty()) else { return Ok(()) };
        let (rebuilt, marks): (Vec<_>, Vec<_>) = pending.into_iter().unzip();
        let record = |(position, it): (usize, RebuiltRecord)| Outbound {
            position,
            entry: StreamRecord::new(&it.partition_key, it.data),
        };
        let records: Vec<_> = rebuilt.into_iter().enumerate().map(record).collect();
        let delivery = raw.send(&records, Deadline::after(TIMEOUT)).await?;
        let marks = marks.into_iter().enumerate();
        let sent = marks.filter(|(position, _)| !delivery.undelivered.contains(position));
        let marks: Vec<_> = sent.map(|(_, mark)| mark).collect();
        self.outcome.undelivered += delivery.undelivered.len() as u64;
        self.outcome.last_error = delivery.last_error.or(self.outcome.last_error.take());
        self.mark(&marks).await
    }

    /// Gives the late readings to their windows and marks those that are in them.
    async fn revise(&mut self) -> Result<()> {
        let Some(windows) = &mut self.windows else { return Ok(()) };
        let Revised { marks, undelivered, error } = windows.flush().await?;
        self.outcome.undelivered += undelivered;
        self.outcome.last_error = error.or(self.outcome.last_error.take());
        self.mark(&marks).await
    }

    async fn mark(&mut self, marks: &[Mark]) -> Result<()> {
        self.outcome.sent += marks.len() as u64;
        self.index.marks.write(marks).await.with_context(|| {
            format!("{} rows were sent and could not be marked as replayed", marks.len())
        })
    }
}

fn mark_of(row: &QuarantinedRow<'_>, is_repaired: bool) -> Mark {
    Mark {
        record_id: row.record_id.clone().into_owned(),
        rejected_at: row.rejected_at,
        code: row.code.clone().into_owned(),
        replayed_at: Timestamp::now(),
        mended: is_repaired,
    }
}

fn replayer(arguments: &Arguments) -> Result<Replayer> {
    let transformer = arguments.filter.configuration.load()?.transformer()?;
    let fixes = Fixes::compile(arguments.row.as_deref(), &arguments.sets)?;
    let named = |name: &str| named(transformer.datasets(), name).context("--as");
    let dataset = arguments.dataset_if_none.as_deref().map(named).transpose()?;
    Ok(Replayer { fixes, dataset, ..Replayer::new(transformer, arguments.max_record_bytes) })
}

/// Reads the repaired rows of a `--mended` file, by record id.
fn read_repairs(path: &Path) -> Result<HashMap<String, Repair>> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("{} cannot be read", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        let RepairLine { record_id, payload, row } = serde_json::from_str(line)
            .with_context(|| format!("{}, line {}", path.display(), number + 1))?;
        if payload.is_none() && row.is_none() {
            let name = path.display();
            bail!("{name}, line {}: has neither `payload` nor `row`", number + 1);
        }
        Ok((record_id, Repair { payload, row }))
    };
    lines.map(row).collect()
}
