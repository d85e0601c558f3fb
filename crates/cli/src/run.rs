//! `tributary run`: files through the whole pipeline in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanCount;
use jiff::Timestamp;
use serde::Serialize;
use tributary_aws::{firehose, sns};
use tributary_datasets::ingest::SourceName;
use tributary_datasets::{Dataset, Datasets};
use tributary_model::bad_row::{BadRow, Origin, Rejection};
use tributary_model::id::Id;
use tributary_pipeline::transform::{Outcome, Transformer};
use tributary_rows::Position;
use tributary_rules::Rules;

use crate::configuration::{ConfigArguments, named};
use crate::offline::Windows;
use crate::output::{Lines, check_distinct, eprint_line, is_stdout, print_summary};
use crate::progress::Progress;
use crate::rows::{self, Flow, Found, read_rows};
use crate::summary::{Format, thousandths};
use crate::table;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// CSV or JSON files, plain or gzip; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Dataset of the files [default: detected from each header]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    #[command(flatten)]
    configuration: ConfigArguments,

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
    /// Line of the event.
    line: Vec<u8>,
}

/// Runs all files. A file that cannot be read is reported and does not stop the others.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let started = Instant::now();
    let outputs = [
        ("--events", arguments.events.as_deref()),
        ("--bad-rows", arguments.bad_rows.as_deref()),
        ("--alerts", arguments.alerts.as_deref()),
        ("--windows", arguments.windows.as_deref()),
    ];
    let on_stdout = outputs.iter().filter(|(_, path)| path.is_some_and(is_stdout)).count();
    if on_stdout > 1 {
        bail!("only one of --events, --bad-rows, --alerts and --windows can go to standard output");
    }
    check_distinct(arguments.files.iter().map(PathBuf::as_path), &outputs)?;
    let pipeline = arguments.configuration.load()?;
    let datasets = &pipeline.datasets;
    let dataset = arguments.dataset.as_deref().map(|name| named(datasets, name)).transpose()?;
    let mut windows = Lines::open(arguments.windows.as_deref())?;
    let mut run = Run {
        transformer: pipeline.transformer()?,
        windows: windows.wanted().then(|| pipeline.window_specs().map(Windows::of)).transpose()?,
        rules: pipeline.rules()?.with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
        events: Lines::open(arguments.events.as_deref())?,
        bad_rows: Lines::open(arguments.bad_rows.as_deref())?,
        alerts: Lines::open(arguments.alerts.as_deref())?,
        reported: BTreeSet::new(),
        report: Report::default(),
        payload: Vec::new(),
        line: Vec::new(),
    };

    let mut progress = Progress::of_bytes(total_bytes(&arguments.files));
    let mut unreadable = Vec::new();
    for file in &arguments.files {
        if let Err(error) = run.file(file, datasets, dataset.clone(), &mut progress)? {
            unreadable.push(error);
        }
    }
    drop(progress);
    let Run { events, bad_rows, alerts, mut report, .. } = run;
    report.windows = run.windows.map(|all| all.close().write(&mut windows)).transpose()?;
    for lines in [events, bad_rows, alerts, windows] {
        lines.finish()?;
    }

    report.seconds = thousandths(started.elapsed().as_secs_f64());
    if unreadable.len() < arguments.files.len() {
        print_summary(&arguments.format.text(&report, || report.table())?, on_stdout > 0)?;
    }
    for why in &unreadable {
        eprint_line(&format!("tributary: {why:#}"));
    }
    Ok(match (unreadable.is_empty(), report.is_balanced()) {
        (false, _) => ExitCode::from(2),
        (true, false) => ExitCode::FAILURE,
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Returns the total length of the files, or `None` if any of them has no length.
fn total_bytes(files: &[PathBuf]) -> Option<u64> {
    files
        .iter()
        .map(|file| Some(file.metadata().ok().filter(std::fs::Metadata::is_file)?.len()))
        .sum()
}

impl Run {
    /// Runs one file through the pipeline. The outer error is an output error, which ends the run.
    fn file(
        &mut self,
        path: &Path,
        datasets: &Datasets,
        dataset: Option<Arc<Dataset>>,
        progress: &mut Progress,
    ) -> Result<Result<()>> {
        let name = if is_stdout(path) { "stdin".into() } else { path.to_string_lossy() };
        let source = SourceName::file(&name);
        let input = match rows::open(path).with_context(|| format!("{name} cannot be read")) {
            Ok(input) => input,
            Err(error) => return Ok(Err(error)),
        };
        let mut written = Ok(());
        let read = read_rows(&name, datasets, dataset, input, None, |found| {
            if let Found::Bytes(bytes) = found {
                progress.read(bytes, self.report.rows);
            }
            written = self.found(&found, &source);
            Ok(if written.is_ok() { Flow::Continue(()) } else { Flow::Break(()) })
        });
        written?;
        Ok(read.map(drop))
    }

    /// Runs a row through the pipeline, or counts a bad one.
    fn found(&mut self, found: &Found<'_>, source: &SourceName) -> io::Result<()> {
        match found {
            Found::Bytes(_) | Found::Reached(_) => Ok(()),
            Found::Row(row) => {
                self.payload.clear();
                row.write_payload(&mut self.payload);
                let Err(rejection) = self.row(row.dataset())? else { return Ok(()) };
                let dataset = Some(row.dataset().name());
                self.bad_row(source, row.position(), &rejection, dataset, Some(row.bytes()))
            }
            Found::Bad(position, rejection, dataset, bytes) => {
                self.bad_row(source, *position, rejection, *dataset, *bytes)
            }
        }
    }

    /// Runs the row in `payload` through transform and rules.
    fn row(&mut self, dataset: &Dataset) -> io::Result<Result<(), Rejection>> {
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
        self.report.with_faults += u64::from(!event.faults.is_empty());
        for fault in &event.faults {
            let fault = format!("{} {fault}", event.dataset);
            *self.report.faults_by_field.entry(fault).or_default() += 1;
        }
        if self.events.wanted() {
            self.line.clear();
            event.write_json(&mut self.line);
            self.line.push(b'\n');
            self.events.line(&self.line)?;
        }
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

/// Row counts of a run.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Rows read. The rest of a damaged file counts as one row.
    rows: u64,
    /// Rows that became events.
    events: u64,
    /// Events that lack a bad optional field.
    with_faults: u64,
    /// Bad rows.
    quarantined: u64,
    /// Rows dropped by a configured filter.
    filtered: u64,
    /// Alerts of rules over single readings, each counted once however many readings share it.
    alerts: u64,
    /// Windows of the events, if `--windows` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<u64>,
    /// Faults of events as `dataset field:code`.
    faults_by_field: BTreeMap<String, u64>,
    /// Bad rows by code.
    bad_rows_by_code: BTreeMap<&'static str, u64>,
    /// Alerts by rule.
    alerts_by_rule: BTreeMap<String, u64>,
    /// Duration in seconds of wall-clock time.
    seconds: f64,
}

impl Report {
    /// Returns whether the counts reconcile: `rows = events + quarantined + filtered`.
    fn is_balanced(&self) -> bool {
        self.rows == self.events + self.quarantined + self.filtered
    }

    /// Returns the counts as an aligned table.
    fn table(&self) -> String {
        let mut rows: Vec<(String, u64)> = Vec::new();
        let mut row = |name: &str, count: u64| rows.push((name.to_owned(), count));
        row("rows", self.rows);
        row("events", self.events);
        if self.with_faults > 0 {
            row("  with faults", self.with_faults);
        }
        for (fault, count) in &self.faults_by_field {
            row(&format!("    {fault}"), *count);
        }
        row("quarantined", self.quarantined);
        for (code, count) in &self.bad_rows_by_code {
            row(&format!("  {code}"), *count);
        }
        row("filtered", self.filtered);
        row("alerts", self.alerts);
        for (rule, count) in &self.alerts_by_rule {
            row(&format!("  {rule}"), *count);
        }
        rows.extend(self.windows.map(|windows| ("windows".to_owned(), windows)));
        let table = table::counts(rows);
        let balance =
            if self.is_balanced() { "the books balance" } else { "THE BOOKS DO NOT BALANCE" };
        format!("{table}\n\n {balance}: {} rows in {:.2} s", HumanCount(self.rows), self.seconds)
    }
}
