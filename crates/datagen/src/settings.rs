//! What a simulation is made of.

use std::fmt;

use crate::DAY_MS;
use crate::faults::MAX_PER_DAY;
use crate::places::PLACES;

/// Midnight of 2026-01-01, UTC.
const YEAR_2026_MS: i64 = 1_767_225_600_000;
/// Midnight of 2020-03-01, UTC.
const MARCH_2020_MS: i64 = 1_583_020_800_000;

/// The most devices: each of them is kept in memory.
const MAX_DEVICES: u32 = 1_000_000;

/// Which feed is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// River gauges: `{sensor_id, location, water_level, timestamp}`.
    Flood,
    /// Weather stations: `{device_id, timestamp, temperature, humidity, pressure, location, status}`.
    Telemetry,
    /// Traffic accidents: a row of the CSV with 46 columns, header to text.
    Accidents,
    /// Counts by county and day: `{date, county, state, fips, cases, deaths}`.
    Covid,
}

impl FeedKind {
    /// The name of the dataset.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Telemetry => "telemetry",
            Self::Accidents => "accidents",
            Self::Covid => "covid",
        }
    }

    /// The most devices it can have.
    #[must_use]
    pub fn max_devices(self) -> u32 {
        match self {
            Self::Covid => PLACES.len() as u32,
            _ => MAX_DEVICES,
        }
    }
}

/// How often things happen. Shares from 0 to 1, but for `storm`, `shift`, `fast_drift` and `stuck`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// Storms, for each day and region.
    pub storm: f64,
    /// Devices whose sensor drifts away from the truth, some of its unit in a month.
    pub drift: f64,
    /// Readings that carry the noise of their sensor.
    pub noise: f64,
    /// Readings that are never sent: a device falls silent for a while.
    pub dropout: f64,
    /// Readings that are sent late, by up to 60 intervals.
    pub late: f64,
    /// Readings that are sent twice, the second time within an interval.
    pub duplicate: f64,
    /// Readings whose value jumps away for once, within what a sensor can show.
    pub spike: f64,
    /// Times that readings are off by as much for an hour or more, for each day and device.
    pub shift: f64,
    /// Times that a sensor runs away within an hour or so, for each day and device.
    pub fast_drift: f64,
    /// Times that a sensor is stuck for an hour or more, for each day and device.
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

/// What a simulation is made of; the same settings give the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How many devices send.
    pub devices: u32,
    /// From one reading of a device to its next, in milliseconds.
    pub interval_ms: i64,
    /// The time of the first reading, in milliseconds since 1970.
    pub start_ms: i64,
    /// How long readings are taken, in simulated milliseconds; without it, for ever.
    pub duration_ms: Option<i64>,
    /// How often things happen.
    pub rates: Rates,
}

/// The last time that an event can have, in milliseconds since 1970: a day before the year 10000, so
/// that it has a year of four digits in every zone.
pub(crate) const LAST_MS: i64 = 253_402_207_200_999;

impl Settings {
    /// What is usual for a feed.
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

    /// Whether a feed can be made of these settings.
    pub(crate) fn check(&self, kind: FeedKind) -> Result<(), SettingsError> {
        let max = kind.max_devices();
        if self.devices == 0 || self.devices > max {
            return Err(SettingsError(format!("{} can have 1 to {max} devices", kind.name())));
        }
        if self.interval_ms < 1 || self.interval_ms > 366 * DAY_MS {
            return Err(SettingsError("an interval is 1 ms to 366 days".to_owned()));
        }
        if kind == FeedKind::Covid && self.interval_ms % DAY_MS != 0 {
            return Err(SettingsError(
                "covid counts by the day: the interval is whole days".into(),
            ));
        }
        // The years that dates have four digits for.
        if !(-62_135_596_800_000..=253_402_300_799_999).contains(&self.start_ms) {
            return Err(SettingsError("the start is beyond the years 1 to 9999".to_owned()));
        }
        if self.start_ms.saturating_add(self.duration_ms.unwrap_or(0)) > LAST_MS {
            let message =
                "the feed would go on beyond 9999-12-30T22:00:00Z, the last time there is";
            return Err(SettingsError(message.to_owned()));
        }
        let rates = &self.rates;
        let shares = [
            ("drift", rates.drift),
            ("noise", rates.noise),
            ("dropout", rates.dropout),
            ("late", rates.late),
            ("duplicate", rates.duplicate),
            ("spike", rates.spike),
        ];
        for (name, share) in shares {
            if !(0.0..=1.0).contains(&share) {
                return Err(SettingsError(format!("the {name} rate is a share from 0 to 1")));
            }
        }
        if rates.dropout > 0.99 {
            return Err(SettingsError("a dropout rate above 0.99 leaves nothing to send".into()));
        }
        if !(0.0..=4.0).contains(&rates.storm) {
            return Err(SettingsError("the storm rate is 0 to 4 a day".to_owned()));
        }
        let faults =
            [("shift", rates.shift), ("fast drift", rates.fast_drift), ("stuck", rates.stuck)];
        for (name, rate) in faults {
            if !(0.0..=MAX_PER_DAY).contains(&rate) {
                return Err(SettingsError(format!("the {name} rate is 0 to {MAX_PER_DAY} a day")));
            }
        }
        let all = faults.iter().map(|(_, rate)| rate).sum::<f64>();
        if all > MAX_PER_DAY {
            let message = "the shift, fast drift and stuck rates are 4 a day together at most";
            return Err(SettingsError(message.to_owned()));
        }
        if all > 0.0 && kind != FeedKind::Telemetry {
            let message = format!("{} has no sensors that shift, drift fast or stick", kind.name());
            return Err(SettingsError(message));
        }
        Ok(())
    }
}

/// Settings that no feed can be made of: says which, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(pub(crate) String);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SettingsError {}
