//! Batch counts: records received, and their dispositions.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of one batch, or the sum over many.
///
/// They reconcile if every record received has exactly one disposition. A record that the function
/// did not reach or could not deliver is `undelivered`: the checkpoint stays before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Records received. The user records of a KPL aggregate count one by one.
    #[serde(rename = "in")]
    pub received: u64,
    /// Records whose result the sink accepted.
    #[serde(rename = "out")]
    pub delivered: u64,
    /// Records written to quarantine.
    pub quarantined: u64,
    /// Records dropped by a declared filter, and tombstones that only mark a deleted key.
    pub filtered: u64,
    /// Records quarantined because they were too late for their window.
    pub late: u64,
    /// Records that Lambda will redeliver.
    pub undelivered: u64,
}

impl BatchCounts {
    /// Returns `true` if `in = out + quarantined + filtered + late + undelivered`.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.received == self.accounted()
    }

    /// Returns `out + quarantined + filtered + late + undelivered`: the records with a known
    /// disposition.
    #[must_use]
    pub fn accounted(&self) -> u64 {
        self.delivered + self.quarantined + self.filtered + self.late + self.undelivered
    }
}

impl AddAssign for BatchCounts {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.delivered += other.delivered;
        self.quarantined += other.quarantined;
        self.filtered += other.filtered;
        self.late += other.late;
        self.undelivered += other.undelivered;
    }
}
