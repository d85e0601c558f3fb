//! Traffic accidents, as rows of the CSV with 46 columns: header to text, including empty fields.
//!
//! A device is the reporter of a city. In each interval it reports one accident or none, depending
//! on the hour of the day, the day of the week and the weather.

use std::ops::Range;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Model, Reading};
use crate::places::{PLACES, Place, ZONES};
use crate::random::{Sequence, hash, signed, unit};
use crate::settings::{Settings, SettingsError};
use crate::text::{Object, push_decimal, push_local, push_whole};
use crate::weather::{Region, Weather};
use crate::{DAY_MS, HOUR_MS};

/// Probability of an accident by local hour, as a share of the maximum; there are two rush hours.
const HOURS: [f64; 24] = [
    0.12, 0.08, 0.08, 0.08, 0.16, 0.32, 0.6, 0.96, 0.92, 0.56, 0.48, 0.48, 0.52, 0.56, 0.64, 0.8,
    0.96, 1.0, 0.72, 0.44, 0.36, 0.32, 0.24, 0.16,
];

const STREETS: [&str; 8] = [
    "Maple Ave",
    "Old Mill Rd",
    "Station St",
    "N 12th St",
    "Harbor Blvd",
    "Cedar Creek Dr",
    "Foundry Ln",
    "Quarry Hill Rd",
];
const DIRECTIONS: [&str; 8] = ["N", "NNE", "E", "SE", "S", "SSW", "W", "NW"];
const FLAGS: [(&str, f64); 13] = [
    ("Amenity", 0.01),
    ("Bump", 0.0005),
    ("Crossing", 0.11),
    ("Give_Way", 0.005),
    ("Junction", 0.07),
    ("No_Exit", 0.003),
    ("Railway", 0.01),
    ("Roundabout", 0.0001),
    ("Station", 0.026),
    ("Stop", 0.028),
    ("Traffic_Calming", 0.001),
    ("Traffic_Signal", 0.15),
    ("Turning_Loop", 0.0),
];
/// Sine of the sun's height below which it is night, by each definition of twilight.
const TWILIGHTS: [(&str, f64); 4] = [
    ("Sunrise_Sunset", -0.0145),
    ("Civil_Twilight", -0.1045),
    ("Nautical_Twilight", -0.2079),
    ("Astronomical_Twilight", -0.3090),
];

/// Cached offset of a zone, which changes only on the hour.
struct Clock {
    zone: TimeZone,
    hour: i64,
    offset_ms: i64,
}

impl Clock {
    /// Returns the offset east of UTC, in milliseconds.
    fn offset_ms(&mut self, time_ms: i64) -> i64 {
        let hour = time_ms.div_euclid(HOUR_MS);
        if hour != self.hour {
            self.hour = hour;
            self.offset_ms = self.lookup(time_ms);
        }
        self.offset_ms
    }

    fn lookup(&self, time_ms: i64) -> i64 {
        let offset = |time| i64::from(self.zone.to_offset(time).seconds()) * 1_000;
        Timestamp::from_millisecond(time_ms).map_or(0, offset)
    }
}

pub(super) struct Accidents {
    weather: Weather,
    regions: Vec<Region>,
    clocks: Vec<Clock>,
    chances: Sequence,
    /// Number of the next accident.
    number: u64,
}

impl Accidents {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        let weather = Weather::new(settings.seed, settings.rates.storm);
        let clock = |name| {
            let zone = TimeZone::get(name).map_err(|error| SettingsError(error.to_string()))?;
            Ok(Clock { zone, hour: i64::MIN, offset_ms: 0 })
        };
        Ok(Self {
            weather,
            regions: PLACES.iter().map(|place| weather.region(place.spot)).collect(),
            clocks: ZONES.into_iter().map(clock).collect::<Result<_, _>>()?,
            chances: Sequence::new(settings.seed, 40),
            // The seed separates the accident numbers of two simulations.
            number: (100 + hash([settings.seed, 41]) % 900) * 1_000_000_000,
        })
    }

    /// Writes the columns from `Weather_Timestamp` to `Weather_Condition`.
    fn weather_columns(
        &self,
        row: &mut Object<'_>,
        reading: &Reading,
        offset_ms: i64,
        rain: f64,
        chances: &mut Sequence,
    ) {
        let (place, time_ms) = (&PLACES[reading.device % PLACES.len()], reading.time_ms);
        let front = self.weather.front(place.spot, time_ms);
        let noise = reading.noise;
        let north = place.spot.lat - 25.0;
        let celsius = 25.0 - 0.75 * north - 0.002 * place.elevation_ft
            + (5.0 + 0.45 * north) * place.spot.yearly(time_ms)
            + 5.0 * place.spot.daily(time_ms) * (1.0 - 0.6 * rain)
            + 5.0 * front
            + 0.5 * noise[0];
        let condition = condition(celsius, rain, front);
        let true_f = (celsius * 1.8 + 32.0).round();
        let temperature = true_f + 2.0 * reading.drift + 60.0 * reading.spike;
        let humidity = (62.0 + 14.0 * front + 28.0 * rain + noise[1]).clamp(5.0, 100.0).round();
        let pressure = 29.94 - 0.001_03 * place.elevation_ft - 0.3 * front + 0.01 * noise[2];
        let wind_mph = (6.0 + 6.0 * front.abs() + 22.0 * rain).round();
        // The formula of the National Weather Service needs a power; this line approximates it.
        let chill = if true_f <= 50.0 { temperature - 0.4 * wind_mph } else { temperature };
        let visibility = match condition {
            "Fog" => 0.5,
            _ if rain > 0.5 => 2.0,
            _ if rain > 0.02 => 6.0,
            _ => 10.0,
        };
        let direction = DIRECTIONS[(chances.bits() % 8) as usize];
        // Stations report at seven minutes to the hour.
        let observed = time_ms.div_euclid(HOUR_MS) * HOUR_MS - 7 * 60_000;
        row.quoted("Weather_Timestamp", |out| push_local(out, observed + offset_ms));
        row.decimal("Temperature(F)", temperature, 1);
        row.decimal("Wind_Chill(F)", chill, 1);
        row.decimal("Humidity(%)", humidity, 1);
        row.decimal("Pressure(in)", pressure, 2);
        row.decimal("Visibility(mi)", visibility, 1);
        row.text("Wind_Direction", if wind_mph < 1.0 { "CALM" } else { direction });
        row.decimal("Wind_Speed(mph)", wind_mph, 1);
        row.decimal("Precipitation(in)", 0.3 * rain, 2);
        row.text("Weather_Condition", condition);
    }
}

/// Returns the condition as a station words it.
fn condition(celsius: f64, rain: f64, front: f64) -> &'static str {
    match (rain, celsius) {
        (0.5.., ..0.5) => "Heavy Snow",
        (0.02.., ..0.5) => "Light Snow",
        (0.6.., _) => "T-Storm",
        (0.3.., _) => "Rain",
        (0.02.., _) => "Light Rain",
        _ if front > 0.6 && celsius < 10.0 => "Fog",
        _ if front > 0.25 => "Cloudy",
        _ if front > -0.1 => "Partly Cloudy",
        _ => "Fair",
    }
}

impl Object<'_> {
    /// Appends a number as text.
    fn decimal(&mut self, column: &str, value: f64, places: usize) {
        self.quoted(column, |out| push_decimal(out, value, places));
    }
}

impl Model for Accidents {
    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>> {
        let place_at = reading.device % PLACES.len();
        let place = &PLACES[place_at];
        let time_ms = reading.time_ms;
        let offset_ms = self.clocks[place.zone as usize].offset_ms(time_ms);

        // Always drawn, so that an additional row leaves the others unchanged.
        let happens = self.chances.bits();
        let local = time_ms + offset_ms;
        let hour = local.rem_euclid(DAY_MS) / HOUR_MS;
        let is_weekend = matches!((local.div_euclid(DAY_MS) + 4).rem_euclid(7), 0 | 6);
        let week = if is_weekend { 0.5 } else { 0.9 };
        let rain = self.regions[place_at].rain(time_ms);
        let likely = HOURS[usize::try_from(hour).unwrap_or_default()] * week * (1.0 + 0.6 * rain);
        if unit(happens) >= likely {
            return None;
        }

        self.number += 1;
        let mut chances = Sequence::new(self.number, hash([happens]));
        let mut row = Object(out);
        let key = row.quoted("ID", |out| {
            out.extend_from_slice(b"A-");
            push_whole(out, self.number);
        });
        let minutes = 15 + (chances.bits() % 165).cast_signed();
        let end_ms = time_ms + minutes * 60_000;
        let local_end = end_ms + self.clocks[place.zone as usize].lookup(end_ms);
        what_happened(&mut row, place, [local, local_end], rain, &mut chances);
        self.weather_columns(&mut row, reading, offset_ms, rain, &mut chances);
        for (column, rate) in FLAGS {
            row.text(column, if chances.chance(rate) { "True" } else { "False" });
        }
        let sun = place.spot.sun(time_ms);
        for (column, horizon) in TWILIGHTS {
            row.text(column, if sun > horizon { "Day" } else { "Night" });
        }
        out.push(b'}');
        Some(key)
    }
}

/// Writes the columns from `Source` to `Airport_Code`. Times are local.
fn what_happened(
    row: &mut Object<'_>,
    place: &Place,
    [start, end]: [i64; 2],
    rain: f64,
    chances: &mut Sequence,
) {
    let mut pick = |count: u64| (chances.bits() % count) as usize;
    let (road, street) = (place.roads[pick(2)], STREETS[pick(8)]);
    let (on_road, exit) = (pick(100) < 45, 1 + pick(240));
    let (source, story, worst) = (pick(100), pick(4), pick(100));
    let severity = match worst {
        0..2 => "1",
        2..78 if rain < 0.5 || worst < 68 => "2",
        2..95 if rain < 0.5 || worst < 90 => "3",
        _ => "4",
    };
    let lat = place.spot.lat + 0.08 * signed(chances.bits());
    let lon = place.spot.lon + 0.08 * signed(chances.bits());
    let miles = if chances.chance(0.5) { 2.5 * unit(chances.bits()) } else { 0.0 };

    row.text("Source", if source < 55 { "Source1" } else { "Source2" });
    row.text("Severity", severity);
    row.quoted("Start_Time", |out| push_local(out, start));
    row.quoted("End_Time", |out| push_local(out, end));
    row.decimal("Start_Lat", lat, 6);
    row.decimal("Start_Lng", lon, 6);
    if miles > 0.0 {
        row.decimal("End_Lat", lat + 0.010 * miles, 6);
        row.decimal("End_Lng", lon + 0.013 * miles, 6);
    } else {
        row.text("End_Lat", "");
        row.text("End_Lng", "");
    }
    row.decimal("Distance(mi)", miles, 3);
    row.quoted("Description", |out| {
        let (before, after) = match story {
            0 => ("Two vehicles collided on ", " near exit "),
            1 => ("Right shoulder blocked on ", " beyond exit "),
            2 => ("Stalled truck after a crash on ", " at mile "),
            _ => ("Slow going on ", ", left lane closed before exit "),
        };
        for text in [before, road, after] {
            out.extend_from_slice(text.as_bytes());
        }
        push_whole(out, exit as u64);
        out.push(b'.');
    });
    row.text("Street", if on_road { road } else { street });
    row.text("City", place.city);
    row.text("County", place.county);
    row.text("State", place.state);
    row.text("Zipcode", place.zipcode);
    row.text("Country", "US");
    row.text("Timezone", ZONES[place.zone as usize]);
    row.text("Airport_Code", place.airport);
}
