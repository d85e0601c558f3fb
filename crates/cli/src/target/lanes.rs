//! Delivery beside the caller: a separate thread takes batches from lanes and reports their
//! outcomes.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{HealthProbe, Status, TargetHealth};

/// Records that are delivered together.
pub(super) trait Batch: Send + 'static {
    /// Returns the number of records.
    fn records(&self) -> usize;
}

impl<T: Send + 'static> Batch for Vec<T> {
    fn records(&self) -> usize {
        self.len()
    }
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

/// Caller's side of the lanes. Each lane buffers one batch that its receiver has not taken yet.
pub(super) struct Lanes<B> {
    senders: Vec<Sender<B>>,
    shared: Arc<Shared>,
    waited: Duration,
}

/// State shared with the delivering thread.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Batches in flight.
    outstanding: usize,
    total: Outcome,
    /// Records that were accepted or permanently rejected.
    completed: u64,
    /// Reason why nothing is accepted, while that is so.
    stall_reason: Option<String>,
    setup_error: Option<String>,
    /// Time that the delivering thread spent only waiting for answers.
    idle: Duration,
    idle_since: Option<Instant>,
}

impl State {
    fn end_idle(&mut self) {
        self.idle += self.idle_since.take().map_or(Duration::ZERO, |since| since.elapsed());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock. Even if one did, the counts would be valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a record is undelivered or sending is impossible, so that nothing more is
    /// sent.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.state();
        state.setup_error.is_some() || state.total.undelivered > 0
    }

    /// Sets the stall reason: a call delivered nothing and will be retried.
    pub(super) fn set_stalled(&self, why: String) {
        self.state().stall_reason = Some(why);
    }

    /// Clears the stall reason: something was accepted.
    pub(super) fn clear_stalled(&self) {
        self.state().stall_reason = None;
    }

    /// Counts a finished batch of `records` records. `None` means that it was not sent; an
    /// error means that nothing can ever be sent.
    pub(super) fn done(&self, records: usize, result: Option<Result<Outcome, String>>) {
        let mut state = self.state();
        state.outstanding -= 1;
        match result {
            Some(Ok(outcome)) => {
                state.completed += (records as u64).saturating_sub(outcome.undelivered);
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
}

impl<B: Batch> Lanes<B> {
    /// Starts `work` on its own thread. It receives batches from `lanes` lanes until their senders
    /// are dropped, and reports each batch as [done](Shared::done).
    pub(super) fn start<F: Future<Output = ()>>(
        lanes: usize,
        work: impl FnOnce(Vec<Receiver<B>>, Arc<Shared>) -> F + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (parks, unparks) = (Arc::clone(&shared), Arc::clone(&shared));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parks.state().idle_since = Some(Instant::now()))
            .on_thread_unpark(move || unparks.state().end_idle())
            .build()
            .context("nothing can be sent")?;
        let (senders, receivers) = (0..lanes).map(|_| mpsc::channel(1)).unzip();
        let reported = Arc::clone(&shared);
        thread::spawn(move || runtime.block_on(work(receivers, reported)));
        Ok(Self { senders, shared, waited: Duration::ZERO })
    }

    /// Hands a batch to a lane, and waits until the lane accepts it.
    pub(super) fn send(&mut self, lane: usize, batch: B) -> Result<()> {
        self.shared.state().outstanding += 1;
        let started = Instant::now();
        let sent = self.senders[lane].blocking_send(batch);
        self.waited += started.elapsed();
        if let Err(unsent) = sent {
            self.shared.done(unsent.0.records(), None);
        }
        self.check()
    }

    /// Waits until all batches are finished.
    pub(super) fn flush(&mut self) -> Result<()> {
        let started = Instant::now();
        let mut state = self.shared.state();
        while state.outstanding > 0 {
            let changed = self.shared.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.waited += started.elapsed();
        self.check()
    }

    fn check(&self) -> Result<()> {
        match &self.shared.state().setup_error {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        }
    }

    pub(super) fn status(&self) -> Status {
        let state = self.shared.state();
        let Outcome { undelivered, retried, ref rejected, .. } = state.total;
        let rejected = rejected.values().sum();
        // Waiting for the delivering thread counts as waiting for the target only while that thread
        // waits too. Otherwise it signs and encodes.
        Status { undelivered, retried, rejected, waited: self.waited.min(state.idle) }
    }

    pub(super) fn health_probe(&self) -> HealthProbe {
        let shared = Arc::clone(&self.shared);
        Box::new(move || {
            let state = shared.state();
            let (completed, stall_reason) = (Some(state.completed), state.stall_reason.clone());
            let Outcome { undelivered, ref rejected, .. } = state.total;
            TargetHealth { completed, rejected: rejected.values().sum(), undelivered, stall_reason }
        })
    }

    pub(super) fn rejected(&self) -> BTreeMap<String, u64> {
        self.shared.state().total.rejected.clone()
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.shared.state().total.last_error.clone()
    }
}
