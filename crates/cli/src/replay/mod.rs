//! `tributary replay`: the rows of files as a live feed.

mod checkpoint;
mod input;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tributary_datasets::Dataset;
use tributary_datasets::ingest::{Feed, FeedRow, SourceName, Step};
use tributary_rows::{Limits, Position};

use self::checkpoint::Checkpoint;
use self::input::{Input, Place};
use crate::distinct;
use crate::output::{eprint_line, is_stdout};
use crate::pace::{Pace, Tempo};
use crate::progress::FeedProgress;
use crate::run::{is_damage, named, no_row};
use crate::stop::Stop;
use crate::summary::{self, Format, Report, Throughput};
use crate::target::{Item, Origin, SendResult, Target, TargetName, To};
use crate::units;

/// Bytes per read.
const PIECE: usize = 1 << 18;

/// Interval between checkpoints. Rows sent since the last one may be sent again.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Number of rows between two checks of the clock. With a pace, every row checks it.
const CHECK_EVERY: u64 = 256;

/// Maximum number of bad rows printed one by one.
const MAX_REPORTED: u64 = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// CSV or JSON Lines, plain or gzip: files, objects as `s3://BUCKET/KEY`, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    to: To,

    /// Dataset of the files [default: detected from each header]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// Speed of the rows' own times as a multiple of real time, such as 60x [default: unlimited]
    #[arg(long, value_name = "X", value_parser = units::speed)]
    speed: Option<f64>,

    /// Rows per second of real time
    #[arg(long, value_name = "N/s", value_parser = units::rate, conflicts_with = "speed")]
    rate: Option<f64>,

    /// Number of rows to send in this run
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Starts again at the end, without a limit
    #[arg(long = "loop")]
    again: bool,

    /// File that keeps the progress, from which a later run resumes
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Format of the summary
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Result of a replay.
#[derive(Debug, Serialize)]
struct Summary {
    target: String,
    /// Rows sent in this run.
    records: u64,
    /// Records whose delivery was not confirmed.
    undelivered: u64,
    /// Rows sent more than once because the target did not accept them.
    retried: u64,
    /// Records that the target rejected permanently, in total and by code.
    rejected: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rejected_by_code: BTreeMap<String, u64>,
    /// Rows left out because they cannot be read. The rest of a damaged file counts as one row.
    bad_rows: u64,
    /// Number of completed passes over all files.
    loops: u64,
    /// Set if nothing is left to send.
    finished: bool,
    #[serde(flatten)]
    throughput: Throughput,
}

/// Decision after a row or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Stop,
}

struct Replay<'a> {
    arguments: &'a Arguments,
    /// Place of each file; an object is pinned to a version.
    places: Vec<Place>,
    dataset: Option<&'static dyn Dataset>,
    target: Box<dyn Target>,
    pace: Pace,
    progress: FeedProgress,
    stop: Stop,
    wants_keys: bool,
    /// Position reached so far.
    at: Checkpoint,
    saved: Instant,
    sent: u64,
    bad_rows: u64,
    payload: Vec<u8>,
}

/// Replays until the files or the limit end, or a signal stops it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let dataset = arguments.dataset.as_deref().map(named).transpose()?;
    if arguments.files.iter().any(|file| is_stdout(file))
        && (arguments.again || arguments.checkpoint.is_some() || arguments.files.len() > 1)
    {
        bail!("standard input can be read once: no --loop, no --checkpoint, no other file with it");
    }
    let checkpoint = arguments.checkpoint.as_deref();
    let beside = checkpoint.map(checkpoint::beside);
    let outputs = [
        ("--to", arguments.to.name.file()),
        ("--checkpoint", checkpoint),
        ("the new --checkpoint", beside.as_deref()),
    ];
    distinct::outputs(arguments.files.iter().map(PathBuf::as_path), &outputs)?;
    let mut places = Place::all(&arguments.files)?;
    let name = &arguments.to.name;
    let resumed = match &arguments.checkpoint {
        Some(path) => Checkpoint::load(path, &arguments.files, &mut places, name)?,
        None => None,
    };
    let keep = resumed.as_ref().and_then(|at| at.target_bytes);
    let at = match (resumed, &arguments.checkpoint) {
        (Some(at), _) => at,
        (None, Some(_)) => Checkpoint::new(&arguments.files, &mut places, name)?,
        (None, None) => Checkpoint::new(&[], &mut [], name)?,
    };
    let tempo = match (arguments.rate, arguments.speed) {
        (Some(rate), _) => Tempo::Rate(rate),
        (_, Some(speed)) => Tempo::Speed(speed),
        _ => Tempo::Free,
    };

    let started = Instant::now();
    let target = arguments.to.open(keep)?;
    let stop = Stop::on_signal()?;
    let mut replay = Replay {
        arguments,
        places,
        dataset,
        progress: FeedProgress::new(arguments.limit, target.as_ref(), &stop),
        target,
        pace: Pace::new(tempo),
        stop,
        wants_keys: arguments.to.name.wants_keys(),
        at,
        saved: started,
        sent: 0,
        bad_rows: 0,
        payload: Vec::new(),
    };
    let result = replay.files();
    // Rows sent before a file failed are still delivered.
    replay.target.flush()?;
    replay.save()?;
    replay.finish(started, result)
}

impl Replay<'_> {
    /// Replays all files, repeatedly with `--loop`.
    fn files(&mut self) -> Result<()> {
        loop {
            let sent_before = self.sent;
            while self.at.file < self.arguments.files.len() {
                if self.is_over() || self.file()? == Flow::Stop {
                    return Ok(());
                }
                self.at.file += 1;
                (self.at.offset, self.at.row) = (0, 1);
            }
            if !self.arguments.again {
                return Ok(());
            }
            self.at.loops += 1;
            self.at.file = 0;
            self.pace.begin_again();
            if self.sent == sent_before {
                bail!("there is no row to send: --loop would never end");
            }
        }
    }

    /// Returns whether the limit is reached or a stop is requested.
    fn is_over(&self) -> bool {
        self.stop.is_wanted() || self.arguments.limit.is_some_and(|limit| self.sent >= limit)
    }

    /// Sends the rest of the current file.
    fn file(&mut self) -> Result<Flow> {
        let place = &mut self.places[self.at.file];
        let name = place.to_string();
        let cannot = || format!("{name} cannot be read");
        let mut input = Input::open(place).with_context(cannot)?;
        let mut from = Some(self.at.position()).filter(|position| position.row > 1);
        let resumed = from.is_some();
        let source = place.source();

        let mut feed = Feed::new(self.dataset, Limits::default()).named(&name);
        let mut piece = vec![0; PIECE];
        let mut first = None;
        loop {
            let next = match feed.step() {
                Ok(Step::NeedInput) => {
                    match input.read(&mut piece).with_context(cannot)? {
                        0 => feed.finish(),
                        length => feed.push(&piece[..length]),
                    }
                    continue;
                }
                Ok(Step::Started) => {
                    if let Some(position) = from.take()
                        && let Some(offset) = feed.seek(position)
                    {
                        input.seek(offset).with_context(cannot)?;
                    }
                    continue;
                }
                Ok(Step::Row(row)) => self.row(&row, &source)?,
                Ok(Step::Bad(position, rejection, _)) => {
                    self.bad_row(&source, position, &rejection.message);
                    first.get_or_insert((position.row, rejection.message));
                    Flow::Next
                }
                Ok(Step::End) => {
                    if feed.dataset().is_none() && !resumed {
                        bail!("{name}: {}", no_row(first.as_ref()))
                    }
                    return Ok(Flow::Next);
                }
                Err(refused) => {
                    let (code, message) = (refused.rejection.code, refused.rejection.message);
                    if is_damage(code) && feed.dataset().is_some() {
                        self.bad_row(&source, refused.position, &message);
                        return Ok(Flow::Next);
                    }
                    bail!("{name}: {code}: {message}")
                }
            };
            if next == Flow::Stop {
                return Ok(Flow::Stop);
            }
            let position = feed.position();
            (self.at.offset, self.at.row) = (position.offset, position.row);
            let looks = !self.pace.is_free() || self.sent.is_multiple_of(CHECK_EVERY);
            if looks && self.saved.elapsed() >= SAVE_EVERY {
                self.save()?;
            }
            if self.is_over() || (looks && self.target.status().undelivered > 0) {
                return Ok(Flow::Stop);
            }
        }
    }

    /// Sends one row when it is due. Returns [`Flow::Stop`] if it was not sent.
    fn row(&mut self, row: &FeedRow<'_>, source: &SourceName) -> Result<Flow> {
        self.payload.clear();
        row.write_payload(&mut self.payload);
        let by_time = self.pace.is_by_time();
        let at_ms = by_time.then(|| event_time_ms(row.dataset(), &self.payload)).flatten();
        self.pace.wait(at_ms, self.target.as_mut(), &self.stop)?;
        if self.stop.is_wanted() {
            return Ok(Flow::Stop);
        }
        let key = self.wants_keys.then(|| row.partition_key()).flatten().unwrap_or_default();
        let origin = Origin::Row(source, row.position());
        let dataset = row.dataset().name();
        let item = Item { dataset, key: &key, payload: &self.payload, origin };
        if let SendResult::TooLarge(bytes) = self.target.send(&item)? {
            let message = format!("the record would have {bytes} bytes");
            self.bad_row(source, row.position(), &message);
            return Ok(Flow::Next);
        }
        self.sent += 1;
        self.at.sent += 1;
        self.progress.sent(self.sent);
        Ok(Flow::Next)
    }

    fn bad_row(&mut self, source: &SourceName, position: Position, message: &str) {
        self.bad_rows += 1;
        self.at.bad_rows += 1;
        if self.bad_rows <= MAX_REPORTED {
            eprint_line(&format!("tributary: left out: {}: {message}", source.at(position)));
        }
    }

    /// Writes the checkpoint, if requested, after everything before it was delivered.
    fn save(&mut self) -> Result<()> {
        self.saved = Instant::now();
        let Some(path) = &self.arguments.checkpoint else { return Ok(()) };
        self.at.target_bytes = self.target.sync()?;
        // Undelivered rows are sent again from the last checkpoint on.
        if self.target.status().undelivered > 0 {
            return Ok(());
        }
        self.at.save(path)
    }

    fn finish(self, started: Instant, result: Result<()>) -> Result<ExitCode> {
        self.progress.finish();
        let status = self.target.status();
        let summary = Summary {
            target: self.arguments.to.name.to_string(),
            records: self.sent,
            undelivered: status.undelivered,
            retried: status.retried,
            rejected: status.rejected,
            rejected_by_code: self.target.rejected(),
            bad_rows: self.bad_rows,
            loops: self.at.loops,
            finished: result.is_ok() && self.at.file == self.arguments.files.len(),
            throughput: Throughput::new(self.sent, started.elapsed(), status, &self.pace),
        };
        let details = [
            ("undelivered", summary.undelivered),
            ("retried", summary.retried),
            ("rejected", summary.rejected),
            ("bad rows", summary.bad_rows),
            ("loops", summary.loops),
        ];
        let shown = Report {
            title: &format!("replay to {}", summary.target),
            records: self.sent,
            details: &details,
            throughput: &summary.throughput,
            data_on_stdout: self.arguments.to.name == TargetName::Stdout,
        };
        if self.sent > 0 || result.is_ok() {
            shown.print(&summary, self.arguments.format)?;
        }
        result?;
        Ok(summary::outcome(self.target.as_ref()))
    }
}

/// Returns the event time of a row according to its dataset; `None` if the row is not an event.
fn event_time_ms(dataset: &dyn Dataset, payload: &[u8]) -> Option<i64> {
    let payload = str::from_utf8(payload).ok()?;
    let event = dataset.event(payload, None).ok()?;
    Some(event.event_time.as_millisecond())
}
