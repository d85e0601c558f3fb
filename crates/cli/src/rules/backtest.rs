//! `tributary rules backtest`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanCount;
use jiff::Timestamp;
use serde::Serialize;
use tributary_config::AlertsConfig;
use tributary_datasets::Dataset;
use tributary_datasets::ingest::{Feed, Step};
use tributary_model::event::{Event, Kind};
use tributary_pipeline::transform::{Outcome, Transformer};
use tributary_rows::Limits;
use tributary_rules::evaluator::RuleEvaluator;

use super::rule_counts::RuleCounts;
use crate::offline::Windows;
use crate::output::{is_stdout, print_line};
use crate::progress::Progress;
use crate::run::named;
use crate::summary::Format;

/// Bytes per read.
const PIECE: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rows (CSV or JSON Lines, plain or gzip), or events, one JSON object a line; - is standard
    /// input
    file: PathBuf,

    /// File of rules [default: the compiled-in rules]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,

    /// Dataset of the rows [default: detected from the header]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,

    /// Format of the results: the table shows the top days and entities, JSON shows all
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Result of a backtest, as JSON.
#[derive(Serialize)]
struct Summary<'a> {
    file: &'a str,
    rules_file: &'a str,
    #[serde(flatten)]
    seen: &'a Seen,
    rules: &'a RuleCounts,
}

/// Counts of the input.
#[derive(Default, Serialize)]
struct Seen {
    events: u64,
    /// Windows computed from the readings and evaluated.
    windows: u64,
    /// Rows without an event: bad or filtered.
    left_out: u64,
    /// Window events of the file that were not evaluated, because their windows are computed from
    /// its readings.
    computed_anew: u64,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    to: Option<Timestamp>,
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn as_text<S: serde::Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_none(),
    }
}

/// Evaluation of rules over the events of a file.
struct Backtest<'r> {
    /// Windows so far, of the specs that a rule refers to.
    windows: Windows,
    /// Datasets of the readings so far.
    read: BTreeSet<String>,
    /// Window events of the file, as lines.
    given: Vec<Vec<u8>>,
    evaluator: RuleEvaluator<'r>,
    rule_counts: RuleCounts,
    seen: Seen,
    last_received: Option<Timestamp>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (rules_file, text) = super::read(arguments.rules.as_deref())?;
    let pipeline = super::pipeline()?;
    let checked = pipeline.check_rules(&text);
    if !checked.is_usable() {
        super::check::report(&rules_file, &checked, arguments.format)?;
        return Ok(ExitCode::FAILURE);
    }
    let rules = pipeline.rules(&AlertsConfig::from_toml(&text)?)?;
    let dataset = arguments.dataset.as_deref().map(named).transpose()?;
    let mut specs = pipeline.window_specs()?;
    let evaluator = RuleEvaluator::new(&rules, &specs);
    specs.retain(|spec| rules.iter().any(|rule| rule.window() == Some(spec.id.as_str())));
    let mut backtest = Backtest {
        windows: Windows::of(specs),
        read: BTreeSet::new(),
        given: Vec::new(),
        evaluator,
        rule_counts: RuleCounts::new(&rules),
        seen: Seen::default(),
        last_received: None,
    };

    let name = arguments.file.display().to_string();
    let mut input = open(&arguments.file).with_context(|| format!("{name} cannot be read"))?;
    let begin = input.fill_buf().with_context(|| format!("{name} cannot be read"))?;
    if is_events(begin) {
        backtest.events(input, &name)?;
    } else {
        let transformer = pipeline.transformer()?;
        backtest.rows(input, &arguments.file, dataset, &transformer)?;
    }
    backtest.close()?;
    // No-data rules are evaluated up to the end of the file.
    let Backtest { evaluator, mut rule_counts, seen, last_received, .. } = backtest;
    if let Some(last) = last_received {
        for firing in evaluator.finish(last) {
            rule_counts.count(firing);
        }
    }

    if arguments.format == Format::Json {
        let summary =
            Summary { file: &name, rules_file: &rules_file, seen: &seen, rules: &rule_counts };
        print_line(&serde_json::to_string(&summary)?)?;
    } else {
        let left_out = if seen.left_out > 0 {
            format!(", {} rows are no events", seen.left_out)
        } else {
            String::new()
        };
        let computed_anew = match seen.computed_anew {
            0 => String::new(),
            count => format!(" ({} of the file computed anew)", HumanCount(count)),
        };
        let day = |time: Timestamp| time.to_string().chars().take(10).collect::<String>();
        let span = seen.from.zip(seen.to);
        let span = span.map(|(from, to)| format!(" from {} to {}", day(from), day(to)));
        let (events, windows) = (HumanCount(seen.events), HumanCount(seen.windows));
        let text = rule_counts.table();
        let span = span.unwrap_or_default();
        print_line(&format!(
            "{text}\n\n {name}: {events} events{span}, {windows} windows{computed_anew}{left_out}; rules of {rules_file}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open(file: &Path) -> std::io::Result<BufReader<Box<dyn Read>>> {
    let input: Box<dyn Read> =
        if is_stdout(file) { Box::new(std::io::stdin()) } else { Box::new(File::open(file)?) };
    Ok(BufReader::with_capacity(PIECE, input))
}

/// Returns whether a file starts with an event. A row in JSON has no `event_id`.
fn is_events(begin: &[u8]) -> bool {
    let line = begin.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    line.is_some_and(|line| Event::from_json(line).is_ok())
}

impl Backtest<'_> {
    fn events(&mut self, mut input: impl BufRead, name: &str) -> Result<()> {
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            let unreadable = || format!("{name} cannot be read");
            if input.read_until(b'\n', &mut line).with_context(unreadable)? == 0 {
                return Ok(());
            }
            number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let event = Event::from_json(&line);
            let event = event.with_context(|| format!("{name}: line {number} is no event"))?;
            self.event(&event)?;
            if event.kind == Kind::Window && self.evaluator.applies_to(&event) {
                self.given.push(line.clone());
            }
        }
    }

    fn rows(
        &mut self,
        mut input: impl Read,
        path: &Path,
        dataset: Option<&'static dyn Dataset>,
        transformer: &Transformer,
    ) -> Result<()> {
        let name = path.to_string_lossy();
        let length = path.metadata().ok().filter(std::fs::Metadata::is_file);
        let mut progress = Progress::new(length.map(|metadata| metadata.len()));
        let mut feed = Feed::new(dataset, Limits::default()).named(&name);
        let (mut piece, mut payload) = (vec![0; PIECE], Vec::new());
        // Reason why the first line is not a row, reported if no line is one.
        let mut first = None;
        loop {
            match feed.step() {
                Ok(Step::NeedInput) => {
                    match input
                        .read(&mut piece)
                        .with_context(|| format!("{name} cannot be read"))?
                    {
                        0 => feed.finish(),
                        length => {
                            feed.push(&piece[..length]);
                            progress.advance(length as u64, self.seen.events);
                        }
                    }
                }
                Ok(Step::Started) => {}
                Ok(Step::Row(row)) => {
                    payload.clear();
                    row.write_payload(&mut payload);
                    let text = str::from_utf8(&payload)?;
                    match transformer.payload(row.dataset(), text, None) {
                        Ok(Outcome::Event(event)) => self.event(&event)?,
                        Ok(Outcome::Filtered) | Err(_) => self.seen.left_out += 1,
                    }
                }
                Ok(Step::Bad(position, rejection, _)) => {
                    first.get_or_insert_with(|| (position.row, rejection.message.clone()));
                    self.seen.left_out += 1;
                }
                Ok(Step::End) => {
                    progress.finish();
                    if feed.dataset().is_none() {
                        bail!("{name}: {}", crate::run::no_row(first.as_ref()));
                    }
                    return Ok(());
                }
                Err(refused) => {
                    progress.finish();
                    let (code, message) = (refused.rejection.code, &refused.rejection.message);
                    if feed.dataset().is_some() && crate::run::is_damage(code) {
                        self.seen.left_out += 1;
                        return Ok(());
                    }
                    bail!("{name}: {code}: {message}");
                }
            }
        }
    }

    /// Adds one event of the file. A reading is also added to its windows; a window event is
    /// evaluated in [`close`](Self::close).
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        self.windows.add(event);
        self.rule_counts.record_dataset(&event.dataset);
        let time = event.event_time;
        self.seen.events += 1;
        self.seen.from = Some(self.seen.from.map_or(time, |from| from.min(time)));
        self.seen.to = Some(self.seen.to.map_or(time, |to| to.max(time)));
        self.last_received = self.last_received.max(Some(event.received_at));
        match event.kind {
            Kind::Window => return Ok(()),
            Kind::Reading if !self.read.contains(&*event.dataset) => {
                self.read.insert(event.dataset.clone().into_owned());
            }
            Kind::Reading | Kind::Heartbeat => {}
        }
        self.evaluate(event)
    }

    /// Closes and evaluates all windows in order of time, as if no reading had been late. A window
    /// event of the file is evaluated only if the file has no readings of its dataset, so that no
    /// window is evaluated twice.
    fn close(&mut self) -> Result<()> {
        for line in std::mem::take(&mut self.given) {
            // Cannot fail: the line was parsed before.
            let Ok(event) = Event::from_json(&line) else { continue };
            if self.read.contains(&*event.dataset) {
                self.seen.computed_anew += 1;
            } else {
                self.evaluate(&event)?;
            }
        }
        let closed = std::mem::take(&mut self.windows).close().by_time();
        self.seen.windows = closed.events().len() as u64;
        closed.events().try_for_each(|event| self.evaluate(&event))
    }

    /// Evaluates the rules on one event.
    fn evaluate(&mut self, event: &Event<'_>) -> Result<()> {
        let (firings, errors) = self.evaluator.event(event);
        if let Some(error) = errors.first() {
            bail!("rule {}: {}", error.rule, error.message);
        }
        for firing in firings {
            self.rule_counts.count(firing);
        }
        Ok(())
    }
}
