//! Batched delivery: chunks, results per entry, retries, and a report of undelivered entries when
//! time runs short.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use crate::deadline::Deadline;
use crate::error::{CallError, SetupError};
use crate::put::{BatchPut, EntryResult, Limits};
use crate::retry::{MAX_DELAY, MIN_CALL_TIME, Retry};

/// Ordering guarantee of a producer.
///
/// `PutRecords` may store some entries of a call and fail others, so a retried entry can end up
/// behind entries that were sent after it: see
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Sends as many entries in a call as it accepts. Failed entries are stored behind the others.
    #[default]
    Throughput,
    /// Stores no entry of a [key](BatchPut::key) before an earlier one of the same key, even after
    /// failures: a call has at most one entry of each key. With few keys, this takes many calls.
    PerKey,
}

impl Order {
    /// Parses `throughput` or `per-key`.
    ///
    /// # Errors
    ///
    /// Returns an error for any other text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "throughput" => Ok(Self::Throughput),
            "per-key" => Ok(Self::PerKey),
            _ => Err(format!("{text:?} should be throughput or per-key")),
        }
    }
}

/// Entry to send, with the position of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound<E> {
    /// Position in the batch, reported if the entry is not delivered. Positions ascend.
    pub position: usize,
    /// Entry to put.
    pub entry: E,
}

/// Result of [`Producer::send`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Positions that are not known to be stored, ascending. Some of their entries may be stored
    /// nevertheless: a call without an answer is retried.
    pub undelivered: Vec<usize>,
    /// Subset of `undelivered` that the service rejected for what they contain, with its reasons.
    pub rejected: BTreeMap<usize, String>,
    /// Number of retried entries.
    pub retried: usize,
    /// Last error of the service for an entry or a call that it did not accept.
    pub last_error: Option<String>,
}

impl Delivery {
    /// Returns the earliest undelivered position.
    #[must_use]
    pub fn first_undelivered(&self) -> Option<usize> {
        self.undelivered.first().copied()
    }

    /// Removes and returns the rejected positions, which the caller accounts for.
    pub fn take_rejected(&mut self) -> BTreeMap<usize, String> {
        let rejected = std::mem::take(&mut self.rejected);
        self.undelivered.retain(|position| !rejected.contains_key(position));
        rejected
    }

    /// Adds what a delivery of other positions left undelivered.
    pub fn extend(&mut self, other: Self) {
        self.undelivered.extend(other.undelivered);
        self.undelivered.sort_unstable();
        self.rejected.extend(other.rejected);
        self.retried += other.retried;
        self.last_error = other.last_error.or(self.last_error.take());
    }
}

/// Delivers batches of any size to a [`BatchPut`].
#[derive(Clone, Debug)]
pub struct Producer<P> {
    target: P,
    order: Order,
    retry: Retry,
}

impl<P: BatchPut> Producer<P> {
    /// Creates a producer for `target`.
    pub fn new(target: P) -> Self {
        Self { target, order: Order::default(), retry: Retry::new(P::OPERATION) }
    }

    /// Sets the ordering guarantee.
    #[must_use]
    pub fn with_order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Draws the delays from a seed, so that a simulation is repeatable.
    #[must_use]
    pub fn with_jitter_seed(self, seed: u64) -> Self {
        Self { retry: self.retry.with_jitter_seed(seed), ..self }
    }

    /// Returns the service behind it.
    pub fn target(&self) -> &P {
        &self.target
    }

    /// Sends `outbound` in order, chunk by chunk, until all entries are stored or `deadline` is
    /// near.
    ///
    /// Reads the result of each entry and retries only the entries that are not stored, with
    /// jittered exponential delays. If an answer has another length than its request, all entries
    /// of the call count as unknown and are retried. A call that is refused for what it contains is
    /// sent in eighths, down to the entry at fault, which counts as rejected: it costs no other
    /// entry. An entry that fails, such as one of a hot key, does not keep others from being sent: it
    /// is sent again after all of them. A call that fails as a whole is made again before the next.
    ///
    /// # Errors
    ///
    /// Returns a [`SetupError`] if the service reports that the call can never work.
    pub async fn send(
        &self,
        outbound: &[Outbound<P::Entry>],
        deadline: Deadline,
    ) -> Result<Delivery, SetupError> {
        self.send_patiently(outbound, deadline, Duration::MAX).await
    }

    /// Works as [`Producer::send`], but retries for `max_retry_time` at most, counted from the first
    /// entry or call that the service does not accept.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    pub async fn send_patiently(
        &self,
        outbound: &[Outbound<P::Entry>],
        deadline: Deadline,
        max_retry_time: Duration,
    ) -> Result<Delivery, SetupError> {
        match self.attempt_patiently(outbound, deadline, max_retry_time).await {
            (delivery, None) => Ok(delivery),
            (_, Some(error)) => Err(error),
        }
    }

    /// Works as [`Producer::send`], and also returns what was stored before a setup error.
    pub async fn attempt(
        &self,
        outbound: &[Outbound<P::Entry>],
        deadline: Deadline,
    ) -> (Delivery, Option<SetupError>) {
        self.attempt_patiently(outbound, deadline, Duration::MAX).await
    }

    async fn attempt_patiently(
        &self,
        outbound: &[Outbound<P::Entry>],
        deadline: Deadline,
        max_retry_time: Duration,
    ) -> (Delivery, Option<SetupError>) {
        let mut delivery = Delivery::default();
        let mut time = Budget { deadline, max_retry_time, is_halved: false };
        let mut pending: Vec<_> = outbound.iter().collect();
        let mut delays = self.retry.delays();
        let setup_error = loop {
            let mut round = Round { is_over: false, failed: 0, setup_error: None };
            pending = self.send_round(pending, &mut round, &mut time, &mut delivery).await;
            if pending.is_empty() || round.setup_error.is_some() {
                break round.setup_error;
            }
            time.limit_retries();
            let delay = delays.next().unwrap_or(MAX_DELAY);
            if time.deadline.remaining() < delay + MIN_CALL_TIME {
                break None;
            }
            delivery.retried += round.failed;
            sleep(delay).await;
        };
        delivery.undelivered.extend(pending.iter().map(|o| o.position));
        delivery.undelivered.extend(delivery.rejected.keys());
        delivery.undelivered.sort_unstable();
        (delivery, setup_error)
    }

    /// Sends each entry once, chunk by chunk, and returns those that are not stored. With an order by
    /// key, an entry waits while an earlier one of its key is not stored.
    async fn send_round<'o>(
        &self,
        pending: Vec<&'o Outbound<P::Entry>>,
        round: &mut Round,
        time: &mut Budget,
        delivery: &mut Delivery,
    ) -> Vec<&'o Outbound<P::Entry>> {
        let sizes: Vec<_> = pending.iter().map(|o| self.target.size(&o.entry)).collect();
        let (mut left, mut start) = (Vec::new(), 0);
        let mut waiting_keys = HashSet::new();
        while let Some(chunk) = next_chunk(&sizes, start, self.target.limits()) {
            if round.is_over {
                break;
            }
            start = chunk.end;
            let mut entries = pending[chunk].to_vec();
            if !waiting_keys.is_empty() {
                let waits = |o: &mut &Outbound<P::Entry>| {
                    self.target.key(&o.entry).is_some_and(|key| waiting_keys.contains(key))
                };
                left.extend(entries.extract_if(.., waits));
            }
            let unstored = self.send_chunk(entries, round, time, delivery).await;
            if self.order == Order::PerKey {
                waiting_keys.extend(unstored.iter().filter_map(|o| self.target.key(&o.entry)));
            }
            left.extend(unstored);
        }
        left.extend_from_slice(&pending[start..]);
        left.sort_by_key(|outbound| outbound.position);
        left
    }

    /// Sends the entries of one chunk until some fail, and returns those that are not stored.
    async fn send_chunk<'o>(
        &self,
        mut pending: Vec<&'o Outbound<P::Entry>>,
        round: &mut Round,
        time: &mut Budget,
        delivery: &mut Delivery,
    ) -> Vec<&'o Outbound<P::Entry>> {
        let size = pending.len();
        let mut max_entries = size;
        while !pending.is_empty() {
            if time.deadline.remaining() <= MIN_CALL_TIME {
                round.is_over = true;
                break;
            }
            let next_wave = self.next_wave(&mut pending, max_entries);
            let count = next_wave.len();
            let entries: Vec<_> = next_wave.iter().map(|o| &o.entry).collect();
            let answer = self.retry.attempt(time.deadline, self.target.put(&entries)).await;
            let is_refused = matches!(answer, Err(CallError::Refused { .. }));
            match &answer {
                Err(CallError::Setup(error)) => round.setup_error = Some(error.clone()),
                // The next call would fail too.
                Err(CallError::Retryable { .. }) => round.is_over = true,
                Ok(_) | Err(CallError::Refused { .. }) => {}
            }
            let failed = retain_unstored::<P>(next_wave, answer, delivery);
            let again = failed.len();
            pending.splice(..0, failed);
            pending.sort_by_key(|outbound| outbound.position);
            if is_refused || !delivery.rejected.is_empty() {
                time.halve();
            }
            if is_refused {
                // Eighths find the entry at fault in few calls, wherever it is.
                max_entries = count.div_ceil(8);
                continue;
            }
            if again > 0 {
                round.failed += again;
                round.is_over |= round.setup_error.is_some();
                break;
            }
            // The service stored this wave; the next entries of their keys follow.
            max_entries = max_entries.saturating_mul(2).min(size);
        }
        pending
    }

    /// Removes the next entries to send from `pending`, `max` at most. With an order by key, these
    /// are the first of each key.
    fn next_wave<'o>(
        &self,
        pending: &mut Vec<&'o Outbound<P::Entry>>,
        max: usize,
    ) -> Vec<&'o Outbound<P::Entry>> {
        if self.order == Order::Throughput {
            return pending.drain(..max.min(pending.len())).collect();
        }
        let (mut keys, mut left) = (HashSet::new(), max);
        let is_first = |outbound: &&'o Outbound<P::Entry>| {
            let is_first = self.target.key(&outbound.entry).is_none_or(|key| keys.insert(key));
            let is_next = is_first && left > 0;
            left -= usize::from(is_next);
            is_next
        };
        let (next_wave, waiting) = std::mem::take(pending).into_iter().partition(is_first);
        *pending = waiting;
        next_wave
    }
}

/// State of one pass over the entries.
struct Round {
    /// No further call is made: the service is not there, or the time is over.
    is_over: bool,
    /// Entries that were sent and are not stored.
    failed: usize,
    /// The error by which the call can never work.
    setup_error: Option<SetupError>,
}

/// Time that is left for a delivery.
struct Budget {
    deadline: Deadline,
    max_retry_time: Duration,
    is_halved: bool,
}

impl Budget {
    /// Leaves half of the time to the caller, once: for what becomes of the rejected entries. Without
    /// it, a delivery that isolates them until its deadline would never get past them.
    fn halve(&mut self) {
        if !self.is_halved {
            self.is_halved = true;
            self.deadline = self.deadline.half_way();
        }
    }

    /// Limits the time of retries, from the first failure on.
    fn limit_retries(&mut self) {
        self.deadline = self.deadline.earlier(Deadline::after(self.max_retry_time));
    }
}

/// Retains the entries of `pending` that `answer` does not report as stored. Permanently rejected
/// ones are only noted in `delivery`.
fn retain_unstored<'o, P: BatchPut>(
    pending: Vec<&'o Outbound<P::Entry>>,
    answer: Result<Vec<EntryResult>, CallError>,
    delivery: &mut Delivery,
) -> Vec<&'o Outbound<P::Entry>> {
    let verdicts = match answer {
        Ok(verdicts) if verdicts.len() == pending.len() => verdicts,
        Ok(verdicts) => {
            let (asked, reported) = (pending.len(), verdicts.len());
            delivery.last_error = Some(format!("an answer of {reported} for {asked} entries"));
            return pending;
        }
        Err(error) => {
            delivery.last_error = Some(error.to_string());
            if let ([outbound], CallError::Refused { .. }) = (&pending[..], &error) {
                reject(outbound.position, error.to_string(), delivery);
                return Vec::new();
            }
            return pending;
        }
    };
    let mut unstored = Vec::new();
    for (outbound, verdict) in pending.into_iter().zip(verdicts) {
        match verdict {
            EntryResult::Stored => {}
            EntryResult::Failed(code) => {
                delivery.last_error = Some(code);
                unstored.push(outbound);
            }
            EntryResult::Rejected(code) => {
                delivery.last_error = Some(code.clone());
                reject(outbound.position, format!("{}: {code}", P::OPERATION), delivery);
            }
        }
    }
    unstored
}

fn reject(position: usize, reason: String, delivery: &mut Delivery) {
    warn!(position, reason, "entry refused for what it contains");
    delivery.rejected.insert(position, reason);
}

/// Returns the chunk that begins at `start`: as many entries as one call accepts, at least one.
fn next_chunk(sizes: &[usize], start: usize, limits: Limits) -> Option<Range<usize>> {
    let mut bytes = *sizes.get(start)?;
    let mut end = start + 1;
    while end < sizes.len() && end - start < limits.entries {
        bytes += sizes[end];
        if bytes > limits.bytes {
            break;
        }
        end += 1;
    }
    Some(start..end)
}

#[cfg(test)]
mod tests;
