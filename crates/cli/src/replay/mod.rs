//! `tributary replay`: the rows of files as a live feed.

mod checkpoint;
mod input;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tributary_datasets::ingest::{FeedRow, SourceName};
use tributary_datasets::{Dataset, Datasets};
use tributary_rows::Position;

use self::checkpoint::Checkpoint;
use self::input::{Input, Place};
use crate::configuration::{ConfigArguments, named};
use crate::output::{check_distinct, eprint_line, is_stdout};
use crate::pace::{Pace, Tempo};
use crate::progress::FeedProgress;
use crate::rows::{Flow, Found, read_rows};
use crate::stop::Stop;
use crate::summary::{self, Format, Summary};
use crate::target::{Item, Origin, SendResult, Target, TargetName, To};
use crate::units;

/// Interval between checkpoints. Rows sent since the last one may be sent again.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Number of rows between two checks of the clock. With a pace, every row checks it.
const CHECK_EVERY: u64 = 256;

/// Maximum number of bad rows printed one by one.
const MAX_REPORTED: u64 = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// CSV or JSON, plain or gzip: files, objects as `s3://BUCKET/KEY`, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    to: To,

    /// Dataset of the files [default: detected from each header]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    #[command(flatten)]
    configuration: ConfigArguments,

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

/// Result of a replay, beside that of any feed.
#[derive(Serialize)]
struct Counts {
    /// Rows left out because they cannot be read. The rest of a damaged file counts as one row.
    bad_rows: u64,
    /// Number of completed passes over all files.
    loops: u64,
    /// Set if nothing is left to send.
    finished: bool,
}

struct Replay<'a> {
    arguments: &'a Arguments,
    /// Place of each file; an object is pinned to a version.
    places: Vec<Place>,
    datasets: Datasets,
    dataset: Option<Arc<Dataset>>,
    target: Box<dyn Target>,
    pace: Pace,
    progress: FeedProgress,
    stop: Stop,
    /// Position reached so far.
    at: Checkpoint,
    saved: Instant,
    sent: u64,
    bad_rows: u64,
    payload: Vec<u8>,
}

/// Replays until the files or the limit end, or a signal stops it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let datasets = arguments.configuration.load()?.datasets;
    let dataset = arguments.dataset.as_deref().map(|name| named(&datasets, name)).transpose()?;
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
    check_distinct(arguments.files.iter().map(PathBuf::as_path), &outputs)?;
    let mut places = Place::all(&arguments.files)?;
    let name = &arguments.to.name;
    let at = match &arguments.checkpoint {
        Some(path) => Checkpoint::open(path, &arguments.files, &mut places, name)?,
        None => Checkpoint::new(&[], &mut [], name)?,
    };
    let tempo = Tempo::of(arguments.rate, arguments.speed);

    let started = Instant::now();
    let target = arguments.to.open(at.target_bytes)?;
    let stop = Stop::on_signal()?;
    let mut replay = Replay {
        arguments,
        places,
        datasets,
        dataset,
        progress: FeedProgress::new(arguments.limit, target.as_ref(), &stop),
        target,
        pace: Pace::new(tempo),
        stop,
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
                if self.is_over() || self.file()?.is_break() {
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
        let input = Input::open(place).with_context(|| format!("{name} cannot be read"))?;
        let from = Position { offset: self.at.offset, row: self.at.row };
        let resume = (from.row > 1).then_some((from, Input::seek as fn(&mut _, _) -> _));
        let source = place.source();
        let datasets = self.datasets.clone();
        read_rows(&name, &datasets, self.dataset.clone(), input, resume, |found| match found {
            Found::Bytes(_) => Ok(Flow::Continue(())),
            Found::Row(row) => self.row(&row, &source),
            Found::Bad(position, rejection, ..) => {
                self.bad_row(&source, position, &rejection.message);
                Ok(Flow::Continue(()))
            }
            Found::Reached(position) => self.reached(position),
        })
    }

    /// Saves the position from time to time. Breaks if the replay is over.
    fn reached(&mut self, position: Position) -> Result<Flow> {
        (self.at.offset, self.at.row) = (position.offset, position.row);
        let looks = !self.pace.is_free() || self.sent.is_multiple_of(CHECK_EVERY);
        if looks && self.saved.elapsed() >= SAVE_EVERY {
            self.save()?;
        }
        let is_over = self.is_over() || (looks && self.has_undelivered());
        Ok(if is_over { Flow::Break(()) } else { Flow::Continue(()) })
    }

    fn has_undelivered(&self) -> bool {
        self.target.tally().status().undelivered > 0
    }

    /// Sends one row when it is due. Breaks if it was not sent.
    fn row(&mut self, row: &FeedRow<'_>, source: &SourceName) -> Result<Flow> {
        self.payload.clear();
        row.write_payload(&mut self.payload);
        let by_time = self.pace.is_by_time();
        let at_ms = by_time.then(|| event_time_ms(row.dataset(), &self.payload)).flatten();
        self.pace.wait(at_ms, self.target.as_mut(), &self.stop)?;
        if self.stop.is_wanted() {
            return Ok(Flow::Break(()));
        }
        let key = self
            .arguments
            .to
            .name
            .wants_keys()
            .then(|| row.partition_key())
            .flatten()
            .unwrap_or_default();
        let origin = Origin::Row(source, row.position());
        let dataset = row.dataset().name();
        let item = Item { dataset, key: &key, payload: &self.payload, origin };
        let result = self.target.send(&item)?;
        if let SendResult::TooLarge(bytes) = result {
            let message = format!("the record would have {bytes} bytes");
            self.bad_row(source, row.position(), &message);
            return Ok(Flow::Continue(()));
        }
        self.sent += 1;
        self.at.sent += 1;
        self.progress.sent(self.sent);
        Ok(if result == SendResult::Failed { Flow::Break(()) } else { Flow::Continue(()) })
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
        if self.has_undelivered() {
            return Ok(());
        }
        self.at.save(path)
    }

    fn finish(self, started: Instant, result: Result<()>) -> Result<ExitCode> {
        self.progress.finish();
        let counts = Counts {
            bad_rows: self.bad_rows,
            loops: self.at.loops,
            finished: result.is_ok() && self.at.file == self.arguments.files.len(),
        };
        let details = [("bad rows", counts.bad_rows), ("loops", counts.loops)];
        let To { name, .. } = &self.arguments.to;
        let feed = BTreeMap::from([("target", name.to_string())]);
        let target = self.target.as_ref();
        let summary = Summary::new(feed, self.sent, target, counts, started, &self.pace);
        if self.sent > 0 || result.is_ok() {
            let title = format!("replay to {name}");
            let on_stdout = *name == TargetName::Stdout;
            summary.print(&title, &details, self.arguments.format, on_stdout)?;
        }
        result?;
        Ok(summary::outcome(target))
    }
}

/// Returns the event time of a row according to its dataset; `None` if the row is not an event.
fn event_time_ms(dataset: &Dataset, payload: &[u8]) -> Option<i64> {
    let payload = str::from_utf8(payload).ok()?;
    let event = dataset.event(payload, None).ok()?;
    Some(event.event_time.as_millisecond())
}
