//! Simulated services behind fault injectors.

mod alert_state;
mod cardinality;
mod delivery;
mod metrics;
mod objects;
mod queue;
mod stream;
mod table;
mod topic;
mod windows;

use std::sync::Arc;

use tributary_aws::error::{CallError, SetupError};
use tributary_aws::put::{BatchPut, EntryResult, Limits};

pub use alert_state::SimAlertState;
pub use cardinality::SimCardinality;
pub use delivery::SimDelivery;
pub use metrics::SimMetrics;
pub use objects::{SimBucket, SimObjects};
pub use queue::{Message, SimQueue};
pub use stream::{SimStream, Stored};
pub use table::{Change, ChangeKind, SimClaims};
pub use topic::{Message as TopicMessage, SimTopic};
pub use windows::{SimShards, SimWindows, WatermarkRise};

use crate::fault::{Fault, Faults};
use crate::injector::FaultInjector;

/// Service that accepts batches of entries, without faults.
pub trait Store: Send + Sync {
    /// Entry of a call.
    type Entry: Send + Sync;

    /// Operation for error messages.
    const OPERATION: &'static str;

    /// True if a call is accepted as a whole or not at all.
    const IS_ATOMIC: bool = false;

    /// Returns the limits of one call.
    fn limits(&self) -> Limits;

    /// Returns the size of an entry in bytes.
    fn size(&self, entry: &Self::Entry) -> usize;

    /// Returns the key within which entries keep their order.
    fn key<'e>(&self, _entry: &'e Self::Entry) -> Option<&'e str> {
        None
    }

    /// Returns true if the service refuses a call with this entry for what it contains.
    fn refuses(&self, _entry: &Self::Entry) -> bool {
        false
    }

    /// Accepts or rejects one entry.
    fn take(&self, entry: &Self::Entry) -> EntryResult;

    /// Returns what the service's adapter reads from an answer with these `verdicts`.
    ///
    /// If parsing the answer is more than copying it, this runs the deployed code.
    fn read(&self, verdicts: Vec<EntryResult>) -> Vec<EntryResult> {
        verdicts
    }

    /// Records that the caller received the answer for this entry.
    fn acknowledge(&self, _entry: &Self::Entry) {}
}

/// A [`Store`] behind a fault injector.
#[derive(Debug)]
pub struct SimSink<S> {
    store: Arc<S>,
    injector: FaultInjector,
}

impl<S: Store> SimSink<S> {
    /// Creates a sink for `store` with these faults.
    #[must_use]
    pub fn new(store: Arc<S>, faults: Faults) -> Self {
        Self { store, injector: FaultInjector { operation: S::OPERATION, faults } }
    }

    /// Rejects a call beyond the service's limits; a producer never makes one.
    fn check(&self, entries: &[&S::Entry]) -> Result<(), CallError> {
        let limits = self.store.limits();
        let sizes = || entries.iter().map(|entry| self.store.size(entry));
        let message = if entries.is_empty() || entries.len() > limits.entries {
            format!("{} entries where 1 to {} are taken", entries.len(), limits.entries)
        } else if sizes().sum::<usize>() > limits.bytes {
            format!("more than {} bytes", limits.bytes)
        } else if sizes().any(|size| size > limits.entry_bytes) {
            format!("an entry of more than {} bytes", limits.entry_bytes)
        } else {
            return Ok(());
        };
        Err(SetupError::new(S::OPERATION, "simulated", "ValidationException", message).into())
    }

    fn take(&self, entries: &[&S::Entry]) -> Result<Vec<EntryResult>, CallError> {
        if entries.iter().any(|entry| self.store.refuses(entry)) {
            let (code, message) = ("ValidationException", "an entry is invalid");
            return Err(CallError::refused(S::OPERATION, "simulated", code, message));
        }
        let faults = &self.injector.faults;
        let is_partial = !S::IS_ATOMIC && faults.occurs(Fault::PartialFailure);
        let verdict = |entry: &&S::Entry| {
            if is_partial && faults.below(3) == 0 {
                EntryResult::Failed("InternalFailure".to_owned())
            } else {
                self.store.take(entry)
            }
        };
        Ok(entries.iter().map(verdict).collect())
    }
}

impl<S: Store> BatchPut for SimSink<S> {
    type Entry = S::Entry;

    const OPERATION: &'static str = S::OPERATION;

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn size(&self, entry: &S::Entry) -> usize {
        self.store.size(entry)
    }

    fn key<'e>(&self, entry: &'e S::Entry) -> Option<&'e str> {
        self.store.key(entry)
    }

    async fn put(&self, entries: &[&S::Entry]) -> Result<Vec<EntryResult>, CallError> {
        self.check(entries)?;
        let mut verdicts = self.store.read(self.injector.call(|| self.take(entries)).await??);
        let faults = &self.injector.faults;
        if !S::IS_ATOMIC && faults.occurs(Fault::ShortAnswer) {
            verdicts.pop();
        } else if !S::IS_ATOMIC && faults.occurs(Fault::LongAnswer) {
            verdicts.push(EntryResult::Stored);
        } else {
            let stored = entries.iter().zip(&verdicts).filter(|(_, v)| **v == EntryResult::Stored);
            stored.for_each(|(entry, _)| self.store.acknowledge(entry));
        }
        Ok(verdicts)
    }
}
