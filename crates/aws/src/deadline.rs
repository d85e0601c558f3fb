//! Time limit of the work of one invocation.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Part of an invocation's time that is reserved for its answer.
const RESERVE: Duration = Duration::from_secs(2);

/// Instant at which work must stop, so that unfinished work can still be reported.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline of an invocation that Lambda ends at `end`: 2 seconds earlier.
    #[must_use]
    pub fn before(end: SystemTime) -> Self {
        let now = SystemTime::now();
        // `cargo lambda watch` sends the invocation's duration where Lambda sends its end. An end
        // on 1970-01-01 is such a duration.
        let end = match end.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(length) if length < Duration::from_hours(24) => now + length,
            _ => end,
        };
        let left = end.duration_since(now).unwrap_or_default();
        Self::after(left.saturating_sub(RESERVE))
    }

    /// Returns the deadline that is `length` from now.
    #[must_use]
    pub fn after(length: Duration) -> Self {
        // A century replaces a duration that the clock cannot add.
        let now = Instant::now();
        let century = Duration::from_hours(100 * 365 * 24);
        Self(now + length.min(century))
    }

    /// Returns the time left, zero if the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns the earlier one of two deadlines.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// Returns the deadline half-way from now. It limits the first of two steps, so that the second
    /// still has time when the first finds its service down.
    #[must_use]
    pub fn half_way(self) -> Self {
        self.share(2)
    }

    /// Returns the deadline after one of `parts` equal shares of the time left.
    #[must_use]
    pub fn share(self, parts: usize) -> Self {
        Self::after(self.remaining() / u32::try_from(parts.max(1)).unwrap_or(u32::MAX))
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
    async fn cargo_lambda_watch_duration_is_accepted() {
        let left = left(SystemTime::UNIX_EPOCH + 600 * SECOND);

        assert!(left > 590 * SECOND && left <= 598 * SECOND, "{left:?}");
    }
}
