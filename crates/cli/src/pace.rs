//! How fast records go out.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::stop::Stop;
use crate::target::Target;
use anyhow::Result;

/// The longest sleep without a look at whether to stop.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// A shorter wait is not worth a sleep.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// How far behind its time a feed is when it counts as slow.
const MIN_REPORTED_LAG: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tempo {
    /// As fast as it goes.
    Free,
    /// So many records a second.
    Rate(f64),
    /// The feed's own time, so many times faster than the clock.
    Speed(f64),
}

/// Keeps a tempo.
pub(crate) struct Pace {
    tempo: Tempo,
    started: Instant,
    sent: u64,
    first_ms: Option<i64>,
    lag: Duration,
}

impl Pace {
    pub(crate) fn new(tempo: Tempo) -> Self {
        let started = Instant::now();
        Self { tempo, started, sent: 0, first_ms: None, lag: Duration::ZERO }
    }

    /// Waits until a record of the time `at_ms` may go out; without a time, it goes with the one
    /// before it. What the target holds goes out first. Returns early when somebody wants to stop.
    pub(crate) fn wait(
        &mut self,
        at_ms: Option<i64>,
        target: &mut dyn Target,
        stop: &Stop,
    ) -> Result<()> {
        let Some(due) = self.due(at_ms) else { return Ok(()) };
        let elapsed = self.started.elapsed();
        self.lag = elapsed.saturating_sub(due);
        if due <= elapsed + MIN_WAIT {
            return Ok(());
        }
        target.flush_if_idle(due.saturating_sub(elapsed))?;
        while !stop.is_wanted() {
            let left = due.saturating_sub(self.started.elapsed());
            if left.is_zero() {
                break;
            }
            sleep(left.min(MAX_SLEEP));
        }
        Ok(())
    }

    /// When, since the start, the next record goes out.
    #[expect(clippy::cast_precision_loss, reason = "counts and milliseconds far below 2^53")]
    fn due(&mut self, at_ms: Option<i64>) -> Option<Duration> {
        let seconds = match self.tempo {
            Tempo::Free => return None,
            Tempo::Rate(rate) => {
                self.sent += 1;
                (self.sent - 1) as f64 / rate
            }
            Tempo::Speed(speed) => {
                let at_ms = at_ms?;
                let first_ms = *self.first_ms.get_or_insert(at_ms);
                at_ms.saturating_sub(first_ms) as f64 / 1_000.0 / speed
            }
        };
        // A row from before the first has been due for long.
        Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// Counts the feed's time from its next record on: a loop begins again.
    pub(crate) fn begin_again(&mut self) {
        self.first_ms = None;
        if let Tempo::Speed(_) = self.tempo {
            self.started = Instant::now();
        }
    }

    /// Whether the records' own times decide.
    pub(crate) fn is_by_time(&self) -> bool {
        matches!(self.tempo, Tempo::Speed(_))
    }

    /// Whether there is no tempo to keep.
    pub(crate) fn is_free(&self) -> bool {
        self.tempo == Tempo::Free
    }

    /// How far behind the last record was, if that is worth a word.
    pub(crate) fn behind(&self) -> Option<Duration> {
        (self.lag > MIN_REPORTED_LAG).then_some(self.lag)
    }
}
