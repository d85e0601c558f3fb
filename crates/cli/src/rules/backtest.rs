//! `tributary rules backtest`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use indicatif::HumanCount;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use tributary_datasets::Dataset;
use tributary_model::event::{Event, Kind};
use tributary_model::id::Id;
use tributary_pipeline::transform::{Outcome, Transformer};
use tributary_rules::evaluator::{Firing, RuleEvaluator};
use tributary_rules::{Rules, Severity};

use super::{Chosen, check};
use crate::configuration::{ConfigArguments, named};
use crate::offline::Windows;
use crate::output::print_line;
use crate::progress::Progress;
use crate::rows::{self, Flow, Found, read_rows};
use crate::summary::Format;
use crate::table::{shown, table};

/// Maximum number of days and of entities shown per rule in the table.
const MAX_SHOWN: usize = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rows (CSV or JSON, plain or gzip), or events, one JSON object a line; - is standard
    /// input
    file: PathBuf,

    #[command(flatten)]
    configuration: ConfigArguments,

    /// File of rules [default: all rules of the configuration]
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

impl Summary<'_> {
    fn table(&self) -> String {
        let Self { file, rules_file, seen, rules } = self;
        let left_out = match seen.left_out {
            0 => String::new(),
            count => format!(", {count} rows are no events"),
        };
        let computed_anew = match seen.computed_anew {
            0 => String::new(),
            count => format!(" ({} of the file computed anew)", HumanCount(count)),
        };
        let day = |time: &str| time.chars().take(10).collect::<String>();
        let span = seen.from.as_ref().zip(seen.to.as_ref());
        let span = span.map(|(from, to)| format!(" from {} to {}", day(from), day(to)));
        let (events, windows) = (HumanCount(seen.events), HumanCount(seen.windows));
        let (text, span) = (rules.table(), span.unwrap_or_default());
        format!(
            "{text}\n\n {file}: {events} events{span}, {windows} windows{computed_anew}{left_out}; rules of {rules_file}"
        )
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
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
    /// Event times of the first and the last event.
    span: Option<(Timestamp, Timestamp)>,
    last_received: Option<Timestamp>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let chosen = super::choose(arguments.rules.as_deref(), &arguments.configuration)?;
    let Chosen { configuration: pipeline, name: rules_file, rules: Some(rules), .. } = &chosen
    else {
        check::report(&chosen, arguments.format)?;
        return Ok(ExitCode::FAILURE);
    };
    let datasets = &pipeline.datasets;
    let dataset = arguments.dataset.as_deref().map(|name| named(datasets, name)).transpose()?;
    let mut specs = pipeline.window_specs()?;
    let evaluator = RuleEvaluator::new(rules, &specs);
    specs.retain(|spec| rules.iter().any(|rule| rule.spec.window.as_ref() == Some(&spec.id)));
    let mut backtest = Backtest {
        windows: Windows::of(specs),
        read: BTreeSet::new(),
        given: Vec::new(),
        evaluator,
        rule_counts: RuleCounts::new(rules),
        seen: Seen::default(),
        span: None,
        last_received: None,
    };

    let name = arguments.file.display().to_string();
    let unreadable = || format!("{name} cannot be read");
    let input = rows::open(&arguments.file).with_context(unreadable)?;
    let mut input = BufReader::with_capacity(rows::PIECE, input);
    let begin = input.fill_buf().with_context(unreadable)?;
    if is_events(begin) {
        backtest.events(input, &name)?;
    } else {
        let transformer = pipeline.transformer()?;
        backtest.rows(input, &arguments.file, dataset, &transformer)?;
    }
    backtest.close()?;
    // No-data rules are evaluated up to the end of the file.
    let Backtest { evaluator, mut rule_counts, mut seen, span, last_received, .. } = backtest;
    (seen.from, seen.to) = span.map(|(from, to)| (from.to_string(), to.to_string())).unzip();
    if let Some(last) = last_received {
        for firing in evaluator.finish(last) {
            rule_counts.count(firing);
        }
    }

    let summary = Summary { file: &name, rules_file, seen: &seen, rules: &rule_counts };
    print_line(&arguments.format.text(&summary, || summary.table())?)?;
    Ok(ExitCode::SUCCESS)
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
        input: impl Read,
        path: &Path,
        dataset: Option<Arc<Dataset>>,
        transformer: &Transformer,
    ) -> Result<()> {
        let length = path.metadata().ok().filter(std::fs::Metadata::is_file);
        let mut progress = Progress::of_bytes(length.map(|metadata| metadata.len()));
        let mut payload = Vec::new();
        read_rows(&path.to_string_lossy(), transformer.datasets(), dataset, input, None, |found| {
            match found {
                Found::Bytes(bytes) => progress.read(bytes, self.seen.events),
                Found::Row(row) => {
                    payload.clear();
                    row.write_payload(&mut payload);
                    match transformer.payload(row.dataset(), str::from_utf8(&payload)?, None) {
                        Ok(Outcome::Event(event)) => self.event(&event)?,
                        Ok(Outcome::Filtered) | Err(_) => self.seen.left_out += 1,
                    }
                }
                Found::Bad(..) => self.seen.left_out += 1,
                Found::Reached(_) => {}
            }
            Ok(Flow::Continue(()))
        })
        .map(drop)
    }

    /// Adds one event of the file. A reading is also added to its windows; a window event is
    /// evaluated in [`close`](Self::close).
    fn event(&mut self, event: &Event<'_>) -> Result<()> {
        self.windows.add(event);
        self.rule_counts.record_dataset(&event.dataset);
        let time = event.event_time;
        self.seen.events += 1;
        let (from, to) = self.span.unwrap_or((time, time));
        self.span = Some((from.min(time), to.max(time)));
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

/// Firings of a rule, and the alerts that remain after its cooldown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Count {
    alerts: u64,
    fired: u64,
}

/// Counts of one rule.
#[derive(Serialize)]
struct OfRule {
    rule: String,
    dataset: String,
    /// Set if the input had an event of the rule's dataset.
    #[serde(skip)]
    has_events: bool,
    severity: Severity,
    #[serde(flatten)]
    all: Count,
    /// Counts by UTC day.
    by_day: BTreeMap<String, Count>,
    by_entity: BTreeMap<String, Count>,
    #[serde(skip)]
    reported: BTreeSet<Id>,
}

/// Counts of all rules, in the order of their file.
#[derive(Serialize)]
#[serde(transparent)]
struct RuleCounts(Vec<OfRule>);

impl RuleCounts {
    fn new(rules: &Rules) -> Self {
        let rules = rules.iter().map(|rule| OfRule {
            rule: rule.spec.id.clone(),
            dataset: rule.spec.dataset.clone(),
            has_events: false,
            severity: rule.spec.severity,
            all: Count::default(),
            by_day: BTreeMap::new(),
            by_entity: BTreeMap::new(),
            reported: BTreeSet::new(),
        });
        Self(rules.collect())
    }

    /// Marks the rules of `dataset` as having input.
    fn record_dataset(&mut self, dataset: &str) {
        for of in self.0.iter_mut().filter(|of| of.dataset == dataset) {
            of.has_events = true;
        }
    }

    /// Counts one firing of a rule.
    fn count(&mut self, firing: Firing<'_>) {
        let Some(of) = self.0.iter_mut().find(|of| of.rule == firing.rule.spec.id) else { return };
        let alerts = u64::from(of.reported.insert(firing.alert_id));
        let day = firing.at.to_zoned(TimeZone::UTC).date().to_string();
        let counts = [
            &mut of.all,
            of.by_day.entry(day).or_default(),
            of.by_entity.entry(firing.entity).or_default(),
        ];
        for count in counts {
            count.fired += 1;
            count.alerts += alerts;
        }
    }

    /// Returns a table of the rules for the datasets of the input, with their top days and
    /// entities.
    fn table(&self) -> String {
        let mut table = table(["rule", "fired", "alerts", "days", "entities"], 1..5);
        for of in self.0.iter().filter(|of| of.has_events) {
            let (days, entities) = (of.by_day.len() as u64, of.by_entity.len() as u64);
            let counts = [of.all.fired, of.all.alerts, days, entities].map(shown);
            let [fired, alerts, days, entities] = &counts;
            table.add_row([&of.rule, fired, alerts, days, entities]);
            for by in [&of.by_day, &of.by_entity] {
                let mut top: Vec<_> = by.iter().collect();
                top.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
                for (name, count) in top.iter().take(MAX_SHOWN) {
                    let counts = [count.fired, count.alerts].map(shown);
                    table.add_row([&format!("  {name}"), &counts[0], &counts[1]]);
                }
                if let Some(more) = top.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
                    table.add_row([&format!("  and {more} more")]);
                }
            }
        }
        table.trim_fmt()
    }
}
