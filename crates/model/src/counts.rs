//! The books of a batch: what came in, and where each record went.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Counts of one batch, or the sum of many.
///
/// They balance when every record that came in is one of the others. A record the function did not
/// get to, or could not deliver, is `undelivered`: the checkpoint stays before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Records received; those in a KPL aggregate one by one.
    #[serde(rename = "in")]
    pub received: u64,
    /// Records whose result was delivered.
    #[serde(rename = "out")]
    pub delivered: u64,
    /// Records delivered to quarantine.
    pub quarantined: u64,
    /// Records that a declared filter dropped, and those that only say that a key is gone.
    pub filtered: u64,
    /// Records too late for their window, and quarantined for it.
    pub late: u64,
    /// Records that will be delivered again.
    pub undelivered: u64,
}

impl BatchCounts {
    /// Whether `in = out + quarantined + filtered + late + undelivered`.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.received == self.accounted()
    }

    /// `out + quarantined + filtered + late + undelivered`: the records whose end is known.
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
