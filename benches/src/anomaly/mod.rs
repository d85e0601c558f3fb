//! Anomaly detection on made-up series of which the truth is known, beside two rules that people use.
//!
//! Everything is at the granularity of windows of a minute. Each kind of fault has series of its own,
//! in which no other occurs, so that precision has a meaning by kind even for rules that name none.
//!
//! What a right answer is, by kind:
//!
//! - a **spike** is the window that holds it;
//! - a **level shift** is [`NEWS`] windows from where the level changes, there and back: then the new
//!   level is the level, and whoever still complains is wrong;
//! - a **drift** and a **stuck** sensor are all windows of it. The [`ECHO`] windows after its end, in
//!   which the sensor is right again all of a sudden, count neither way.

mod rules;
mod score;
mod series;

pub use rules::Method;
pub use score::{Row, Score, table};
pub use series::{Extent, Scenario, Series};

/// For how many windows another level is news.
pub const MAX_DETECTION_WINDOWS: usize = 5;

/// How many windows after the end of a drift or of a stuck sensor count neither way.
pub const IGNORED_WINDOWS_AFTER: usize = 10;

/// How many windows of each series teach and do not count: a day of minutes.
pub const TRAINING_WINDOWS: usize = 1_440;

/// The lengths, in windows, of which each of the two other rules may choose the best in hindsight.
const LENGTHS: [usize; 4] = [15, 50, 120, 360];

/// The scores of all methods on all scenarios.
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
