//! Pacing of records: unlimited, at a rate, or by the records' own times; delays between attempts.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use backon::{BackoffBuilder as _, ExponentialBuilder};

use crate::stop::Stop;
use crate::target::Target;

/// Maximum sleep between two checks of the stop flag.
const MAX_SLEEP: Duration = Duration::from_millis(100);

/// Minimum wait that is worth a sleep.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Minimum lag at which a feed is reported as slow.
const MIN_REPORTED_LAG: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tempo {
    /// Unlimited.
    Free,
    /// Records per second.
    Rate(f64),
    /// Speed of the feed's own time as a multiple of the clock.
    Speed(f64),
}

/// Returns an endless sequence of delays between attempts: exponential, with jitter.
pub(crate) fn delays(min: Duration, max: Duration) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::new()
        .with_min_delay(min)
        .with_max_delay(max)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Tempo {
    /// Returns the tempo of the options, unlimited without any.
    pub(crate) fn of(rate: Option<f64>, speed: Option<f64>) -> Self {
        rate.map(Self::Rate).or(speed.map(Self::Speed)).unwrap_or(Self::Free)
    }
}

/// Delays records to keep a tempo.
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

    /// Waits until a record of time `at_ms` is due. A record without a time is sent together with
    /// the one before it. Flushes the target before a wait. Returns early if a stop is requested.
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

    /// Returns when the next record is due, as a duration since the start.
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
        // A row with a time before the first row's is overdue.
        Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
    }

    /// Restarts the feed's time at its next record, for another pass over the files.
    pub(crate) fn begin_again(&mut self) {
        self.first_ms = None;
        if let Tempo::Speed(_) = self.tempo {
            self.started = Instant::now();
        }
    }

    /// Returns whether the records' own times set the pace.
    pub(crate) fn is_by_time(&self) -> bool {
        matches!(self.tempo, Tempo::Speed(_))
    }

    /// Returns whether the pace is unlimited.
    pub(crate) fn is_free(&self) -> bool {
        self.tempo == Tempo::Free
    }

    /// Returns the lag of the last record if it is over 1 second.
    pub(crate) fn behind(&self) -> Option<Duration> {
        (self.lag > MIN_REPORTED_LAG).then_some(self.lag)
    }
}
