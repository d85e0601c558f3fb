//! River gauges: six on each river, each downstream of the previous one. A storm over a river's
//! source reaches the lower gauges later, as a lower and longer wave.

use std::ops::Range;

use super::{Model, Reading, location};
use crate::HOUR_MS;
use crate::places::PLACES;
use crate::random::{hash, signed, unit};
use crate::settings::Settings;
use crate::text::{Object, push_decimal, push_time};
use crate::weather::{Region, Spot, Weather};

const GAUGES: usize = 6;

/// Lowest and highest level that a gauge can show, in metres.
const RANGE_M: (f64, f64) = (0.0, 15.0);

/// Size of a spike and of a month's drift, in metres.
const SPIKE_M: f64 = 3.0;
const DRIFT_M: f64 = 0.15;

struct River {
    source: Spot,
    region: Region,
    /// Rise of the level in the strongest storm, in metres.
    reach_m: f64,
}

struct Gauge {
    sensor_id: String,
    /// Value of `location`, as JSON.
    location: Vec<u8>,
    /// Level in dry weather, in metres.
    base_m: f64,
    lag_ms: i64,
    /// Share of the wave that reaches this gauge.
    share: f64,
}

pub(super) struct Flood {
    rivers: Vec<River>,
    gauges: Vec<Gauge>,
}

impl Flood {
    pub(super) fn new(settings: &Settings) -> Self {
        let weather = Weather::new(settings.seed, settings.rates.storm);
        let devices = settings.devices as usize;
        let draw = |what: u64, which: usize| hash([settings.seed, 10 + what, which as u64]);
        let river = |number: usize| {
            let place = &PLACES[draw(0, number) as usize % PLACES.len()];
            let source = Spot {
                lat: place.spot.lat + 0.4 * signed(draw(1, number)),
                lon: place.spot.lon + 0.4 * signed(draw(2, number)),
            };
            let reach_m = 2.0 + 3.0 * unit(draw(3, number));
            River { source, region: weather.region(source), reach_m }
        };
        let rivers: Vec<River> = (0..devices.div_ceil(GAUGES)).map(river).collect();
        let gauge = |device: usize| {
            let (number, below) = (device / GAUGES, (device % GAUGES) as u32);
            let steps = f64::from(below);
            let source = rivers[number].source;
            Gauge {
                sensor_id: format!("river-{number:04}-gauge-{}", below + 1),
                location: location(source.lat - 0.04 * steps, source.lon + 0.06 * steps),
                base_m: 0.6 + 0.8 * unit(draw(4, number)) + 0.15 * steps,
                lag_ms: i64::from(below) * 75 * 60_000,
                share: 1.0 - 0.07 * steps,
            }
        };
        let gauges = (0..devices).map(gauge).collect();
        Self { rivers, gauges }
    }
}

impl Model for Flood {
    fn units(&self) -> Option<(f64, f64)> {
        Some((SPIKE_M, DRIFT_M))
    }

    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>> {
        let gauge = &self.gauges[reading.device];
        let river = &mut self.rivers[reading.device / GAUGES];
        let time_ms = reading.time_ms;

        let swell = river.region.swell(time_ms, gauge.lag_ms + HOUR_MS);
        // A second storm adds less, because the river has already left its bed.
        let wave = swell / (1.0 + 0.25 * swell);
        let level = gauge.base_m - 0.15 * river.source.yearly(time_ms)
            + 0.015 * river.source.daily(time_ms)
            + gauge.share * river.reach_m * wave
            + 0.008 * reading.noise[0]
            + DRIFT_M * reading.drift
            + SPIKE_M * reading.spike;

        let mut object = Object(out);
        let key = object.text("sensor_id", &gauge.sensor_id);
        object.field("location", |out| out.extend_from_slice(&gauge.location));
        let level = level.clamp(RANGE_M.0, RANGE_M.1);
        object.field("water_level", |out| push_decimal(out, level, 3));
        object.quoted("timestamp", |out| push_time(out, time_ms));
        out.push(b'}');
        Some(key)
    }
}
