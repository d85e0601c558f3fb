//! Weather: daily and yearly cycles, fronts that neighbours share, storms that make rivers rise.
//!
//! Everything here is a function of the seed, the place and the time: a simulation that starts in
//! the middle of a storm includes it. All arithmetic is the same on every machine, so the same seed
//! gives the same bytes everywhere.

use crate::random::{hash, signed, unit};
use crate::{DAY_MS, HOUR_MS};

/// Length of a slot, in which at most one storm begins.
const SLOT_MS: i64 = 6 * HOUR_MS;

/// Number of slots for which a storm affects a river.
const MEMORY_SLOTS: i64 = 40;

/// Approximates the sine of a number of turns to a thousandth, with a parabola that is corrected
/// once.
pub(crate) fn wave(turns: f64) -> f64 {
    let x = turns - (turns + 0.5).floor();
    let arc = 8.0 * x - 16.0 * x * x.abs();
    0.225 * (arc * arc.abs() - arc) + arc
}

/// Interpolates smoothly from 0 to 1.
fn smooth(x: f64) -> f64 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}

/// Converts a time to units of `unit_ms`.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of some thousand years are exact")]
pub(crate) fn in_units(time_ms: i64, unit_ms: i64) -> f64 {
    time_ms as f64 / unit_ms as f64
}

/// Place in the simulated world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// Degrees north.
    pub(crate) lat: f64,
    /// Degrees east.
    pub(crate) lon: f64,
}

impl Spot {
    /// Returns the daily cycle: -1 at the coldest time, two hours after midnight, to 1 at two in
    /// the afternoon.
    pub(crate) fn daily(self, time_ms: i64) -> f64 {
        wave(self.solar_day(time_ms) - 8.0 / 24.0)
    }

    /// Returns the yearly cycle: -1 in the middle of January to 1 in the middle of July; reversed
    /// in the south.
    pub(crate) fn yearly(self, time_ms: i64) -> f64 {
        let years = in_units(time_ms, DAY_MS) / 365.25;
        let north = wave(years - 0.29);
        if self.lat < 0.0 { -north } else { north }
    }

    /// Returns the sine of the sun's height.
    pub(crate) fn sun(self, time_ms: i64) -> f64 {
        let years = in_units(time_ms, DAY_MS) / 365.25;
        let declination = 0.397_8 * wave(years - 80.0 / 365.25);
        let lat = self.lat / 360.0;
        let hour = wave(self.solar_day(time_ms) - 0.25);
        wave(lat) * declination + wave(lat + 0.25) * (1.0 - declination * declination).sqrt() * hour
    }

    fn solar_day(self, time_ms: i64) -> f64 {
        in_units(time_ms, DAY_MS) + self.lon / 360.0
    }
}

/// Storm over a region.
#[derive(Clone, Copy, Debug)]
struct Storm {
    start_ms: i64,
    length_ms: i64,
    /// Strength, up to 1; most storms are small.
    strength: f64,
}

/// Weather of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    seed: u64,
    /// Storms per day and region.
    storm_rate: f64,
}

impl Weather {
    pub(crate) fn new(seed: u64, storm_rate: f64) -> Self {
        Self { seed, storm_rate }
    }

    /// Returns the front over a place, from -1 (cold, dry, high pressure) to 1 (warm, damp, low
    /// pressure). It varies over some hundred kilometres and over a day, and moves east.
    pub(crate) fn front(self, spot: Spot, time_ms: i64) -> f64 {
        let days = in_units(time_ms, DAY_MS);
        let x = spot.lon / 5.0 - 1.3 * days;
        let y = spot.lat / 5.0;
        let corners = [x, y, days].map(f64::floor);
        let weights = [x - corners[0], y - corners[1], days - corners[2]].map(smooth);
        let [x, y, z] = corners.map(|corner| (corner as i64).cast_unsigned());
        let at = |dx: u64, dy: u64, dz: u64| {
            let (x, y, z) = (x.wrapping_add(dx), y.wrapping_add(dy), z.wrapping_add(dz));
            signed(hash([self.seed, 1, x, y, z]))
        };
        let between = |low: f64, high: f64, weight: f64| low + (high - low) * weight;
        let row = |dy, dz| between(at(0, dy, dz), at(1, dy, dz), weights[0]);
        let plane = |dz| between(row(0, dz), row(1, dz), weights[1]);
        between(plane(0), plane(1), weights[2])
    }

    /// Returns the storms that still affect a region.
    pub(crate) fn region(self, spot: Spot) -> Region {
        let cell = |degrees: f64| ((degrees / 2.0).floor() as i64).cast_unsigned();
        let id = hash([self.seed, 2, cell(spot.lat), cell(spot.lon)]);
        Region { weather: self, id, slot: i64::MIN, storms: Vec::new() }
    }
}

/// Storms over a region of some 200 kilometres, shared by all places in it.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    weather: Weather,
    id: u64,
    slot: i64,
    storms: Vec<Storm>,
}

impl Region {
    /// Returns the intensity of rain, 0 to 1.
    pub(crate) fn rain(&mut self, time_ms: i64) -> f64 {
        self.advance(time_ms);
        let rain = |storm: &Storm| {
            let part = in_units(time_ms - storm.start_ms, storm.length_ms);
            if (0.0..1.0).contains(&part) {
                storm.strength * 4.0 * part * (1.0 - part)
            } else {
                0.0
            }
        };
        self.storms.iter().map(rain).fold(0.0, f64::max)
    }

    /// Returns the swelling of a river `lag_ms` downstream of the rain. It rises within hours,
    /// falls over days, and is 0 where there has been no storm.
    pub(crate) fn swell(&mut self, time_ms: i64, lag_ms: i64) -> f64 {
        self.advance(time_ms);
        let swell = |storm: &Storm| {
            let age_ms = time_ms - lag_ms - storm.start_ms;
            let part = in_units(age_ms, storm.length_ms);
            if part <= 1.0 {
                return storm.strength * smooth(part);
            }
            let fall = 1.0 / (1.0 + (part - 1.0) / 6.0);
            let forgets = 1.0 - in_units(age_ms, MEMORY_SLOTS * SLOT_MS).min(1.0);
            storm.strength * fall * fall * forgets
        };
        self.storms.iter().map(swell).sum()
    }

    /// Computes the storms of the time's slot and of those before it.
    fn advance(&mut self, time_ms: i64) {
        let slot = time_ms.div_euclid(SLOT_MS);
        if slot == self.slot {
            return;
        }
        self.slot = slot;
        let chance = self.weather.storm_rate * in_units(SLOT_MS, DAY_MS);
        let storm = |slot: i64| {
            let draw = |what| unit(hash([self.id, what, slot.cast_unsigned()]));
            let strength = draw(2);
            (draw(0) < chance).then(|| Storm {
                start_ms: slot * SLOT_MS + (draw(1) * in_units(SLOT_MS, 1)) as i64,
                length_ms: (in_units(HOUR_MS, 1) * (2.0 + 6.0 * draw(3))) as i64,
                strength: 0.1 + 0.9 * strength * strength,
            })
        };
        self.storms.clear();
        self.storms.extend((slot - MEMORY_SLOTS - 8..=slot).filter_map(storm));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Spot = Spot { lat: 47.3, lon: 8.5 };

    #[test]
    fn a_wave_is_a_sine_to_a_thousandth() {
        for step in -200..200 {
            let turns = f64::from(step) / 50.0;
            let sine = (turns * std::f64::consts::TAU).sin();

            assert!((wave(turns) - sine).abs() < 0.0015, "{turns}");
        }
    }

    #[test]
    fn only_neighbours_share_a_front() {
        let weather = Weather::new(7, 0.3);
        let there = |d: f64| Spot { lat: HERE.lat + d, lon: HERE.lon + d };
        let apart = |d: f64| {
            let apart = |hour: i64| {
                let time = hour * HOUR_MS;
                (weather.front(HERE, time) - weather.front(there(d), time)).abs()
            };
            (0..1_000).map(apart).sum::<f64>() / 1_000.0
        };

        assert!(apart(0.1) < 0.04, "{}", apart(0.1));
        assert!(apart(30.0) > 5.0 * apart(0.1), "{}", apart(30.0));
    }

    #[test]
    fn a_front_changes_slowly() {
        let weather = Weather::new(7, 0.3);
        let change = |minute: i64| {
            let at = |minute: i64| weather.front(HERE, minute * 60_000);
            (at(minute + 1) - at(minute)).abs()
        };

        assert!((0..20_000).map(change).fold(0.0, f64::max) < 0.01);
    }

    #[test]
    fn a_river_rises_faster_than_it_falls() {
        let mut region = Weather::new(11, 0.1).region(HERE);
        let levels: Vec<f64> = (0..24 * 365).map(|hour| region.swell(hour * HOUR_MS, 0)).collect();
        let rises = levels.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let falls = levels.windows(2).filter(|pair| pair[1] < pair[0]).count();
        let fastest = |sign: f64| {
            levels.windows(2).map(|pair| sign * (pair[1] - pair[0])).fold(0.0, f64::max)
        };

        assert!(rises > 50 && falls > 5 * rises, "{rises} hours up, {falls} down");
        assert!(fastest(1.0) > 2.0 * fastest(-1.0), "{} {}", fastest(1.0), fastest(-1.0));
    }

    #[test]
    fn no_storms_no_flood() {
        let mut region = Weather::new(11, 0.0).region(HERE);

        assert!((0..1_000).all(|hour| region.swell(hour * HOUR_MS, 0) == 0.0));
        assert!((0..1_000).all(|hour| region.rain(hour * HOUR_MS) == 0.0));
    }

    #[test]
    fn the_sun_is_up_by_day() {
        let noon_of_may = 1_778_068_800_000;

        assert!(HERE.sun(noon_of_may) > 0.7);
        assert!(HERE.sun(noon_of_may + 12 * HOUR_MS) < -0.1);
    }
}
