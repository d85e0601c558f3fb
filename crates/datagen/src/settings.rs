//! Settings of a simulation.

use std::fmt;
use std::ops::RangeInclusive;

use tributary_datasets::Dataset;

use crate::DAY_MS;
use crate::faults::MAX_PER_DAY;
use crate::model::schema::Plan;
use crate::places::PLACES;

/// 2026-01-01T00:00:00Z.
const YEAR_2026_MS: i64 = 1_767_225_600_000;
/// 2020-03-01T00:00:00Z.
const MARCH_2020_MS: i64 = 1_583_020_800_000;

/// Years with four digits.
const YEARS_MS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Maximum number of devices: each is kept in memory.
pub(crate) const MAX_DEVICES: u32 = 1_000_000;

/// Devices and interval of a feed whose schema states neither.
const USUAL_DEVICES: u32 = 10;
const USUAL_INTERVAL_MS: i64 = 60_000;

/// Kind of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// River gauges: `{sensor_id, location, water_level, timestamp}`.
    Flood,
    /// Weather stations: `{device_id, timestamp, temperature, humidity, pressure, location,
    /// status}`.
    Telemetry,
    /// Traffic accidents: a row of the CSV with 46 columns, header to text.
    Accidents,
    /// Counts by county and day: `{date, county, state, fips, cases, deaths}`.
    Covid,
}

impl FeedKind {
    /// Returns the name of the dataset.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Telemetry => "telemetry",
            Self::Accidents => "accidents",
            Self::Covid => "covid",
        }
    }
}

/// Rates of faults. Shares from 0 to 1, except `storm`, `shift`, `fast_drift` and `stuck`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Storms per day and region.
    pub storm: f64,
    /// Share of devices whose sensor drifts by a constant amount per month.
    pub drift: f64,
    /// Share of readings with sensor noise.
    pub noise: f64,
    /// Share of readings that are never sent, because a device pauses for a while.
    pub dropout: f64,
    /// Share of readings that are sent late, by up to 60 intervals.
    pub late: f64,
    /// Share of readings that are sent twice, the second time within an interval.
    pub duplicate: f64,
    /// Share of readings with a single jump, within the range of the sensor.
    pub spike: f64,
    /// Level shifts per day and device: periods of an hour or more with a constant offset.
    pub shift: f64,
    /// Drifts per day and device, within about an hour.
    pub fast_drift: f64,
    /// Stuck sensors per day and device, for an hour or more.
    pub stuck: f64,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            storm: 0.15,
            drift: 0.05,
            noise: 1.0,
            dropout: 0.01,
            late: 0.01,
            duplicate: 0.005,
            spike: 0.001,
            shift: 0.0,
            fast_drift: 0.0,
            stuck: 0.0,
        }
    }
}

/// Settings of a simulation. The same settings give the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of devices that send.
    pub devices: u32,
    /// Time between two readings of a device, in milliseconds.
    pub interval_ms: i64,
    /// Time of the first reading, in milliseconds since 1970.
    pub start_ms: i64,
    /// Duration of the readings, in simulated milliseconds; `None` for no end.
    pub duration_ms: Option<i64>,
    /// Rates of faults.
    pub rates: Rates,
}

/// Maximum time of an event, in milliseconds since 1970: a day before the year 10000, so that its
/// year has four digits in every zone.
pub(crate) const LAST_MS: i64 = 253_402_207_200_999;

impl Settings {
    /// Returns the default settings of a feed.
    #[must_use]
    pub fn of(kind: FeedKind) -> Self {
        let (devices, interval_ms, start_ms) = match kind {
            FeedKind::Flood => (60, 15 * 60_000, YEAR_2026_MS),
            FeedKind::Telemetry => (100, 10_000, YEAR_2026_MS),
            FeedKind::Accidents => (PLACES.len() as u32, 15 * 60_000, YEAR_2026_MS),
            FeedKind::Covid => (PLACES.len() as u32, DAY_MS, MARCH_2020_MS),
        };
        let (seed, duration_ms, rates) = (1, None, Rates::default());
        Self { seed, devices, interval_ms, start_ms, duration_ms, rates }
    }

    /// Returns the default settings of a feed that its schema alone describes: 10 devices, or as
    /// many as it can name, and the reporting interval of the schema, or 1 minute; no shorter than
    /// the times of its rows can tell apart.
    #[must_use]
    pub fn of_dataset(dataset: &Dataset) -> Self {
        let plan = Plan::new(dataset).ok();
        let plan = plan.as_ref();
        let devices = plan.map_or(USUAL_DEVICES, Plan::max_devices);
        let shortest_ms = plan.map_or(1, |plan| plan.resolution_ms(dataset));
        let usual = Rates::default();
        let has_spikes = plan.is_some_and(Plan::has_spikes);
        let (noise, spike) = if has_spikes { (usual.noise, usual.spike) } else { (0.0, 0.0) };
        let interval_ms = dataset.interval().map(|interval| interval.as_millis());
        let interval_ms = interval_ms.and_then(|interval| i64::try_from(interval).ok());
        Self {
            seed: 1,
            devices: devices.min(USUAL_DEVICES),
            interval_ms: interval_ms.unwrap_or(USUAL_INTERVAL_MS).max(shortest_ms),
            start_ms: YEAR_2026_MS,
            duration_ms: None,
            rates: Rates { storm: 0.0, drift: 0.0, noise, spike, ..usual },
        }
    }

    /// Checks that a built-in feed can be generated from these settings.
    pub(crate) fn check(&self, kind: FeedKind) -> Result<(), SettingsError> {
        let max = if kind == FeedKind::Covid { PLACES.len() as u32 } else { MAX_DEVICES };
        if kind == FeedKind::Covid && self.interval_ms % DAY_MS != 0 {
            let message = "covid counts by the day: the interval is whole days";
            return Err(SettingsError(message.to_owned()));
        }
        self.check_feed(kind.name(), max, kind == FeedKind::Telemetry)
    }

    /// Checks that a feed of at most `max` devices can be generated from these settings.
    pub(crate) fn check_feed(
        &self,
        name: &str,
        max: u32,
        has_episodes: bool,
    ) -> Result<(), SettingsError> {
        let rates = &self.rates;
        let shares = [
            ("drift", rates.drift),
            ("noise", rates.noise),
            ("dropout", rates.dropout),
            ("late", rates.late),
            ("duplicate", rates.duplicate),
            ("spike", rates.spike),
        ];
        let faults =
            [("shift", rates.shift), ("fast drift", rates.fast_drift), ("stuck", rates.stuck)];
        let all = faults.iter().map(|(_, rate)| rate).sum::<f64>();
        let message = if self.devices == 0 || self.devices > max {
            format!("{name} can have 1 to {max} devices")
        } else if self.interval_ms < 1 || self.interval_ms > 366 * DAY_MS {
            "an interval is 1 ms to 366 days".to_owned()
        } else if !YEARS_MS.contains(&self.start_ms) {
            "the start is beyond the years 1 to 9999".to_owned()
        } else if self.start_ms.saturating_add(self.duration_ms.unwrap_or(0)) > LAST_MS {
            "the feed would go on beyond 9999-12-30T22:00:00Z, the last time there is".to_owned()
        } else if let Some((share, _)) = shares.iter().find(|it| !(0.0..=1.0).contains(&it.1)) {
            format!("the {share} rate is a share from 0 to 1")
        } else if rates.dropout > 0.99 {
            "a dropout rate above 0.99 leaves nothing to send".to_owned()
        } else if !(0.0..=4.0).contains(&rates.storm) {
            "the storm rate is 0 to 4 a day".to_owned()
        } else if let Some((fault, _)) =
            faults.iter().find(|it| !(0.0..=MAX_PER_DAY).contains(&it.1))
        {
            format!("the {fault} rate is 0 to {MAX_PER_DAY} a day")
        } else if all > MAX_PER_DAY {
            "the shift, fast drift and stuck rates are 4 a day together at most".to_owned()
        } else if all > 0.0 && !has_episodes {
            format!("{name} has no sensors that shift, drift fast or stick")
        } else {
            return Ok(());
        };
        Err(SettingsError(message))
    }
}

/// Error for settings that no feed can be generated from; its one-line message names the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(pub(crate) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
