//! Delivery beside the caller: one other thread takes batches through lanes and says what became of
//! them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::{HealthProbe, Status, TargetHealth};

/// Records that travel together.
pub(super) trait Batch: Send + 'static {
    /// How many they are.
    fn records(&self) -> usize;
}

impl<T: Send + 'static> Batch for Vec<T> {
    fn records(&self) -> usize {
        self.len()
    }
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Records that are not known to have got there.
    pub undelivered: u64,
    /// Records that were sent again.
    pub retried: u64,
    /// Records that will never be taken, by code.
    pub rejected: BTreeMap<String, u64>,
    /// What was said last when something was not taken.
    pub last_error: Option<String>,
}

/// The caller's side: each lane holds one batch that its receiver has not taken yet.
pub(super) struct Lanes<B> {
    senders: Vec<Sender<B>>,
    shared: Arc<Shared>,
    waited: Duration,
}

/// What the delivering thread says.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Batches that are on their way.
    outstanding: usize,
    total: Outcome,
    /// Records that were taken, or never will be.
    completed: u64,
    /// Why nothing is taken, as long as nothing is.
    stall_reason: Option<String>,
    setup_error: Option<String>,
    /// How long the delivering thread had nothing to do but to wait for answers.
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
        // Nothing panics while it holds the lock; were it so, counts would still be counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it makes no sense to send anything more.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.state();
        state.setup_error.is_some() || state.total.undelivered > 0
    }

    /// Nothing of a call was taken, and it will be made again.
    pub(super) fn set_stalled(&self, why: String) {
        self.state().stall_reason = Some(why);
    }

    /// Something was taken.
    pub(super) fn clear_stalled(&self) {
        self.state().stall_reason = None;
    }

    /// One batch of `records` records is done with: sent, or `None`; the error is that nothing can
    /// ever be sent.
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
    /// Begins `work` on a thread of its own: it takes batches from so many lanes until their senders
    /// are gone, and says of each that it is [done](Shared::done).
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

    /// Hands a batch over, and waits until its lane takes it.
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

    /// Waits until all batches are done with.
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
        // Waiting for the delivering thread is waiting for the target only while that waits too:
        // otherwise it signs and encodes.
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
