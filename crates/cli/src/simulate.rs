//! `tributary simulate`: a made-up feed, to a file, a stream or a function.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;
use tributary_datagen::{FeedKind, Rates, Settings, Simulation};
use tributary_model::time::millis;

use crate::distinct;
use crate::output::{Lines, is_stdout};
use crate::pace::{Pace, Tempo};
use crate::progress::FeedProgress;
use crate::stop::Stop;
use crate::summary::{self, Format, Report, Throughput};
use crate::target::{Item, Origin, TargetName, To};
use crate::units::{self, Start};

/// Whether records were not delivered is looked up every so many.
const CHECK_EVERY: u64 = 64;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which feed
    #[arg(value_enum)]
    dataset: Feed,

    #[command(flatten)]
    to: To,

    /// Decides everything left to chance; the same seed and options are the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// How many devices send [default: flood 60, telemetry 100, accidents and covid one a place]
    #[arg(long, value_name = "N")]
    devices: Option<u32>,

    /// From one reading of a device to its next, such as 10s or 15m [default: telemetry 10s, flood
    /// and accidents 15m, covid 1d]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    interval: Option<Duration>,

    /// The time of the first reading: a date, RFC 3339, or now [default: 2026-01-01; covid 2020-03-01]
    #[arg(long, value_name = "TIME", value_parser = units::start)]
    start: Option<Start>,

    /// For how long readings are taken, in simulated time, such as 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    duration: Option<Duration>,

    /// How many records to send
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Records a second, by the clock
    #[arg(long, value_name = "N/s", value_parser = units::rate, conflicts_with = "speed")]
    rate: Option<f64>,

    /// How much faster than the clock simulated time goes, such as 60x [default with --start now: 1x;
    /// else as fast as it can]
    #[arg(long, value_name = "X", value_parser = units::speed)]
    speed: Option<f64>,

    #[command(flatten)]
    chances: Chances,

    /// Where the truth about faulty sensors goes, one JSON object for each fault (telemetry, flood)
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,

    /// How the summary is shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Feed {
    Flood,
    Telemetry,
    Accidents,
    Covid,
}

impl From<Feed> for FeedKind {
    fn from(feed: Feed) -> Self {
        match feed {
            Feed::Flood => Self::Flood,
            Feed::Telemetry => Self::Telemetry,
            Feed::Accidents => Self::Accidents,
            Feed::Covid => Self::Covid,
        }
    }
}

#[derive(clap::Args)]
#[command(next_help_heading = "Weather and faults")]
#[expect(clippy::struct_field_names, reason = "each is the name of its option")]
struct Chances {
    /// Storms a day and region [default: 0.15]
    #[arg(long, value_name = "N")]
    storm_rate: Option<f64>,

    /// The share of devices whose sensor drifts away from the truth [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    drift_rate: Option<f64>,

    /// The share of readings that carry their sensor's noise [default: 1]
    #[arg(long, value_name = "SHARE")]
    noise_rate: Option<f64>,

    /// The share of readings never sent: devices fall silent for a while [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    dropout_rate: Option<f64>,

    /// The share of readings sent late, by up to 60 intervals [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    late_rate: Option<f64>,

    /// The share of readings sent twice [default: 0.005]
    #[arg(long, value_name = "SHARE")]
    duplicate_rate: Option<f64>,

    /// The share of readings whose value jumps away for once [default: 0.001]
    #[arg(long, value_name = "SHARE")]
    spike_rate: Option<f64>,

    /// Telemetry: times a day that a device's readings are off by 1 to 4 °C for 1 to 3 hours
    /// [default: 0]
    #[arg(long, value_name = "N")]
    shift_rate: Option<f64>,

    /// Telemetry: times a day that a device's sensor runs away, by 4 to 12 °C an hour for half an
    /// hour or more [default: 0]
    #[arg(long, value_name = "N")]
    fast_drift_rate: Option<f64>,

    /// Telemetry: times a day that a device's sensor is stuck for half an hour or more [default: 0]
    #[arg(long, value_name = "N")]
    stuck_rate: Option<f64>,
}

impl Chances {
    fn rates(&self) -> Rates {
        let usual = Rates::default();
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

/// What a simulation came to.
#[derive(Debug, Serialize)]
struct Summary {
    dataset: &'static str,
    target: String,
    seed: u64,
    /// Records sent, late and duplicate ones included.
    records: u64,
    /// Records that are not known to have got there.
    undelivered: u64,
    /// Records that were sent again.
    retried: u64,
    /// Of the records, those that the target will never take, and by which code.
    rejected: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rejected_by_code: BTreeMap<String, u64>,
    /// Of the records, those sent late and those sent before.
    late: u64,
    duplicates: u64,
    /// Readings never sent, and those whose value jumped away.
    dropped: u64,
    spikes: u64,
    #[serde(flatten)]
    throughput: Throughput,
}

/// Simulates until the count or the duration is reached, or somebody stops it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let kind = FeedKind::from(arguments.dataset);
    let tempo = tempo(arguments);
    if arguments.count.is_none()
        && arguments.duration.is_none()
        && tempo == Tempo::Free
        && arguments.to.name != TargetName::Stdout
    {
        bail!("say how much: --count or --duration, or how fast: --rate, --speed or --start now");
    }
    let settings = settings(arguments, kind)?;
    let mut simulation = Simulation::new(kind, &settings)?;
    let outputs = [("--to", arguments.to.name.file()), ("--labels", arguments.labels.as_deref())];
    distinct::outputs([], &outputs)?;
    let mut labels = Labels::open(arguments, kind, &mut simulation)?;
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
        let item = Item { dataset: kind.name(), key: record.key, payload: record.json, origin };
        target.send(&item)?;
        labels.write(&mut simulation)?;
        progress.sent(sent);
        if sent.is_multiple_of(CHECK_EVERY) && target.status().undelivered > 0 {
            break;
        }
    }
    target.flush()?;
    progress.finish();
    labels.lines.finish()?;

    let counts = simulation.counts();
    let status = target.status();
    let throughput = Throughput::new(sent, started.elapsed(), status, &pace);
    let summary = Summary {
        dataset: kind.name(),
        target: arguments.to.name.to_string(),
        seed: arguments.seed,
        records: sent,
        undelivered: status.undelivered,
        retried: status.retried,
        rejected: status.rejected,
        rejected_by_code: target.rejected(),
        late: counts.late,
        duplicates: counts.duplicates,
        dropped: counts.dropped,
        spikes: counts.spikes,
        throughput,
    };
    let details = [
        ("undelivered", summary.undelivered),
        ("retried", summary.retried),
        ("rejected", summary.rejected),
        ("late", summary.late),
        ("duplicates", summary.duplicates),
        ("dropped", summary.dropped),
        ("spikes", summary.spikes),
    ];
    let title = format!("{} to {}", summary.dataset, summary.target);
    let shown = Report {
        title: &title,
        records: sent,
        details: &details,
        throughput: &summary.throughput,
        data_on_stdout: arguments.to.name == TargetName::Stdout,
    };
    shown.print(&summary, arguments.format)?;
    Ok(summary::outcome(target.as_ref()))
}

/// Where labels go.
struct Labels {
    lines: Lines,
    /// The measure of the events that is wrong.
    measure: &'static str,
}

impl Labels {
    fn open(arguments: &Arguments, kind: FeedKind, simulation: &mut Simulation) -> Result<Self> {
        let path = arguments.labels.as_deref();
        if path.is_some_and(is_stdout) && arguments.to.name == TargetName::Stdout {
            bail!("records go to standard output: --labels needs a file");
        }
        if path.is_some() && !simulation.enable_labels() {
            bail!("{} has no sensors whose faults could be labelled", kind.name());
        }
        let measure = match kind {
            FeedKind::Telemetry => "temperature_c",
            _ => "water_level_m",
        };
        Ok(Self { lines: Lines::open(path)?, measure })
    }

    /// Writes what has become known.
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

/// A label as it is written.
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

fn tempo(arguments: &Arguments) -> Tempo {
    match (arguments.rate, arguments.speed, arguments.start) {
        (Some(rate), ..) => Tempo::Rate(rate),
        (_, Some(speed), _) => Tempo::Speed(speed),
        (.., Some(Start::Now)) => Tempo::Speed(1.0),
        _ => Tempo::Free,
    }
}

fn settings(arguments: &Arguments, kind: FeedKind) -> Result<Settings> {
    let usual = Settings::of(kind);
    let in_millis = |length: Duration| {
        i64::try_from(length.as_millis()).context("a length of time is far too long")
    };
    Ok(Settings {
        seed: arguments.seed,
        devices: arguments.devices.unwrap_or(usual.devices),
        interval_ms: arguments.interval.map_or(Ok(usual.interval_ms), in_millis)?,
        start_ms: match arguments.start {
            None => usual.start_ms,
            Some(Start::At(time)) => time.as_millisecond(),
            Some(Start::Now) => Timestamp::now().as_millisecond(),
        },
        duration_ms: arguments.duration.map(in_millis).transpose()?,
        rates: arguments.chances.rates(),
    })
}
