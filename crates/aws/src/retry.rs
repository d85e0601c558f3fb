//! Retries of calls within the time that is left.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::deadline::Deadline;
use crate::error::CallError;

/// Time limit of one call, after which it counts as unanswered.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum time left to begin a call.
pub(crate) const MIN_CALL_TIME: Duration = Duration::from_millis(100);

const INITIAL_DELAY: Duration = Duration::from_millis(50);
pub(crate) const MAX_DELAY: Duration = Duration::from_secs(5);

/// Maximum number of concurrent calls. A new on-demand table accepts 4,000 writes per second, and
/// each call takes some milliseconds: see
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>.
///
/// `TransactWriteItems` supports the same conditions, for 100 items a call, but each item counts as
/// two writes, and transactions of two functions on the same alerts cancel each other.
/// `BatchWriteItem` supports no conditions.
pub const CONCURRENCY: usize = 64;

/// Error code of a call that was never made because no time was left.
pub const NOT_CALLED: &str = "not_called";

/// Retries calls of one operation after jittered, growing delays.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    operation: &'static str,
    jitter_seed: Option<u64>,
}

impl Retry {
    /// Creates retries for calls of `operation`, the name in messages.
    #[must_use]
    pub fn new(operation: &'static str) -> Self {
        Self { operation, jitter_seed: None }
    }

    /// Draws the delays from a seed, as
    /// [`Producer::with_jitter_seed`](crate::producer::Producer::with_jitter_seed).
    #[must_use]
    pub fn with_jitter_seed(self, seed: u64) -> Self {
        Self { jitter_seed: Some(seed), ..self }
    }

    /// Returns the same retries for calls of another operation.
    #[must_use]
    pub fn for_operation(self, operation: &'static str) -> Self {
        Self { operation, ..self }
    }

    /// Returns an endless sequence of delays between attempts. With a seed, the sequence is always
    /// the same.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        let delays = ExponentialBuilder::new()
            .with_min_delay(INITIAL_DELAY)
            .with_max_delay(MAX_DELAY)
            .with_jitter()
            .without_max_times();
        match self.jitter_seed {
            Some(seed) => delays.with_jitter_seed(seed).build(),
            None => delays.build(),
        }
    }

    /// Calls until the service gives a final answer.
    ///
    /// # Errors
    ///
    /// Returns a setup error immediately. Otherwise returns the last retryable error, or
    /// [`NOT_CALLED`] if there was no time for a call.
    pub async fn call<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        deadline: Deadline,
        attempt: impl Fn() -> F,
    ) -> Result<T, CallError> {
        let mut delays = self.delays();
        let mut last = CallError::retryable(self.operation, NOT_CALLED, "no time was left for it");
        while deadline.remaining() > MIN_CALL_TIME {
            match self.attempt(deadline, attempt()).await {
                Err(error @ CallError::Retryable { .. }) => last = error,
                answer => return answer,
            }
            let delay = delays.next().unwrap_or(MAX_DELAY);
            if deadline.remaining() < delay + MIN_CALL_TIME {
                break;
            }
            sleep(delay).await;
        }
        Err(last)
    }

    /// Makes one call, within the time limit of a call.
    ///
    /// # Errors
    ///
    /// Returns the error of the call, or a timeout.
    pub async fn attempt<T>(
        &self,
        deadline: Deadline,
        attempt: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let longest = deadline.remaining().min(CALL_TIMEOUT);
        timeout(longest, attempt).await.unwrap_or_else(|_| Err(CallError::time_out(self.operation)))
    }
}

/// Runs all calls, [`CONCURRENCY`] of them concurrently. Returns their answers in order.
pub async fn run_concurrently<'i, I, T, F: Future<Output = T>>(
    items: &'i [I],
    one: impl Fn(&'i I) -> F,
) -> Vec<T> {
    let numbered = items.iter().map(&one).enumerate();
    let numbered = numbered.map(|(index, answer)| async move { (index, answer.await) });
    // Unordered, so that a slow call does not hold back others.
    let mut answers: Vec<_> = stream::iter(numbered).buffer_unordered(CONCURRENCY).collect().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
