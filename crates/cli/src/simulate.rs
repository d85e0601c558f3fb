//! `tributary simulate`: a generated feed, to a file, a stream or a function.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use tributary_datagen::{FeedKind, Rates, Settings, Simulation};
use tributary_datasets::Dataset;
use tributary_model::time::millis;

use crate::configuration::{ConfigArguments, named};
use crate::output::{Lines, check_distinct, is_stdout};
use crate::pace::{Pace, Tempo};
use crate::progress::FeedProgress;
use crate::stop::Stop;
use crate::summary::{self, Format, Summary};
use crate::target::{Item, Origin, SendResult, TargetName, To};
use crate::units::{self, Start};

/// Number of records between two checks for undelivered records.
const CHECK_EVERY: u64 = 64;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Dataset to generate: accidents, covid, flood and telemetry by models of their own, any other
    /// from its schema
    dataset: String,

    #[command(flatten)]
    configuration: ConfigArguments,

    #[command(flatten)]
    to: To,

    /// Seed of the random numbers; the same seed and options give the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// Number of devices [default: flood 60, telemetry 100, accidents and covid one per place, others
    /// 10]
    #[arg(long, value_name = "N")]
    devices: Option<u32>,

    /// Time between two readings of a device, such as 10s or 15m [default: interval of the schema, or
    /// telemetry 10s, flood and accidents 15m, covid 1d, others 1m]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    interval: Option<Duration>,

    /// Time of the first reading: a date, RFC 3339, or now [default: 2026-01-01; covid 2020-03-01]
    #[arg(long, value_name = "TIME", value_parser = units::start)]
    start: Option<Start>,

    /// Simulated time during which readings are taken, such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    duration: Option<Duration>,

    /// Number of records to send
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Records per second of real time
    #[arg(long, value_name = "N/s", value_parser = units::rate, conflicts_with = "speed")]
    rate: Option<f64>,

    /// Speed of simulated time as a multiple of real time, such as 60x [default: 1x with --start
    /// now, else unlimited]
    #[arg(long, value_name = "X", value_parser = units::speed)]
    speed: Option<f64>,

    #[command(flatten)]
    chances: Chances,

    /// File for the ground truth about faulty sensors, one JSON object per fault (telemetry, flood)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// Format of the summary
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

const FEEDS: [FeedKind; 4] =
    [FeedKind::Flood, FeedKind::Telemetry, FeedKind::Accidents, FeedKind::Covid];

/// Number of rows of a model that are tried on a schema.
const TRIED_ROWS: u32 = 20;

/// Model of a feed.
enum FeedModel {
    BuiltIn(FeedKind),
    /// The schema alone.
    Schema,
}

impl FeedModel {
    /// Returns the built-in model of the dataset's name, if its rows are rows of the dataset.
    fn of(dataset: &Dataset) -> Result<Self> {
        let Some(kind) = FEEDS.into_iter().find(|kind| kind.name() == dataset.name()) else {
            return Ok(Self::Schema);
        };
        let mut simulation = Simulation::new(kind, &Settings::of(kind))?;
        for _ in 0..TRIED_ROWS {
            let Some(record) = simulation.next() else { break };
            if dataset.event(str::from_utf8(record.json)?, None).is_err() {
                return Ok(Self::Schema);
            }
        }
        Ok(Self::BuiltIn(kind))
    }

    /// Returns the default settings. A reporting interval of the schema is that of the feed.
    fn settings(&self, dataset: &Dataset) -> Settings {
        let Self::BuiltIn(kind) = self else { return Settings::of_dataset(dataset) };
        let usual = Settings::of(*kind);
        let interval_ms = dataset.interval().and_then(|it| i64::try_from(it.as_millis()).ok());
        Settings { interval_ms: interval_ms.unwrap_or(usual.interval_ms), ..usual }
    }

    fn simulation(&self, dataset: &Arc<Dataset>, settings: &Settings) -> Result<Simulation> {
        Ok(match self {
            Self::BuiltIn(kind) => Simulation::new(*kind, settings)?,
            Self::Schema => Simulation::of_dataset(dataset, settings)?,
        })
    }
}

#[derive(clap::Args)]
#[command(next_help_heading = "Weather and faults")]
#[expect(clippy::struct_field_names, reason = "each is the name of its option")]
struct Chances {
    /// Storms per day and region [default: 0.15]
    #[arg(long, value_name = "N")]
    storm_rate: Option<f64>,

    /// Share of devices whose sensor drifts [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    drift_rate: Option<f64>,

    /// Share of readings with sensor noise [default: 1]
    #[arg(long, value_name = "SHARE")]
    noise_rate: Option<f64>,

    /// Share of readings never sent, in gaps of consecutive readings of a device [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    dropout_rate: Option<f64>,

    /// Share of readings sent late, by up to 60 intervals [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    late_rate: Option<f64>,

    /// Share of readings sent twice [default: 0.005]
    #[arg(long, value_name = "SHARE")]
    duplicate_rate: Option<f64>,

    /// Share of readings with a single spike in their value [default: 0.001]
    #[arg(long, value_name = "SHARE")]
    spike_rate: Option<f64>,

    /// Telemetry: times per day that a device's readings are off by 1 to 4 °C for 1 to 3 hours
    /// [default: 0]
    #[arg(long, value_name = "N")]
    shift_rate: Option<f64>,

    /// Telemetry: times per day that a device's sensor drifts fast, by 4 to 12 °C an hour for at
    /// least half an hour [default: 0]
    #[arg(long, value_name = "N")]
    fast_drift_rate: Option<f64>,

    /// Telemetry: times per day that a device's sensor is stuck for at least half an hour [default:
    /// 0]
    #[arg(long, value_name = "N")]
    stuck_rate: Option<f64>,
}

impl Chances {
    /// Returns the rates, given those of the feed.
    fn rates(&self, usual: &Rates) -> Rates {
        Rates {
            storm: self.storm_rate.unwrap_or(usual.storm),
            drift: self.drift_rate.unwrap_or(usual.drift),
            noise: self.noise_rate.unwrap_or(usual.noise),
            dropout: self.dropout_rate.unwrap_or(usual.dropout),
            late: self.late_rate.unwrap_or(usual.late),
            duplicate: self.duplicate_rate.unwrap_or(usual.duplicate),
            spike: self.spike_rate.unwrap_or(usual.spike),
            shift: self.shift_rate.unwrap_or(usual.shift),
            fast_drift: self.fast_drift_rate.unwrap_or(usual.fast_drift),
            stuck: self.stuck_rate.unwrap_or(usual.stuck),
        }
    }
}

/// Feed of a simulation.
#[derive(Serialize)]
struct Simulated<'a> {
    dataset: &'a str,
    target: String,
    seed: u64,
}

/// Counts of a simulation, beside those of any feed.
#[derive(Serialize)]
struct Counts {
    /// Records sent late, and records sent twice.
    late: u64,
    duplicates: u64,
    /// Readings never sent, and readings with a spike.
    dropped: u64,
    spikes: u64,
}

/// Simulates until the count or the duration is reached, or a signal stops it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let configuration = arguments.configuration.load()?;
    let schema = &named(&configuration.datasets, &arguments.dataset)?;
    let dataset = schema.name();
    let model = FeedModel::of(schema)?;
    let real_time = (arguments.start == Some(Start::Now)).then_some(1.0);
    let tempo = Tempo::of(arguments.rate, arguments.speed.or(real_time));
    if arguments.count.is_none()
        && arguments.duration.is_none()
        && tempo == Tempo::Free
        && arguments.to.name != TargetName::Stdout
    {
        bail!(
            "the feed has no end: expected --count or --duration, or --rate, --speed or --start now"
        );
    }
    let settings = settings(arguments, &model.settings(schema))?;
    let mut simulation = model.simulation(schema, &settings)?;
    let outputs = [("--to", arguments.to.name.file()), ("--labels", arguments.labels.as_deref())];
    check_distinct([], &outputs)?;
    let mut labels = Labels::open(arguments, dataset, &mut simulation)?;
    let mut target = arguments.to.open(None)?;
    let stop = Stop::on_signal()?;

    let started = Instant::now();
    let mut pace = Pace::new(tempo);
    let progress = FeedProgress::new(arguments.count, target.as_ref(), &stop);
    let mut sent = 0;
    while arguments.count.is_none_or(|count| sent < count) && !stop.is_wanted() {
        let Some(record) = simulation.next() else { break };
        pace.wait(Some(record.sent_ms), target.as_mut(), &stop)?;
        if stop.is_wanted() {
            break;
        }
        sent += 1;
        let origin = Origin::Simulation { seed: arguments.seed, number: sent };
        let item = Item { dataset, key: record.key, payload: record.json, origin };
        let has_failed = target.send(&item)? == SendResult::Failed;
        labels.write(&mut simulation)?;
        progress.sent(sent);
        let looks = sent.is_multiple_of(CHECK_EVERY);
        if has_failed || (looks && target.tally().status().undelivered > 0) {
            break;
        }
    }
    target.flush()?;
    progress.finish();
    labels.lines.finish()?;

    let made = simulation.counts();
    let (late, duplicates, dropped) = (made.late, made.duplicates, made.dropped);
    let counts = Counts { late, duplicates, dropped, spikes: made.spikes };
    let details =
        [("late", late), ("duplicates", duplicates), ("dropped", dropped), ("spikes", made.spikes)];
    let name = &arguments.to.name;
    let feed = Simulated { dataset, target: name.to_string(), seed: arguments.seed };
    let summary = Summary::new(feed, sent, target.as_ref(), counts, started, &pace);
    let title = format!("{dataset} to {name}");
    summary.print(&title, &details, arguments.format, *name == TargetName::Stdout)?;
    Ok(summary::outcome(target.as_ref()))
}

/// Output for labels.
struct Labels {
    lines: Lines,
    /// Measure of the events that the faulty sensor reports.
    measure: &'static str,
}

impl Labels {
    fn open(arguments: &Arguments, dataset: &str, simulation: &mut Simulation) -> Result<Self> {
        let path = arguments.labels.as_deref();
        if path.is_some_and(is_stdout) && arguments.to.name == TargetName::Stdout {
            bail!("records go to standard output: --labels needs a file");
        }
        if path.is_some() && !simulation.enable_labels() {
            bail!("{dataset} has no sensors whose faults could be labelled");
        }
        let measure = match dataset {
            "telemetry" => "temperature_c",
            _ => "water_level_m",
        };
        Ok(Self { lines: Lines::open(path)?, measure })
    }

    /// Writes the labels that have become known.
    fn write(&mut self, simulation: &mut Simulation) -> Result<()> {
        if !self.lines.wanted() {
            return Ok(());
        }
        for label in simulation.take_labels() {
            let time = |ms: i64| Timestamp::from_millisecond(ms).map(millis);
            self.lines.value(&Line {
                entity: &label.device,
                measure: self.measure,
                kind: label.kind.as_str(),
                from: time(label.from_ms)?,
                to: label.to_ms.map(time).transpose()?,
                size: (label.size * 1e3).round() / 1e3,
            })?;
        }
        Ok(())
    }
}

/// Label in its output format.
#[derive(Serialize)]
struct Line<'a> {
    entity: &'a str,
    measure: &'static str,
    kind: &'static str,
    from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    size: f64,
}

fn settings(arguments: &Arguments, usual: &Settings) -> Result<Settings> {
    let in_millis =
        |length: Duration| i64::try_from(length.as_millis()).context("the duration is too long");
    Ok(Settings {
        seed: arguments.seed,
        devices: arguments.devices.unwrap_or(usual.devices),
        interval_ms: arguments.interval.map_or(Ok(usual.interval_ms), in_millis)?,
        start_ms: arguments.start.map_or(usual.start_ms, |start| start.time().as_millisecond()),
        duration_ms: arguments.duration.map(in_millis).transpose()?,
        rates: arguments.chances.rates(&usual.rates),
    })
}
