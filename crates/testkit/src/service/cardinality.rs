//! Simulated sets of hashes: one table with conditional writes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use tributary_aws::cardinality::{CardinalityStore, OPERATION};
use tributary_aws::error::CallError;

use crate::fault::Faults;
use crate::injector::Remote;

/// Simulated table behind a fault injector. Clones share state.
#[derive(Clone, Debug)]
pub struct SimCardinality(Remote<BTreeMap<String, BTreeSet<u64>>>);

impl SimCardinality {
    /// Creates an empty table with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self(Remote::new(OPERATION, faults))
    }

    /// Returns the number of calls, with or without effect.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.calls()
    }

    /// Returns the size of each set, by name.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<String, usize> {
        self.0.state().iter().map(|(name, set)| (name.clone(), set.len())).collect()
    }
}

impl CardinalityStore for SimCardinality {
    async fn add(
        &self,
        set: &str,
        new: &BTreeSet<u64>,
        limit: usize,
        _: Timestamp,
    ) -> Result<HashSet<u64>, CallError> {
        let add = |sets: &mut BTreeMap<String, BTreeSet<u64>>| {
            let known = sets.entry(set.to_owned()).or_default();
            if known.is_empty() || known.len() + new.len() <= limit {
                known.extend(new);
            }
            known.iter().copied().collect()
        };
        self.0.call(add).await
    }
}
