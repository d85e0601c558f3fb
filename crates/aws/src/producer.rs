//! Delivery: chunks, verdicts, retries, and what is left when time runs short.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::deadline::Deadline;
use crate::error::{CallError, SetupError};
use crate::put::{BatchPut, EntryResult, Limits};

/// The longest one call may take before it counts as unanswered.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A call is not begun with less time than this.
pub(crate) const MIN_CALL_TIME: Duration = Duration::from_millis(100);

const INITIAL_DELAY: Duration = Duration::from_millis(50);
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(5);

/// What a producer does about the order of entries.
///
/// PutRecords takes some entries of a call and fails others, so that what is sent again may come to
/// lie behind what was sent after it: see
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As many entries a call as it takes. Entries that fail are stored behind those that did not.
    #[default]
    Throughput,
    /// No entry of a [key](BatchPut::key) is stored before an earlier one of the same key, whatever
    /// fails: a call has one entry of each key at most. With few keys, that is many calls.
    PerKey,
}

impl Order {
    /// Reads `throughput` or `per-key`.
    ///
    /// # Errors
    ///
    /// Where it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "throughput" => Ok(Self::Throughput),
            "per-key" => Ok(Self::PerKey),
            _ => Err(format!("{text:?} should be throughput or per-key")),
        }
    }
}

/// An entry and the position of the record it answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbound<E> {
    /// Position in the batch; what is reported when the entry is not delivered. Ascending.
    pub position: usize,
    /// What to put.
    pub entry: E,
}

/// What [`Producer::send`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Positions that are not known to be stored, ascending. The entries of some of them may be
    /// stored nevertheless: a call without an answer is retried, never trusted.
    pub undelivered: Vec<usize>,
    /// Of these, the positions that were refused for good.
    pub rejected: Vec<usize>,
    /// Entries that were sent again.
    pub retried: usize,
    /// What the service said last when it did not take something.
    pub last_error: Option<String>,
}

impl Delivery {
    /// The earliest position that is not delivered.
    #[must_use]
    pub fn first_undelivered(&self) -> Option<usize> {
        self.undelivered.first().copied()
    }
}

/// Delivers batches of any size to one [`BatchPut`].
#[derive(Clone, Debug)]
pub struct Producer<P> {
    target: P,
    order: Order,
    jitter_seed: Option<u64>,
}

impl<P: BatchPut> Producer<P> {
    /// A producer for `target`.
    pub fn new(target: P) -> Self {
        Self { target, order: Order::default(), jitter_seed: None }
    }

    /// The same, with this order.
    #[must_use]
    pub fn with_order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The same, whose delays come from a seed: for a simulation, where chance must repeat itself.
    #[must_use]
    pub fn with_jitter_seed(self, seed: u64) -> Self {
        Self { jitter_seed: Some(seed), ..self }
    }

    /// The service behind it.
    pub fn target(&self) -> &P {
        &self.target
    }

    /// Sends `outbound` in order, chunk by chunk, until all is stored or `deadline` is near.
    ///
    /// Each entry of each answer is read, and only those that were not stored are sent again, with
    /// jittered exponential delays. An answer of another length than its request says nothing that
    /// can be trusted: all its entries count as unknown and are sent again. A chunk that cannot be
    /// completed ends the delivery: what comes after it is reported, not attempted, because Lambda
    /// delivers it again anyway.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the service says that the call can never work.
    pub async fn send(
        &self,
        outbound: &[Outbound<P::Entry>],
        deadline: Deadline,
    ) -> Result<Delivery, SetupError> {
        match self.attempt(outbound, deadline).await {
            (delivery, None) => Ok(delivery),
            (_, Some(error)) => Err(error),
        }
    }

    /// As [`Producer::send`], for a caller who must know what was stored even where the service says
    /// in the middle of it that the call can never work.
    pub async fn attempt(
        &self,
        outbound: &[Outbound<P::Entry>],
        deadline: Deadline,
    ) -> (Delivery, Option<SetupError>) {
        let mut delivery = Delivery::default();
        let sizes: Vec<_> = outbound.iter().map(|o| self.target.size(&o.entry)).collect();
        let (mut start, mut setup_error) = (0, None);
        while let Some(chunk) = next_chunk(&sizes, start, self.target.limits()) {
            start = chunk.end;
            match self.send_chunk(&outbound[chunk], deadline, &mut delivery).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    setup_error = Some(error);
                    break;
                }
            }
        }
        delivery.undelivered.extend(outbound[start..].iter().map(|o| o.position));
        delivery.undelivered.sort_unstable();
        (delivery, setup_error)
    }

    /// Sends one chunk; whether all of it is stored.
    async fn send_chunk(
        &self,
        chunk: &[Outbound<P::Entry>],
        deadline: Deadline,
        delivery: &mut Delivery,
    ) -> Result<bool, SetupError> {
        let mut pending: Vec<&Outbound<P::Entry>> = chunk.iter().collect();
        let (mut rejected, mut setup_error) = (Vec::new(), None);
        let mut delays = backoff_delays(self.jitter_seed);

        while deadline.remaining() > MIN_CALL_TIME {
            let next_wave = self.next_wave(&mut pending);
            let answer = self.call(&next_wave, deadline).await;
            if let Err(CallError::Setup(error)) = &answer {
                setup_error = Some(error.clone());
            }
            let failed = retain_unstored(next_wave, answer, &mut rejected, delivery);
            let again = failed.len();
            pending.splice(..0, failed);
            pending.sort_by_key(|outbound| outbound.position);
            // What comes behind an entry that is refused for good must not overtake it.
            let is_stopped = self.order == Order::PerKey && !rejected.is_empty();
            if pending.is_empty() || is_stopped || setup_error.is_some() {
                break;
            }
            if again == 0 {
                // All were taken, and made way for the next ones of their keys.
                delays = backoff_delays(self.jitter_seed);
                continue;
            }
            let delay = delays.next().unwrap_or(MAX_DELAY);
            if deadline.remaining() < delay + MIN_CALL_TIME {
                break;
            }
            delivery.retried += again;
            sleep(delay).await;
        }

        let stored = pending.is_empty() && rejected.is_empty();
        delivery
            .undelivered
            .extend(pending.iter().map(|o| o.position).chain(rejected.iter().copied()));
        delivery.rejected.extend(rejected);
        match setup_error {
            Some(error) => Err(error),
            None => Ok(stored),
        }
    }

    /// Takes what may go out together out of `pending`: by key, the first of each.
    fn next_wave<'o>(
        &self,
        pending: &mut Vec<&'o Outbound<P::Entry>>,
    ) -> Vec<&'o Outbound<P::Entry>> {
        if self.order == Order::Throughput {
            return std::mem::take(pending);
        }
        let mut keys = HashSet::new();
        let is_first = |outbound: &&'o Outbound<P::Entry>| {
            self.target.key(&outbound.entry).is_none_or(|key| keys.insert(key))
        };
        let (next_wave, waiting) = std::mem::take(pending).into_iter().partition(is_first);
        *pending = waiting;
        next_wave
    }

    async fn call(
        &self,
        pending: &[&Outbound<P::Entry>],
        deadline: Deadline,
    ) -> Result<Vec<EntryResult>, CallError> {
        let entries: Vec<_> = pending.iter().map(|o| &o.entry).collect();
        let longest = deadline.remaining().min(CALL_TIMEOUT);
        match timeout(longest, self.target.put(&entries)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::time_out(P::OPERATION)),
        }
    }
}

/// The delays between one attempt and the next, for ever; with a seed, always the same.
pub(crate) fn backoff_delays(seed: Option<u64>) -> ExponentialBackoff {
    let delays = ExponentialBuilder::new()
        .with_min_delay(INITIAL_DELAY)
        .with_max_delay(MAX_DELAY)
        .with_jitter()
        .without_max_times();
    match seed {
        Some(seed) => delays.with_jitter_seed(seed).build(),
        None => delays.build(),
    }
}

/// The entries of `pending` that `answer` does not call stored; those it refuses for good go to
/// `refused`.
fn retain_unstored<'o, E>(
    pending: Vec<&'o Outbound<E>>,
    answer: Result<Vec<EntryResult>, CallError>,
    rejected: &mut Vec<usize>,
    delivery: &mut Delivery,
) -> Vec<&'o Outbound<E>> {
    let verdicts = match answer {
        Ok(verdicts) if verdicts.len() == pending.len() => verdicts,
        Ok(verdicts) => {
            let (asked, reported) = (pending.len(), verdicts.len());
            delivery.last_error = Some(format!("an answer of {reported} for {asked} entries"));
            return pending;
        }
        Err(error) => {
            delivery.last_error = Some(error.to_string());
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
                warn!(position = outbound.position, code, "entry refused for good");
                delivery.last_error = Some(code);
                rejected.push(outbound.position);
            }
        }
    }
    unstored
}

/// The chunk that begins at `start`: as many entries as one call takes, at least one.
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
