//! Bad rows first: the records that quarantine holds back, and the outcome of a batch.

use tracing::warn;

use crate::batch::{BatchOutcome, Dispositions};
use crate::producer::{Delivery, Outbound};

/// Result of delivering the bad rows of a batch.
///
/// The checkpoint must not pass a bad row that quarantine did not accept, and Lambda redelivers
/// everything from the first failure on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineBarrier {
    /// User records at or after this position must not be sent.
    pub end: usize,
    /// Delivery of the bad rows.
    pub quarantined: Delivery,
}

impl QuarantineBarrier {
    /// Returns the entries before the barrier; `outbound` is in order of positions.
    #[must_use]
    pub fn ready<'o, T>(&self, outbound: &'o [Outbound<T>]) -> &'o [Outbound<T>] {
        &outbound[..outbound.partition_point(|outbound| outbound.position < self.end)]
    }

    /// Computes the outcome of a batch of which these positions were not delivered, and logs
    /// `error` where it is cut short.
    #[must_use]
    pub fn outcome(
        &self,
        dispositions: &Dispositions,
        undelivered: &[usize],
        error: Option<&str>,
    ) -> BatchOutcome {
        let undelivered = self.quarantined.undelivered.iter().chain(undelivered).copied();
        let outcome = dispositions.outcome(undelivered);
        if outcome.first_undelivered.is_some() {
            let error = error.or(self.quarantined.last_error.as_deref());
            warn!(batch.undelivered = outcome.counts.undelivered, error, "batch cut short");
        }
        outcome
    }
}
