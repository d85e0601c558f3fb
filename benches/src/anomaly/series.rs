//! Series of window means with labels, from the telemetry simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;
use serde::Deserialize;
use tributary_anomaly::AnomalyKind;
use tributary_datagen::{FaultKind, FeedKind, Label, Rates, Settings, Simulation};

use super::{IGNORED_WINDOWS_AFTER, MAX_DETECTION_WINDOWS};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 1_440 * MINUTE_MS;

/// Faults that occur in a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Faults of one kind.
    Only(AnomalyKind),
    /// Faults of all kinds.
    All,
}

impl Scenario {
    /// Each kind alone, then all kinds.
    pub const ALL: [Self; 5] = [
        Self::Only(AnomalyKind::Spike),
        Self::Only(AnomalyKind::LevelShift),
        Self::Only(AnomalyKind::Drift),
        Self::Only(AnomalyKind::Stuck),
        Self::All,
    ];

    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Only(kind) => kind.as_str(),
            Self::All => "all",
        }
    }

    /// Returns the rates of the faults. Rates of other events keep their defaults.
    fn rates(self) -> Rates {
        let has = |kind| f64::from(u8::from(self == Self::All || self == Self::Only(kind)));
        let a_day = if self == Self::All { 1.0 } else { 2.0 };
        Rates {
            drift: 0.0,
            spike: 0.0003 * has(AnomalyKind::Spike),
            shift: a_day * has(AnomalyKind::LevelShift),
            fast_drift: a_day * has(AnomalyKind::Drift),
            stuck: a_day * has(AnomalyKind::Stuck),
            ..Rates::default()
        }
    }
}

/// Amount of simulated data per scenario.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Seeds, one simulation each.
    pub seeds: Range<u64>,
    /// Series per simulation.
    pub devices: u32,
    /// Duration of each series in days, including the training day.
    pub days: u16,
}

/// Mean temperatures of one device, one per minute.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Mean by window; `None` for a window without readings.
    pub means: Vec<Option<f64>>,
    /// Faults and their windows.
    pub faults: Vec<(AnomalyKind, Range<usize>)>,
    /// Ignored windows.
    pub echoes: Vec<Range<usize>>,
}

#[derive(Deserialize)]
struct Reading<'a> {
    device_id: &'a str,
    timestamp: &'a str,
    temperature: f64,
}

/// Simulates all series of a scenario.
pub(super) fn all(scenario: Scenario, extent: &Extent) -> Vec<Series> {
    extent.seeds.clone().flat_map(|seed| of_seed(scenario, seed, extent)).collect()
}

fn of_seed(scenario: Scenario, seed: u64, extent: &Extent) -> Vec<Series> {
    let usual = Settings::of(FeedKind::Telemetry);
    let settings = Settings {
        seed,
        devices: extent.devices,
        duration_ms: Some(DAY_MS * i64::from(extent.days)),
        rates: scenario.rates(),
        ..usual
    };
    let Ok(mut simulation) = Simulation::new(FeedKind::Telemetry, &settings) else {
        return Vec::new();
    };
    simulation.enable_labels();
    let mut windows: BTreeMap<String, Means> = BTreeMap::new();
    while let Some(record) = simulation.next() {
        let Ok(reading) = serde_json::from_slice::<Reading<'_>>(record.json) else { continue };
        let Ok(time) = reading.timestamp.parse::<Timestamp>() else { continue };
        let since_ms = time.as_millisecond() - settings.start_ms;
        if !windows.contains_key(reading.device_id) {
            windows.insert(reading.device_id.to_owned(), Means::default());
        }
        if let Some(means) = windows.get_mut(reading.device_id) {
            means.add(since_ms, reading.temperature);
        }
    }

    let count = usize::from(extent.days) * 1_440;
    let mut series: BTreeMap<_, _> =
        windows.into_iter().map(|(device, means)| (device, means.series(count))).collect();
    for label in simulation.take_labels() {
        if let Some(series) = series.get_mut(&label.device) {
            series.label(&label, settings.start_ms);
        }
    }
    series.into_values().collect()
}

/// Sums and counts by window. Duplicate readings count once.
#[derive(Default)]
struct Means {
    sums: BTreeMap<i64, (f64, f64)>,
    seen: BTreeSet<i64>,
}

impl Means {
    fn add(&mut self, since_ms: i64, value: f64) {
        if self.seen.insert(since_ms) {
            let (sum, count) = self.sums.entry(since_ms.div_euclid(MINUTE_MS)).or_default();
            *sum += value;
            *count += 1.0;
        }
    }

    fn series(self, count: usize) -> Series {
        let mut means = vec![None; count];
        for (window, (sum, count)) in self.sums {
            if let Some(mean) = usize::try_from(window).ok().and_then(|at| means.get_mut(at)) {
                *mean = Some(sum / count);
            }
        }
        Series { means, ..Series::default() }
    }
}

impl Series {
    fn label(&mut self, label: &Label, start_ms: i64) {
        let last = self.means.len();
        let window = |ms: i64| {
            usize::try_from((ms - start_ms).div_euclid(MINUTE_MS)).unwrap_or_default().min(last)
        };
        let from = window(label.from_ms);
        let to = label.to_ms.map_or(last, |to_ms| (window(to_ms - 1) + 1).min(last));
        let until = |from: usize, count: usize| from..(from + count).min(last);
        match label.kind {
            FaultKind::Spike => self.faults.push((AnomalyKind::Spike, from..to)),
            FaultKind::LevelShift => {
                let back = window(label.to_ms.unwrap_or(i64::MAX));
                self.faults.push((AnomalyKind::LevelShift, until(from, MAX_DETECTION_WINDOWS)));
                self.faults.push((AnomalyKind::LevelShift, until(back, MAX_DETECTION_WINDOWS)));
            }
            FaultKind::Drift => {
                self.faults.push((AnomalyKind::Drift, from..to));
                self.echoes.push(until(to, IGNORED_WINDOWS_AFTER));
            }
            FaultKind::Stuck => {
                self.faults.push((AnomalyKind::Stuck, from..to));
                self.echoes.push(until(to, IGNORED_WINDOWS_AFTER));
            }
            FaultKind::SlowDrift => {}
        }
    }
}
