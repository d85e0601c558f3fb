//! `tributary run`: files through the whole pipeline in one process.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use tributary_aws::{firehose, sns};
use tributary_config::{ALERTS, AlertsConfig, PIPELINE, PipelineConfig};
use tributary_datasets::ingest::{Feed, SourceName, Step};
use tributary_datasets::{self as datasets, Dataset};
use tributary_model::bad_row::{BadRow, Code, Origin, Rejection};
use tributary_model::id::Id;
use tributary_pipeline::transform::{Outcome, Transformer};
use tributary_rows::{Limits, Position};
use tributary_rules::Rules;

use crate::distinct;
use crate::offline::Windows;
use crate::output::{Lines, eprint_line, is_stdout, print_summary};
use crate::progress::Progress;
use crate::report::Report;

/// Bytes per read.
const PIECE: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// CSV or JSON Lines files, plain or gzip; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Dataset of the files [default: detected from each header]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// File for events, one JSON object a line; - is standard output
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,

    /// File for bad rows, one JSON object a line; - is standard output
    #[arg(long, value_name = "FILE")]
    bad_rows: Option<PathBuf>,

    /// File for alerts, one JSON object a line; - is standard output. Holds alerts of rules about
    /// one reading, each once per cooldown: `rules backtest` also evaluates rules over windows and
    /// no-data rules
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,

    /// File for windows, one JSON object a line, by spec, key and start; - is standard output. No
    /// event counts as late, and a row without an arrival time counts as received at its event time
    #[arg(long, value_name = "FILE")]
    windows: Option<PathBuf>,

    /// Format of the counts: on standard output, or on standard error if lines go to standard
    /// output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// State of a run.
struct Run {
    transformer: Transformer,
    rules: Rules,
    events: Lines,
    bad_rows: Lines,
    alerts: Lines,
    /// Alerts already written.
    reported: BTreeSet<Id>,
    /// Present if `--windows` was given.
    windows: Option<Windows>,
    report: Report,
    /// Payload of the current row.
    payload: Vec<u8>,
}

/// File that could not be read, with the reason.
struct Unreadable(String);

/// Runs all files. A file that cannot be read is reported and does not stop the others.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let started = Instant::now();
    let outputs = [&arguments.events, &arguments.bad_rows, &arguments.alerts, &arguments.windows];
    let on_stdout = outputs.into_iter().flatten().filter(|path| is_stdout(path)).count();
    if on_stdout > 1 {
        bail!("only one of --events, --bad-rows, --alerts and --windows can go to standard output");
    }
    let options = ["--events", "--bad-rows", "--alerts", "--windows"];
    let named_outputs: Vec<_> = options.into_iter().zip(outputs.map(|it| it.as_deref())).collect();
    distinct::outputs(arguments.files.iter().map(PathBuf::as_path), &named_outputs)?;
    let dataset = arguments.dataset.as_deref().map(named).transpose()?;
    let pipeline = PipelineConfig::from_toml(PIPELINE)?;
    let mut windows = Lines::open(arguments.windows.as_deref())?;
    let mut run = Run {
        transformer: pipeline.transformer()?,
        windows: windows.wanted().then(|| Windows::new(&pipeline)).transpose()?,
        rules: PipelineConfig::default()
            .rules(&AlertsConfig::from_toml(ALERTS)?)?
            .with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
        events: Lines::open(arguments.events.as_deref())?,
        bad_rows: Lines::open(arguments.bad_rows.as_deref())?,
        alerts: Lines::open(arguments.alerts.as_deref())?,
        reported: BTreeSet::new(),
        report: Report::default(),
        payload: Vec::new(),
    };

    let mut progress = Progress::new(total_bytes(&arguments.files));
    let mut unreadable = Vec::new();
    for file in &arguments.files {
        if let Err(Unreadable(why)) = run.file(file, dataset, &mut progress)? {
            unreadable.push(why);
        }
    }
    progress.finish();
    let Run { events, bad_rows, alerts, mut report, .. } = run;
    report.windows = run.windows.map(|all| all.close().write(&mut windows)).transpose()?;
    for lines in [events, bad_rows, alerts, windows] {
        lines.finish()?;
    }

    report.seconds = (started.elapsed().as_secs_f64() * 1e3).round() / 1e3;
    if unreadable.len() < arguments.files.len() {
        let text = match arguments.format {
            Format::Table => report.table(),
            Format::Json => report.json()?,
        };
        print_summary(&text, on_stdout > 0)?;
    }
    for why in &unreadable {
        eprint_line(&format!("tributary: {why}"));
    }
    Ok(match (unreadable.is_empty(), report.is_balanced()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}

pub(crate) fn named(name: &str) -> Result<&'static dyn Dataset> {
    datasets::by_name(name)
        .with_context(|| format!("{name:?} is no dataset; there are {}", datasets::names()))
}

/// Returns the total length of the files, or `None` if any of them has no length.
fn total_bytes(files: &[PathBuf]) -> Option<u64> {
    files
        .iter()
        .map(|file| Some(file.metadata().ok().filter(std::fs::Metadata::is_file)?.len()))
        .sum()
}

fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    if is_stdout(file) {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(File::open(file)?))
}

impl Run {
    /// Runs one file through the pipeline. The outer error is an output error, which ends the run.
    fn file(
        &mut self,
        path: &Path,
        dataset: Option<&'static dyn Dataset>,
        progress: &mut Progress,
    ) -> Result<Result<(), Unreadable>> {
        let name = if is_stdout(path) { "stdin".into() } else { path.to_string_lossy() };
        let unreadable = |error: io::Error| Unreadable(format!("{name} cannot be read: {error}"));
        let source = SourceName::file(&name);
        let mut input = match open(path) {
            Ok(input) => input,
            Err(error) => return Ok(Err(unreadable(error))),
        };

        let mut feed = Feed::new(dataset, Limits::default()).named(&name);
        let mut piece = vec![0; PIECE];
        // Reason why the first line is not a row, reported if no line is one.
        let mut first = None;
        loop {
            match feed.step() {
                Ok(Step::NeedInput) => match input.read(&mut piece) {
                    Ok(0) => feed.finish(),
                    Ok(length) => {
                        feed.push(&piece[..length]);
                        progress.advance(length as u64, self.report.rows);
                    }
                    Err(error) => return Ok(Err(unreadable(error))),
                },
                Ok(Step::Started) => {}
                Ok(Step::Row(row)) => {
                    self.payload.clear();
                    row.write_payload(&mut self.payload);
                    let dataset = row.dataset();
                    let (position, bytes) = (row.position(), row.bytes());
                    if let Err(rejection) = self.row(dataset)? {
                        self.bad_row(
                            &source,
                            position,
                            &rejection,
                            Some(dataset.name()),
                            Some(bytes),
                        )?;
                    }
                }
                Ok(Step::Bad(position, rejection, bytes)) => {
                    first.get_or_insert_with(|| (position.row, rejection.message.clone()));
                    self.bad_row(&source, position, &rejection, None, bytes)?;
                }
                Ok(Step::End) => {
                    let why = || Unreadable(format!("{name}: {}", no_row(first.as_ref())));
                    return Ok(feed.dataset().map(|_| ()).ok_or_else(why));
                }
                Err(refused) => {
                    let rejection = &refused.rejection;
                    let Some(dataset) = feed.dataset().filter(|_| is_damage(rejection.code)) else {
                        let (code, message) = (rejection.code, &rejection.message);
                        return Ok(Err(Unreadable(format!("{name}: {code}: {message}"))));
                    };
                    let name = Some(dataset.name());
                    self.bad_row(&source, refused.position, rejection, name, None)?;
                    return Ok(Ok(()));
                }
            }
        }
    }

    /// Runs the row in `payload` through transform and rules.
    fn row(&mut self, dataset: &dyn Dataset) -> io::Result<Result<(), Rejection>> {
        // The row reader writes payloads from text that it has validated.
        let payload = str::from_utf8(&self.payload).map_err(io::Error::other)?;
        // The row has no arrival time. It counts as received at its event time, so that the same
        // file gives the same events on every run.
        let event = match self.transformer.payload(dataset, payload, None) {
            Ok(Outcome::Event(event)) => event,
            Ok(Outcome::Filtered) => {
                self.report.rows += 1;
                self.report.filtered += 1;
                return Ok(Ok(()));
            }
            Err(rejection) => return Ok(Err(rejection)),
        };
        self.report.rows += 1;
        self.report.events += 1;
        self.events.value(&event)?;
        if let Some(windows) = &mut self.windows {
            windows.add(&event);
        }

        let (alerts, errors) = self.rules.alerts(&event);
        if let Some(error) = errors.first() {
            return Err(io::Error::other(format!("rule {}: {}", error.rule, error.message)));
        }
        for mut alert in alerts {
            // Alerts that share an id within a cooldown are written once.
            if !self.reported.insert(alert.alert_id) {
                continue;
            }
            self.report.alerts += 1;
            alert.message.push('\n');
            self.alerts.line(alert.message.as_bytes())?;
            *self.report.alerts_by_rule.entry(alert.rule).or_default() += 1;
        }
        Ok(Ok(()))
    }

    fn bad_row(
        &mut self,
        source: &SourceName,
        position: Position,
        rejection: &Rejection,
        dataset: Option<&str>,
        bytes: Option<&[u8]>,
    ) -> io::Result<()> {
        self.report.rows += 1;
        self.report.quarantined += 1;
        *self.report.bad_rows_by_code.entry(rejection.code.as_str()).or_default() += 1;
        if !self.bad_rows.wanted() {
            return Ok(());
        }
        let origin = Origin {
            dataset,
            source: source.at(position).into(),
            record_id: source.record_id(position).to_string().into(),
            ..Origin::default()
        };
        let bad_row = BadRow::new(rejection, &origin, bytes, Timestamp::now());
        self.bad_rows.line(&bad_row.to_line(firehose::MAX_RECORD_BYTES))
    }
}

/// Returns the error for JSON Lines without any row, quoting what is wrong with the first line.
pub(crate) fn no_row(first: Option<&(u64, String)>) -> String {
    match first {
        Some((row, fault)) => format!(
            "no line is a row of a dataset: row {row}: {fault}; JSON must be one object a line"
        ),
        None => "no line is a row of a dataset".to_owned(),
    }
}

/// Returns whether the error means that a file was damaged partway. Then the rest counts as one bad
/// row; with any other error, nothing of the file could be read.
pub(crate) fn is_damage(code: Code) -> bool {
    matches!(code, Code::TruncatedGzip | Code::CorruptGzip | Code::GzipRatio)
}
