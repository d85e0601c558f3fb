//! Cumulative counts by county and day, as in the CSV: all values are text.
//!
//! The counties are real, the numbers are generated.

use std::ops::Range;

use super::{Model, Reading};
use crate::DAY_MS;
use crate::places::{PLACES, Place};
use crate::random::{hash, normal, unit};
use crate::settings::Settings;
use crate::text::{Object, push_date, push_whole};
use crate::weather::{in_units, wave};

#[derive(Clone, Default)]
struct County {
    /// Number of counted days.
    days: i64,
    cases: f64,
    deaths: f64,
}

pub(super) struct Covid {
    seed: u64,
    start_ms: i64,
    counties: Vec<County>,
}

impl Covid {
    pub(super) fn new(settings: &Settings) -> Self {
        let counties = vec![County::default(); settings.devices as usize];
        Self { seed: settings.seed, start_ms: settings.start_ms, counties }
    }
}

/// Returns the new cases of a day, from its number since the outbreak. Cases grow for two months
/// and then rise and fall in waves. Fewer are counted at the weekend.
fn new_cases(seed: u64, device: usize, day: i64, noise: f64) -> f64 {
    let draw = |what: u64| unit(hash([seed, 30 + what, device as u64]));
    let people = 60.0 + 1_900.0 * draw(0) * draw(0);
    let days = in_units(day, 1) - 20.0 * draw(1);
    if days < 0.0 {
        return 0.0;
    }
    let grown = (days / 60.0).min(1.0);
    let wave = 1.0 + 0.8 * wave(days / 130.0 + 0.3 * draw(2));
    let week = if day % 7 < 2 { 0.6 } else { 1.16 };
    (people * grown * grown * wave * week * (1.0 + 0.15 * noise)).max(0.0)
}

impl Model for Covid {
    fn write(&mut self, reading: &Reading, out: &mut Vec<u8>) -> Option<Range<usize>> {
        let county = &mut self.counties[reading.device];
        // Omitted days are included in the next count.
        let today = (reading.time_ms - self.start_ms) / DAY_MS;
        while county.days <= today {
            let is_even = reading.noise[0].abs() <= 0.0;
            let bits = hash([self.seed, 33, reading.device as u64, county.days.cast_unsigned()]);
            let noise = if is_even { 0.0 } else { normal(bits) };
            let cases = new_cases(self.seed, reading.device, county.days, noise);
            county.cases += cases;
            county.deaths += 0.016 * cases;
            county.days += 1;
        }
        // A backlog that is counted in one day, or a correction.
        county.cases += (0.2 * reading.spike * county.cases).round();
        // Untested cases are not counted.
        let counted = county.cases * (1.0 - 0.2 * reading.drift.abs().min(1.0));

        let Place { county: name, state_name, fips, .. } = &PLACES[reading.device];
        let name = if fips.is_empty() { "New York City" } else { name };
        let mut object = Object(out);
        object.quoted("date", |out| push_date(out, reading.time_ms));
        let county_key = object.text("county", name);
        object.text("state", state_name);
        let fips_key = object.text("fips", fips);
        object.quoted("cases", |out| push_whole(out, (counted as i64).unsigned_abs()));
        object.quoted("deaths", |out| push_whole(out, (county.deaths as i64).unsigned_abs()));
        out.push(b'}');
        Some(if fips_key.is_empty() { county_key } else { fips_key })
    }
}
