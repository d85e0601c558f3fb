//! Weather stations, scattered around cities.

use std::ops::Range;

use super::{Model, Reading, location};
use crate::places::PLACES;
use crate::random::{hash, signed};
use crate::settings::Settings;
use crate::text::{Object, push_decimal, push_time};
use crate::weather::{Region, Spot, Weather};

/// Measuring ranges of the sensors: °C, %, hPa.
const TEMPERATURE: (f64, f64) = (-40.0, 60.0);
const HUMIDITY: (f64, f64) = (3.0, 100.0);
const PRESSURE: (f64, f64) = (900.0, 1080.0);

struct Station {
    device_id: String,
    /// Value of `location`, as JSON.
    location: Vec<u8>,
    spot: Spot,
    region: usize,
    /// Annual mean, in °C.
    mean_c: f64,
    /// Difference between the warmest month and the mean, in °C.
    season_c: f64,
    /// Last temperature shown.
    last_c: Option<f64>,
}

/// Size of a spike and of a month's drift, in °C.
const SPIKE_C: f64 = 30.0;
const DRIFT_C: f64 = 1.5;

pub(super) struct Telemetry {
    weather: Weather,
    stations: Vec<Station>,
    /// Regions by place: stations around one city share their storms.
    regions: Vec<Region>,
}

impl Telemetry {
    pub(super) fn new(settings: &Settings) -> Self {
        let weather = Weather::new(settings.seed, settings.rates.storm);
        let draw = |what: u64, device: usize| hash([settings.seed, 20 + what, device as u64]);
        let station = |device: usize| {
            let region = draw(0, device) as usize % PLACES.len();
            let place = &PLACES[region];
            let spot = Spot {
                lat: place.spot.lat + 0.15 * signed(draw(1, device)),
                lon: place.spot.lon + 0.15 * signed(draw(2, device)),
            };
            let north = spot.lat - 25.0;
            Station {
                device_id: format!("device-{device:06}"),
                location: location(spot.lat, spot.lon),
                spot,
                region,
                mean_c: 25.0 - 0.75 * north - 0.002 * place.elevation_ft + signed(draw(3, device)),
                season_c: 5.0 + 0.45 * north,
                last_c: None,
            }
        };
        let stations = (0..settings.devices as usize).map(station).collect();
        let regions = PLACES.iter().map(|place| weather.region(place.spot)).collect();
        Self { weather, stations, regions }
    }
}

impl Model for Telemetry {
    fn units(&self) -> Option<(f64, f64)> {
        Some((SPIKE_C, DRIFT_C))
    }

    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>> {
        let station = &mut self.stations[reading.device];
        let time_ms = reading.time_ms;
        let front = self.weather.front(station.spot, time_ms);
        let rain = self.regions[station.region].rain(time_ms);
        let day = station.spot.daily(time_ms) * (1.0 - 0.6 * rain);

        let temperature = station.mean_c
            + station.season_c * station.spot.yearly(time_ms)
            + 5.0 * day
            + 5.0 * front
            - 4.0 * rain
            + 0.12 * reading.noise[0]
            + DRIFT_C * reading.drift
            + SPIKE_C * reading.spike
            + reading.offset;
        let humidity = 62.0 - 14.0 * day + 12.0 * front + 30.0 * rain + 0.8 * reading.noise[1];
        let pressure = 1014.0 - 11.0 * front - 9.0 * rain + 0.15 * reading.noise[2];
        let temperature = station
            .last_c
            .filter(|_| reading.is_stuck)
            .unwrap_or_else(|| temperature.clamp(TEMPERATURE.0, TEMPERATURE.1));
        station.last_c = Some(temperature);
        let humidity = humidity.clamp(HUMIDITY.0, HUMIDITY.1);
        let pressure = pressure.clamp(PRESSURE.0, PRESSURE.1);

        // A station reports some of the jumps that it notices; heat and damp are left to people.
        let status = if reading.spike.abs() > 0.9 {
            "FAIL"
        } else if reading.spike != 0.0 || temperature > 35.0 || humidity > 98.0 {
            "WARN"
        } else {
            "OK"
        };
        let mut object = Object(out);
        let key = object.text("device_id", &station.device_id);
        object.quoted("timestamp", |out| push_time(out, time_ms));
        object.field("temperature", |out| push_decimal(out, temperature, 2));
        object.field("humidity", |out| push_decimal(out, humidity, 1));
        object.field("pressure", |out| push_decimal(out, pressure, 1));
        object.field("location", |out| out.extend_from_slice(&station.location));
        object.text("status", status);
        out.push(b'}');
        Some(key)
    }
}
