//! In-memory sink that fails by script.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tributary_aws::error::{CallError, SetupError};
use tributary_aws::put::{BatchPut, EntryResult, Limits};
use tributary_aws::sqs::Queue;

use crate::lock;

/// Answer of a sink to one call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Stores everything.
    Take,
    /// Fails the entries at these indexes of the call and stores the others.
    Fail(Vec<usize>),
    /// Rejects the entries at these indexes permanently and stores the others.
    Reject(Vec<usize>),
    /// Refuses the whole call as invalid.
    Refuse,
    /// Throttles the whole call.
    Throttle,
    /// Stores everything, but answers for this number of entries.
    AnswerFor(usize),
    /// Stores everything and times out.
    StoreAndTimeOut,
    /// Denies access.
    Deny,
    /// Stores everything after this delay.
    After(Duration),
}

/// Sink that stores entries of any type.
#[derive(Debug)]
pub struct MemorySink<E> {
    limits: Limits,
    size: fn(&E) -> usize,
    state: Mutex<State<E>>,
}

/// In-memory queue: a sink of message bodies.
pub type MemoryQueue = MemorySink<String>;

#[derive(Debug)]
struct State<E> {
    /// Answers to the next calls; the last one repeats indefinitely.
    script: VecDeque<Answer>,
    stored: Vec<E>,
    calls: Vec<usize>,
}

impl<E: Clone> MemorySink<E> {
    /// Creates a sink with the limits of a service that stores everything.
    pub fn new(limits: Limits, size: fn(&E) -> usize) -> Self {
        Self::scripted(limits, size, [])
    }

    /// Creates a sink that answers by script.
    pub fn scripted(
        limits: Limits,
        size: fn(&E) -> usize,
        script: impl IntoIterator<Item = Answer>,
    ) -> Self {
        let script = script.into_iter().collect();
        let state = Mutex::new(State { script, stored: Vec::new(), calls: Vec::new() });
        Self { limits, size, state }
    }

    /// Removes and returns the stored entries.
    pub fn drain(&self) -> Vec<E> {
        std::mem::take(&mut lock(&self.state).stored)
    }

    /// Returns the number of entries of each call.
    pub fn calls(&self) -> Vec<usize> {
        lock(&self.state).calls.clone()
    }

    /// Replaces the script, and removes and returns the stored entries.
    pub fn restart(&self, script: impl IntoIterator<Item = Answer>) -> Vec<E> {
        let mut state = lock(&self.state);
        state.script = script.into_iter().collect();
        state.calls.clear();
        std::mem::take(&mut state.stored)
    }

    /// Returns the stored entries, in order; an entry that was sent twice may appear twice.
    pub fn stored(&self) -> Vec<E> {
        lock(&self.state).stored.clone()
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        let limits = Limits { entries: usize::MAX, bytes: usize::MAX, entry_bytes: usize::MAX };
        Self::new(limits, String::len)
    }
}

impl Queue for MemoryQueue {
    async fn send(&self, body: String) -> Result<(), CallError> {
        self.put(&[&body]).await.map(drop)
    }
}

impl<E: Clone + Send + Sync> BatchPut for MemorySink<E> {
    type Entry = E;

    const OPERATION: &'static str = "memory:Put";

    fn limits(&self) -> Limits {
        self.limits
    }

    fn size(&self, entry: &E) -> usize {
        (self.size)(entry)
    }

    async fn put(&self, entries: &[&E]) -> Result<Vec<EntryResult>, CallError> {
        let answer = {
            let mut state = lock(&self.state);
            state.calls.push(entries.len());
            let is_last = state.script.len() < 2;
            let next =
                if is_last { state.script.front().cloned() } else { state.script.pop_front() };
            next.unwrap_or(Answer::Take)
        };
        if let Answer::After(delay) = answer {
            tokio::time::sleep(delay).await;
        }
        let (unstored, result) = match &answer {
            Answer::Throttle => {
                return Err(CallError::retryable(
                    Self::OPERATION,
                    "ThrottlingException",
                    "rate exceeded",
                ));
            }
            Answer::Refuse => {
                let (code, message) = ("InvalidParameterValue", "invalid entry");
                return Err(CallError::refused(Self::OPERATION, "memory", code, message));
            }
            Answer::Deny => {
                let (code, message) = ("AccessDeniedException", "not authorized".to_owned());
                return Err(SetupError::new(Self::OPERATION, "memory", code, message).into());
            }
            Answer::Fail(indexes) => (&indexes[..], EntryResult::Failed("InternalFailure".into())),
            Answer::Reject(indexes) => {
                (&indexes[..], EntryResult::Rejected("InvalidParameter".into()))
            }
            _ => (&[][..], EntryResult::Stored),
        };
        let all = entries.iter().enumerate();
        let stored = all.filter(|(index, _)| !unstored.contains(index));
        lock(&self.state).stored.extend(stored.map(|(_, entry)| (*entry).clone()));
        let count = match answer {
            Answer::StoreAndTimeOut => return Err(CallError::time_out(Self::OPERATION)),
            Answer::AnswerFor(count) => count,
            _ => entries.len(),
        };
        let mut results = vec![EntryResult::Stored; count];
        for index in unstored.iter().filter(|index| **index < count) {
            results[*index] = result.clone();
        }
        Ok(results)
    }
}
