//! In-memory sink that fails by script.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tributary_aws::error::{CallError, SetupError};
use tributary_aws::put::{BatchPut, EntryResult, Limits};

/// Answer of a sink to one call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Stores everything.
    Take,
    /// Fails the entries at these indexes of the call and stores the others.
    Fail(Vec<usize>),
    /// Rejects the entries at these indexes permanently and stores the others.
    Reject(Vec<usize>),
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

/// Answers of a sink, call by call; the last answer repeats indefinitely.
#[derive(Clone, Debug)]
pub struct Script(VecDeque<Answer>);

impl Script {
    /// Creates a script of answers in order.
    pub fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self(answers.into_iter().collect())
    }

    fn next(&mut self) -> Answer {
        match self.0.len() {
            0 => Answer::Take,
            1 => self.0[0].clone(),
            _ => self.0.pop_front().unwrap_or(Answer::Take),
        }
    }
}

/// Sink that stores entries of any type.
#[derive(Debug)]
pub struct MemorySink<E> {
    limits: Limits,
    size: fn(&E) -> usize,
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    script: Script,
    stored: Vec<E>,
    calls: Vec<usize>,
}

impl<E> MemorySink<E> {
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
        let state = State { script: Script::new(script), stored: Vec::new(), calls: Vec::new() };
        Self { limits, size, state: Mutex::new(state) }
    }

    /// Returns the number of entries of each call.
    pub fn calls(&self) -> Vec<usize> {
        self.state().calls.clone()
    }

    /// Replaces the script, and removes and returns the stored entries.
    pub fn restart(&self, script: impl IntoIterator<Item = Answer>) -> Vec<E> {
        let mut state = self.state();
        state.script = Script::new(script);
        state.calls.clear();
        std::mem::take(&mut state.stored)
    }

    fn state(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E: Clone> MemorySink<E> {
    /// Returns the stored entries, in order; an entry that was sent twice may appear twice.
    pub fn stored(&self) -> Vec<E> {
        self.state().stored.clone()
    }
}

impl<E: Clone> State<E> {
    fn store(&mut self, entries: &[&E], but: &[usize]) {
        let kept = entries.iter().enumerate().filter(|(index, _)| !but.contains(index));
        self.stored.extend(kept.map(|(_, entry)| (*entry).clone()));
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
            let mut state = self.state();
            state.calls.push(entries.len());
            state.script.next()
        };
        if let Answer::After(delay) = answer {
            tokio::time::sleep(delay).await;
        }
        let mut state = self.state();
        let mut verdicts = vec![EntryResult::Stored; entries.len()];
        let mut mark = |indexes: &[usize], verdict: &EntryResult| {
            for slot in indexes.iter().filter(|index| **index < entries.len()) {
                verdicts[*slot] = verdict.clone();
            }
        };
        match answer {
            Answer::Take | Answer::After(_) => state.store(entries, &[]),
            Answer::Fail(indexes) => {
                state.store(entries, &indexes);
                mark(&indexes, &EntryResult::Failed("InternalFailure".into()));
            }
            Answer::Reject(indexes) => {
                state.store(entries, &indexes);
                mark(&indexes, &EntryResult::Rejected("InvalidParameter".into()));
            }
            Answer::Throttle => {
                return Err(CallError::Retryable {
                    operation: Self::OPERATION,
                    code: "ThrottlingException".into(),
                    message: "rate exceeded".into(),
                });
            }
            Answer::AnswerFor(count) => {
                state.store(entries, &[]);
                verdicts = vec![EntryResult::Stored; count];
            }
            Answer::StoreAndTimeOut => {
                state.store(entries, &[]);
                return Err(CallError::time_out(Self::OPERATION));
            }
            Answer::Deny => {
                return Err(CallError::Setup(SetupError {
                    operation: Self::OPERATION,
                    resource: "memory".into(),
                    code: "AccessDeniedException".into(),
                    message: "not authorized".into(),
                }));
            }
        }
        Ok(verdicts)
    }
}
