//! Usual deviation of a measure from its daily mean, by hour of the day.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

const HOUR_S: i64 = 3_600;
const HOURS: usize = 24;

/// Maximum step of windows: with a longer one there is no hourly season.
pub(super) const MAX_STEP: SignedDuration = SignedDuration::from_hours(1);

/// Minimum days before the season is used.
const MIN_DAYS: f32 = 2.0;

/// Minimum weight of a new day, reached after many: a half-life of about a week.
const MIN_RATE: f64 = 0.1;

/// Season of one measure, interpolated linearly between the middles of the hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Season {
    /// Days of windows learned so far.
    #[serde(rename = "d")]
    days: f32,
    /// Mean over days.
    #[serde(rename = "m")]
    mean: f32,
    /// Offset from the mean at half past each hour, UTC.
    #[serde(rename = "h")]
    hours: Vec<f32>,
}

impl Season {
    /// Returns `true` if enough days have been learned.
    pub(super) fn is_ready(&self) -> bool {
        self.days >= MIN_DAYS && self.hours.len() == HOURS
    }

    /// Returns the offset to subtract from a value at time `second` since 1970: 0 until the season
    /// is ready.
    pub(super) fn at(&self, second: i64) -> f64 {
        if self.is_ready() { self.interpolated(second) } else { 0.0 }
    }

    fn interpolated(&self, second: i64) -> f64 {
        let (left, right, weight) = between(second);
        let at = |hour: usize| self.hours.get(hour).copied().map_or(0.0, f64::from);
        at(left) * (1.0 - weight) + at(right) * weight
    }

    /// Updates the season with a value that covers `step_s` seconds.
    pub(super) fn learn(&mut self, second: i64, value: f64, step_s: i64) {
        if self.hours.len() != HOURS {
            *self = Self { hours: vec![0.0; HOURS], mean: value as f32, days: 0.0 };
        }
        #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
        let hours = step_s.min(HOUR_S) as f64 / HOUR_S as f64;
        let days = f64::from(self.days);
        // The first days weigh the same, later ones less and less.
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
        // On the first day, the mean is that of all windows so far.
        let mean_rate = (part_of_a_day / (days + part_of_a_day)).max(part_of_a_day * MIN_RATE);
        self.mean += (mean_rate * (value - mean)) as f32;
        self.days = (days + part_of_a_day).min(1e3) as f32;
    }
}

/// Returns the hours whose middles are before and after a time, and the weight of the latter.
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
    fn time_is_interpolated_between_hour_middles() {
        assert_eq!(between(0), (23, 0, 0.5));
        assert_eq!(between(HOUR_S / 2), (0, 1, 0.0));
        assert_eq!(between(24 * HOUR_S - 900), (23, 0, 0.25));
        assert_eq!(between(-HOUR_S / 2), (23, 0, 0.0));
    }

    #[test]
    fn repeating_day_is_learned() {
        // Rises by 2 per hour until noon, then falls.
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
    fn season_needs_two_days() {
        let mut season = Season::default();

        for hour in 0..47 {
            season.learn(hour * HOUR_S, f64::from(hour as i32 % 24), HOUR_S);
        }

        assert!(!season.is_ready() && season.at(0).abs() < 1e-12);
    }
}
