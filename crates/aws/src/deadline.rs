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
        let now = SystemTime::now();
        // `cargo lambda watch` sends the length of an invocation where Lambda sends its end: an end
        // on the first day of 1970 is one.
        let end = match end.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(length) if length < Duration::from_hours(24) => now + length,
            _ => end,
        };
        let left = end.duration_since(now).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn left(end: SystemTime) -> Duration {
        Deadline::before(end).remaining()
    }

    #[tokio::test(start_paused = true)]
    async fn two_seconds_are_kept_for_the_answer() {
        let left = left(SystemTime::now() + 10 * SECOND);

        assert!(left > 7 * SECOND && left <= 8 * SECOND, "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_over_leaves_nothing() {
        assert_eq!(left(SystemTime::now() - SECOND), Duration::ZERO);
        assert_eq!(left(SystemTime::now() + SECOND), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_length_that_cargo_lambda_watch_sends_is_a_length() {
        let left = left(SystemTime::UNIX_EPOCH + 600 * SECOND);

        assert!(left > 590 * SECOND && left <= 598 * SECOND, "{left:?}");
    }
}
