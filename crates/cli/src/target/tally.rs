//! Counts of a target, shared by the caller, the delivering threads and the progress display.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

/// Counts of a target and the result of its deliveries so far.
#[derive(Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Batches in flight.
    outstanding: usize,
    total: Outcome,
    /// Records that were accepted or permanently rejected. `None` if the target does not wait for
    /// confirmations.
    completed: Option<u64>,
    /// Reason why nothing is accepted, while that is so.
    stall_reason: Option<String>,
    setup_error: Option<String>,
    /// Time that the caller has waited for the target.
    waited: Duration,
    /// Time that the delivering thread spent only waiting for answers, if it is measured.
    idle: Option<Duration>,
    idle_since: Option<Instant>,
}

/// Outcome of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Records whose delivery was not confirmed.
    pub undelivered: u64,
    /// Retried records.
    pub retried: u64,
    /// Permanently rejected records by code.
    pub rejected: BTreeMap<String, u64>,
    /// Last error of a record that was not accepted.
    pub last_error: Option<String>,
}

/// Counts of a target.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Status {
    /// Records whose delivery was not confirmed. The feed ends with the first of them.
    pub undelivered: u64,
    /// Retried records.
    pub retried: u64,
    /// Permanently rejected records. They were reported, and the feed continues.
    pub rejected: u64,
    /// Time that the caller has waited for the target.
    #[serde(skip)]
    pub waited: Duration,
}

/// Current health of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetHealth {
    /// Records that were accepted or permanently rejected. `None` if the target does not wait for
    /// confirmations.
    pub completed: Option<u64>,
    /// Permanently rejected records among them.
    pub rejected: u64,
    /// Records whose delivery was not confirmed.
    pub undelivered: u64,
    /// Reason why the target accepts nothing, while that is so.
    pub stall_reason: Option<String>,
}

impl TargetHealth {
    /// Returns how many of `records` sent records still wait for a result.
    pub(crate) fn waiting(&self, records: u64) -> u64 {
        let completed = self.completed.unwrap_or(records);
        records.saturating_sub(completed + self.undelivered)
    }
}

impl Tally {
    /// Creates the counts of a target that waits for confirmations.
    pub(crate) fn of_confirmed() -> Self {
        let state = State { completed: Some(0), ..State::default() };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock. Even if one did, the counts would be valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counts so far.
    pub(crate) fn status(&self) -> Status {
        let state = self.state();
        let Outcome { undelivered, retried, ref rejected, .. } = state.total;
        // Waiting for the delivering thread counts as waiting for the target only while that thread
        // waits too. Otherwise it signs and encodes.
        let waited = state.waited.min(state.idle.unwrap_or(Duration::MAX));
        Status { undelivered, retried, rejected: rejected.values().sum(), waited }
    }

    /// Returns the current health.
    pub(crate) fn health(&self) -> TargetHealth {
        let state = self.state();
        let (completed, stall_reason) = (state.completed, state.stall_reason.clone());
        let Outcome { undelivered, ref rejected, .. } = state.total;
        TargetHealth { completed, rejected: rejected.values().sum(), undelivered, stall_reason }
    }

    /// Returns the permanently rejected records by code.
    pub(crate) fn rejected(&self) -> BTreeMap<String, u64> {
        self.state().total.rejected.clone()
    }

    /// Returns the last error, if any.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.state().total.last_error.clone()
    }

    /// Returns whether a record is undelivered or sending is impossible, so that nothing more is
    /// sent.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.state();
        state.setup_error.is_some() || state.total.undelivered > 0
    }

    /// Returns the error that makes sending impossible, if any.
    pub(super) fn check(&self) -> Result<()> {
        match &self.state().setup_error {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        }
    }

    /// Sets the stall reason: a call delivered nothing and will be retried.
    pub(crate) fn set_stalled(&self, why: String) {
        self.state().stall_reason = Some(why);
    }

    /// Clears the stall reason: something was accepted.
    pub(super) fn clear_stalled(&self) {
        self.state().stall_reason = None;
    }

    /// Returns the number of batches in flight.
    pub(super) fn outstanding(&self) -> usize {
        self.state().outstanding
    }

    /// Counts a batch that is about to be sent.
    pub(super) fn begin(&self) {
        self.state().outstanding += 1;
    }

    /// Counts a finished batch of `records` records. `None` means that it was not sent; an
    /// error means that nothing can ever be sent.
    pub(super) fn done(&self, records: usize, result: Option<Result<Outcome, String>>) {
        let mut state = self.state();
        state.outstanding -= 1;
        match result {
            Some(Ok(outcome)) => {
                let completed = (records as u64).saturating_sub(outcome.undelivered);
                state.completed = state.completed.map(|before| before + completed);
                let total = &mut state.total;
                total.undelivered += outcome.undelivered;
                total.retried += outcome.retried;
                for (code, count) in outcome.rejected {
                    *total.rejected.entry(code).or_default() += count;
                }
                total.last_error = outcome.last_error.or(total.last_error.take());
            }
            Some(Err(error)) => {
                state.total.undelivered += records as u64;
                state.setup_error.get_or_insert(error);
            }
            None => state.total.undelivered += records as u64,
        }
        self.changed.notify_all();
    }

    /// Waits until `is_done` holds for the number of batches in flight. Counts as waiting for the
    /// target.
    pub(super) fn wait_until(&self, is_done: impl Fn(usize) -> bool) {
        let started = Instant::now();
        let mut state = self.state();
        while !is_done(state.outstanding) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waited += started.elapsed();
    }

    /// Adds time that the caller has waited for the target since `started`.
    pub(super) fn add_waited(&self, started: Instant) {
        self.state().waited += started.elapsed();
    }

    /// Measures the idle time of the delivering thread: from now on it is idle or, if not
    /// `is_idle`, busy.
    pub(super) fn set_idle(&self, is_idle: bool) {
        let mut state = self.state();
        let ended = state.idle_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        state.idle = Some(state.idle.unwrap_or_default() + ended);
        state.idle_since = is_idle.then(Instant::now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    /// The other thread gets the lock only once the caller waits, so that the lower bound holds
    /// however slow the machine is.
    #[test]
    fn wait_for_target_is_measured() {
        const SLOW: Duration = Duration::from_millis(20);
        let tally = Arc::new(Tally::of_confirmed());
        tally.begin();
        let (waits, is_waiting) = mpsc::channel();
        let target = Arc::clone(&tally);
        let delivering = thread::spawn(move || {
            is_waiting.recv().unwrap();
            thread::sleep(SLOW);
            target.done(1, Some(Ok(Outcome::default())));
        });

        tally.wait_until(|outstanding| {
            // Fails once the other thread has ended.
            let _ = waits.send(());
            outstanding == 0
        });

        delivering.join().unwrap();
        assert!(tally.status().waited >= SLOW);
        assert_eq!(tally.health().completed, Some(1));
    }
}
