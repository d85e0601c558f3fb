//! Models of what devices measure, one per feed.

mod accidents;
mod covid;
mod flood;
pub(crate) mod schema;
mod telemetry;

use std::ops::Range;

use crate::settings::{FeedKind, Settings, SettingsError};
use crate::text::{Object, push_decimal};

/// Reading of a device, with its disturbances.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Index of the device, from 0.
    pub(crate) device: usize,
    /// Time of the reading.
    pub(crate) time_ms: i64,
    /// Noise of up to three sensors, with a standard deviation of 1; 0 without noise.
    pub(crate) noise: [f64; 3],
    /// Drift of the sensor: 0 for a good one, up to 1 after a month.
    pub(crate) drift: f64,
    /// Spike: 0, or a jump of 0.5 to 1 in either direction.
    pub(crate) spike: f64,
    /// Offset of a failing sensor, in its unit.
    pub(crate) offset: f64,
    /// True if the sensor repeats its previous value.
    pub(crate) is_stuck: bool,
}

impl Reading {
    /// Returns a reading of the first device without faults, but with noise.
    pub(crate) fn usual() -> Self {
        Self {
            device: 0,
            time_ms: 0,
            noise: [1.0; 3],
            drift: 0.0,
            spike: 0.0,
            offset: 0.0,
            is_stuck: false,
        }
    }
}

/// Model of the records that a device sends.
pub(crate) trait Model: Send {
    /// Returns a spike of 1 and a month's drift in the unit of the affected sensor; `None` if they
    /// affect no sensor.
    fn units(&self) -> Option<(f64, f64)> {
        None
    }

    /// Appends the record of a reading, one JSON object, to `out`, which must be empty. Returns the
    /// range of the partition key in `out`; `None` if there is nothing to report.
    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>>;
}

/// Returns the model of a feed.
pub(crate) fn of(kind: FeedKind, settings: &Settings) -> Result<Box<dyn Model>, SettingsError> {
    Ok(match kind {
        FeedKind::Flood => Box::new(flood::Flood::new(settings)),
        FeedKind::Telemetry => Box::new(telemetry::Telemetry::new(settings)),
        FeedKind::Accidents => Box::new(accidents::Accidents::new(settings)?),
        FeedKind::Covid => Box::new(covid::Covid::new(settings)),
    })
}

/// Returns `{"latitude":…,"longitude":…}`.
fn location(lat: f64, lon: f64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object(&mut out);
    object.field("latitude", |out| push_decimal(out, lat, 5));
    object.field("longitude", |out| push_decimal(out, lon, 5));
    out.push(b'}');
    out
}
