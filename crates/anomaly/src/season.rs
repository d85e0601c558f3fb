//! What a measure usually is at an hour of the day, against the mean of the day.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

const HOUR_S: i64 = 3_600;
const HOURS: usize = 24;

/// Windows that begin less often say nothing about hours.
pub(super) const MAX_STEP: SignedDuration = SignedDuration::from_hours(1);

/// How many days it takes before the season is used.
const MIN_DAYS: f32 = 2.0;

/// The weight of a new day once many have been seen: a half-life of about a week.
const MIN_RATE: f64 = 0.1;

/// The season of one measure, as straight lines between the middles of the hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Season {
    /// Days of windows that it was learned from.
    #[serde(rename = "d")]
    days: f32,
    /// The mean over days.
    #[serde(rename = "m")]
    mean: f32,
    /// What to add to the mean at half past each hour, UTC.
    #[serde(rename = "h")]
    hours: Vec<f32>,
}

impl Season {
    /// Whether enough days have been seen.
    pub(super) fn is_ready(&self) -> bool {
        self.days >= MIN_DAYS && self.hours.len() == HOURS
    }

    /// What to take off a value of the time `second` (since 1970): 0 as long as too little is known.
    pub(super) fn at(&self, second: i64) -> f64 {
        if self.is_ready() { self.interpolated(second) } else { 0.0 }
    }

    fn interpolated(&self, second: i64) -> f64 {
        let (left, right, weight) = between(second);
        let at = |hour: usize| self.hours.get(hour).copied().map_or(0.0, f64::from);
        at(left) * (1.0 - weight) + at(right) * weight
    }

    /// Learns from a value that stands for `step_s` seconds.
    pub(super) fn learn(&mut self, second: i64, value: f64, step_s: i64) {
        if self.hours.len() != HOURS {
            *self = Self { hours: vec![0.0; HOURS], mean: value as f32, days: 0.0 };
        }
        #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
        let hours = step_s.min(HOUR_S) as f64 / HOUR_S as f64;
        let days = f64::from(self.days);
        // The first days count alike, later ones less and less.
        let rate = (1.0 / (days + 1.0)).max(MIN_RATE);

        let mean = f64::from(self.mean);
        let error = value - mean - self.interpolated(second);
        let (left, right, weight) = between(second);
        for (hour, weight) in [(left, 1.0 - weight), (right, weight)] {
            if let Some(bin) = self.hours.get_mut(hour) {
                *bin += (hours * rate * weight * error) as f32;
            }
        }
        let part_of_a_day = hours / 24.0;
        // The mean of the first day is that of all its windows so far.
        let mean_rate = (part_of_a_day / (days + part_of_a_day)).max(part_of_a_day * MIN_RATE);
        self.mean += (mean_rate * (value - mean)) as f32;
        self.days = (days + part_of_a_day).min(1e3) as f32;
    }
}

/// The hours whose middles are before and after a time, and how much of the way to the latter it is.
fn between(second: i64) -> (usize, usize, f64) {
    let into = (second - HOUR_S / 2).rem_euclid(24 * HOUR_S);
    let hour = usize::try_from(into / HOUR_S).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "less than an hour")]
    let weight = (into % HOUR_S) as f64 / HOUR_S as f64;
    (hour, (hour + 1) % HOURS, weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_between_the_middles_of_two_hours() {
        assert_eq!(between(0), (23, 0, 0.5));
        assert_eq!(between(HOUR_S / 2), (0, 1, 0.0));
        assert_eq!(between(24 * HOUR_S - 900), (23, 0, 0.25));
        assert_eq!(between(-HOUR_S / 2), (23, 0, 0.0));
    }

    #[test]
    fn a_day_that_repeats_is_learned() {
        // Up by 2 an hour until noon, and down again.
        #[expect(clippy::cast_precision_loss, reason = "less than a day")]
        let day = |second: i64| {
            let hour = second.rem_euclid(24 * HOUR_S) as f64 / HOUR_S as f64;
            20.0 + 12.0 - 2.0 * (12.0 - hour).abs()
        };
        let mut season = Season::default();

        for step in 0..30 * 24 * 4 {
            season.learn(step * 900, day(step * 900), 900);
        }

        assert!(season.is_ready());
        for (hour, off) in [(0, -12.0), (6, 0.0), (12, 12.0), (18, 0.0)] {
            assert!((season.at(hour * HOUR_S) - off).abs() < 1.5, "{hour}: {season:?}");
        }
    }

    #[test]
    fn less_than_two_days_are_no_season() {
        let mut season = Season::default();

        for hour in 0..47 {
            season.learn(hour * HOUR_S, f64::from(hour as i32 % 24), HOUR_S);
        }

        assert!(!season.is_ready() && season.at(0).abs() < 1e-12);
    }
}
