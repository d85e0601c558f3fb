//! Calls that are made again until they are answered, within the time that is left.

use std::future::Future;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::deadline::Deadline;
use crate::error::CallError;
use crate::producer::{CALL_TIMEOUT, MAX_DELAY, MIN_CALL_TIME, backoff_delays};

/// The most calls that are under way at the same time. A table that is asked on demand takes 4,000
/// writes a second when it is new, and each call takes some milliseconds: see
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html>.
///
/// `TransactWriteItems` has the same conditions, of 100 items a call; each counts as two writes, and
/// two functions at the same alerts cancel each other's. `BatchWriteItem` has no conditions.
pub const CONCURRENCY: usize = 64;

/// The code of an error that stands for a call which was never made, for want of time.
pub const NOT_CALLED: &str = "not_called";

/// Makes calls of one operation again, after jittered delays that grow.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    operation: &'static str,
    jitter_seed: Option<u64>,
}

impl Retry {
    /// With calls of `operation`, as messages name it.
    #[must_use]
    pub fn new(operation: &'static str) -> Self {
        Self { operation, jitter_seed: None }
    }

    /// The same, whose delays come from a seed, as
    /// [`Producer::with_jitter_seed`](crate::producer::Producer::with_jitter_seed).
    #[must_use]
    pub fn with_jitter_seed(self, seed: u64) -> Self {
        Self { jitter_seed: Some(seed), ..self }
    }

    /// The same, with calls of another operation.
    #[must_use]
    pub fn for_operation(self, operation: &'static str) -> Self {
        Self { operation, ..self }
    }

    /// Delays between one attempt and the next, for ever.
    pub fn delays(&self) -> impl Iterator<Item = Duration> + use<> {
        backoff_delays(self.jitter_seed)
    }

    /// Calls until there is an answer that another call would not change.
    ///
    /// # Errors
    ///
    /// Broken set-up at once; the last broken plumbing, or that there was no time for a call.
    pub async fn call<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        deadline: Deadline,
        attempt: impl Fn() -> F,
    ) -> Result<T, CallError> {
        let mut delays = self.delays();
        let mut last = CallError::Retryable {
            operation: self.operation,
            code: NOT_CALLED.to_owned(),
            message: "no time was left for it".to_owned(),
        };
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

    /// Makes one call, for as long as a call may take.
    ///
    /// # Errors
    ///
    /// Those of the call, and that it took too long.
    pub async fn attempt<T>(
        &self,
        deadline: Deadline,
        attempt: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let longest = deadline.remaining().min(CALL_TIMEOUT);
        timeout(longest, attempt).await.unwrap_or_else(|_| Err(CallError::time_out(self.operation)))
    }
}

/// The answers of all, in order, [`CONCURRENCY`] of them at a time.
pub async fn run_concurrently<'i, I, T, F: Future<Output = T>>(
    items: &'i [I],
    one: impl Fn(&'i I) -> F,
) -> Vec<T> {
    let numbered = items.iter().map(&one).enumerate();
    let numbered = numbered.map(|(index, answer)| async move { (index, answer.await) });
    // In order of their ends, so that a slow one holds back no other.
    let mut answers: Vec<_> = stream::iter(numbered).buffer_unordered(CONCURRENCY).collect().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
