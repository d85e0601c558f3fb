//! Benchmark of anomaly detection on simulated series with labelled faults, compared with two
//! common rules.
//!
//! All figures are per window of one minute. Each kind of fault has series of its own without other
//! faults, so that precision is defined per kind even for rules that report no kind.
//!
//! Expected detections, by kind:
//!
//! - a **spike** is the window that holds it;
//! - a **level shift** is [`MAX_DETECTION_WINDOWS`] windows after each change of level, there and
//!   back. After that the new level is normal, and a detection is a false alarm;
//! - a **drift** and a **stuck** sensor are all windows of the fault. The [`IGNORED_WINDOWS_AFTER`]
//!   windows after its end, in which the sensor suddenly reads correctly again, are ignored.

mod rules;
mod score;
mod series;

pub use rules::Method;
pub use score::{Row, Score, table};
pub use series::{Extent, Scenario, Series};

/// Number of windows after a level shift in which it counts as a fault.
pub const MAX_DETECTION_WINDOWS: usize = 5;

/// Number of windows ignored after the end of a drift or of a stuck sensor.
pub const IGNORED_WINDOWS_AFTER: usize = 10;

/// Number of windows at the start of each series that only train the detector: one day.
pub const TRAINING_WINDOWS: usize = 1_440;

/// Window lengths among which the benchmark picks the best one for each of the two other rules, in
/// hindsight.
const LENGTHS: [usize; 4] = [15, 50, 120, 360];

/// Returns the scores of all methods on all scenarios.
#[must_use]
pub fn compare(extent: &Extent) -> Vec<Row> {
    Scenario::ALL
        .into_iter()
        .flat_map(|scenario| {
            let series = series::all(scenario, extent);
            let best = |of: fn(usize) -> Method| {
                let rows = LENGTHS.map(|length| score::row(scenario, of(length), &series));
                rows.into_iter().max_by(|a, b| a.score.f1().total_cmp(&b.score.f1()))
            };
            let ours = score::row(scenario, Method::Ours, &series);
            [Some(ours), best(Method::ThreeSigma), best(Method::MovingMedian)]
        })
        .flatten()
        .collect()
}
