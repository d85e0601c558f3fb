//! What rules remember: one table, with its conditional writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::error::CallError;
use tributary_core::rule::series::{Mark, Marks};

use crate::clock;
use crate::fault::Faults;
use crate::line::Line;

/// One table, at the end of a line. Clones are the same table.
#[derive(Clone, Debug)]
pub struct SimAlertState {
    line: Line,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    marks: BTreeMap<String, (Marks, Timestamp)>,
    calls: usize,
}

impl SimAlertState {
    /// An empty table, as it is reached with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { line: Line::new(OPERATION, faults), state: Arc::default() }
    }

    /// How many calls were made, with an effect or without.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call<T>(&self, effect: impl FnOnce(&mut State) -> T) -> Result<T, CallError> {
        self.state().calls += 1;
        self.line.call(|| effect(&mut self.state())).await
    }
}

impl State {
    fn raise(&mut self, mark: &Mark, expires_at: Timestamp) -> Marks {
        let now = clock::now();
        let (marks, expiry) = self.marks.entry(mark.item.clone()).or_default();
        if !marks.is_empty() && *expiry <= now {
            marks.clear();
        }
        if marks.get(&mark.window).is_none_or(|value| *value < mark.value) {
            marks.insert(mark.window, mark.value);
            *expiry = expires_at;
        }
        marks.clone()
    }
}

impl AlertState for SimAlertState {
    async fn raise(&self, mark: &Mark, expires_at: Timestamp) -> Result<Marks, CallError> {
        self.call(|state| state.raise(mark, expires_at)).await
    }
}
