//! How long an invocation may still work.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// What is kept back of an invocation's time for its answer.
const RESERVE: Duration = Duration::from_secs(2);

/// The instant by which work must have stopped, so that what is not done can still be reported.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// Two seconds before Lambda ends the invocation at `end`.
    #[must_use]
    pub fn before(end: SystemTime) -> Self {
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        Self::after(left.saturating_sub(RESERVE))
    }

    /// `length` from now.
    #[must_use]
    pub fn after(length: Duration) -> Self {
        // A century stands for a length that no clock can add.
        let now = Instant::now();
        let century = Duration::from_hours(100 * 365 * 24);
        Self(now + length.min(century))
    }

    /// The time that is left, zero when it is over.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Half-way from now: what the first of two steps may take, so that the second has time when the
    /// first finds its service down.
    #[must_use]
    pub fn half_way(self) -> Self {
        Self::after(self.remaining() / 2)
    }
}
