//! Delivery beside the caller: a separate thread takes batches from lanes and reports their
//! outcomes.

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tokio::runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::tally::Tally;

/// Caller's side of the lanes. Each lane buffers one batch that its receiver has not taken yet.
pub(super) struct Lanes<B> {
    senders: Vec<Sender<B>>,
    pub tally: Arc<Tally>,
}

impl<B: Send + 'static> Lanes<B> {
    /// Starts `work` on its own thread. It receives batches from `lanes` lanes until their senders
    /// are dropped, and reports each batch as [done](Tally::done).
    pub(super) fn start<F: Future<Output = ()>>(
        lanes: usize,
        work: impl FnOnce(Vec<Receiver<B>>, Arc<Tally>) -> F + Send + 'static,
    ) -> Result<Self> {
        let tally = Arc::new(Tally::of_confirmed());
        tally.set_idle(false);
        let (parks, unparks) = (Arc::clone(&tally), Arc::clone(&tally));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parks.set_idle(true))
            .on_thread_unpark(move || unparks.set_idle(false))
            .build()
            .context("nothing can be sent")?;
        let (senders, receivers) = (0..lanes).map(|_| mpsc::channel(1)).unzip();
        let reported = Arc::clone(&tally);
        thread::spawn(move || runtime.block_on(work(receivers, reported)));
        Ok(Self { senders, tally })
    }

    /// Hands a batch of `records` records to a lane, and waits until the lane accepts it.
    pub(super) fn send(&mut self, lane: usize, batch: B, records: usize) -> Result<()> {
        self.tally.begin();
        let started = Instant::now();
        let sent = self.senders[lane].blocking_send(batch);
        self.tally.add_waited(started);
        if sent.is_err() {
            self.tally.done(records, None);
        }
        self.tally.check()
    }

    /// Waits until all batches are finished.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.tally.wait_until(|outstanding| outstanding == 0);
        self.tally.check()
    }
}
