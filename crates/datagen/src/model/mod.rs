//! What devices measure: one model for each feed.

mod accidents;
mod covid;
mod flood;
mod telemetry;

use std::ops::Range;

use crate::settings::{FeedKind, Settings, SettingsError};

/// One reading of one device, with what disturbs it.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Which device, from 0.
    pub(crate) device: usize,
    /// When it is taken.
    pub(crate) time_ms: i64,
    /// The noise of up to three sensors, with a standard deviation of 1; or none.
    pub(crate) noise: [f64; 3],
    /// How far the sensor has drifted: 0 for a good one, up to 1 after a month.
    pub(crate) drift: f64,
    /// 0, or a jump of 0.5 to 1, either way.
    pub(crate) spike: f64,
    /// How far a failing sensor is off, in its unit.
    pub(crate) offset: f64,
    /// Whether the sensor shows what it showed before.
    pub(crate) is_stuck: bool,
}

/// Writes what a device sends.
pub(crate) trait Model: Send {
    /// What a spike of 1 and a month's drift are in the unit of the sensor that they are of; `None`
    /// where they are of no sensor.
    fn units(&self) -> Option<(f64, f64)> {
        None
    }

    /// Appends the record of a reading: one JSON object. Returns where in `out`, which is empty
    /// before, the partition key is; `None` where there is nothing to report.
    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>>;
}

/// The model of a feed.
pub(crate) fn of(kind: FeedKind, settings: &Settings) -> Result<Box<dyn Model>, SettingsError> {
    Ok(match kind {
        FeedKind::Flood => Box::new(flood::Flood::new(settings)),
        FeedKind::Telemetry => Box::new(telemetry::Telemetry::new(settings)),
        FeedKind::Accidents => Box::new(accidents::Accidents::new(settings)?),
        FeedKind::Covid => Box::new(covid::Covid::new(settings)),
    })
}

/// Appends a part of a record, and says where it is.
fn push_key(out: &mut Vec<u8>, key: &[u8]) -> Range<usize> {
    let start = out.len();
    out.extend_from_slice(key);
    start..out.len()
}
