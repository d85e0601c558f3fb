//! The end of a batch that `transform` and `alerts` share: bad rows first, then what they hold back.

use tracing::warn;

use crate::batch::{BatchOutcome, Dispositions};
use crate::deadline::Deadline;
use crate::error::SetupError;
use crate::producer::{Delivery, Outbound, Producer};
use crate::put::BatchPut;
use crate::quarantine::BadRows;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchDelivery {
    /// The books and the place of the checkpoint.
    pub outcome: BatchOutcome,
    /// Entries that the sink took.
    pub sent: usize,
    /// Entries that were sent again.
    pub retried: usize,
}

/// Delivers `bad_rows` and then `outbound`, up to the record of the first bad row that quarantine did
/// not take.
///
/// # Errors
///
/// [`SetupError`] when either says that it can never work.
pub async fn deliver<P: BatchPut, Q: BatchPut<Entry = Vec<u8>>>(
    dispositions: &Dispositions,
    bad_rows: &BadRows,
    quarantine: &Producer<Q>,
    outbound: &[Outbound<P::Entry>],
    sink: &Producer<P>,
    deadline: Deadline,
) -> Result<BatchDelivery, SetupError> {
    let barrier = QuarantineBarrier::deliver(dispositions, bad_rows, quarantine, deadline).await?;
    let ready = outbound.partition_point(|outbound| outbound.position < barrier.end);
    let sent = sink.send(&outbound[..ready], deadline).await?;

    let outcome = barrier.outcome(dispositions, &sent.undelivered, sent.last_error.as_deref());
    let retried = barrier.quarantined.retried + sent.retried;
    Ok(BatchDelivery { outcome, sent: ready - sent.undelivered.len(), retried })
}

/// A batch whose bad rows are safe, up to the first that quarantine did not take: a bad row must be
/// safe before the checkpoint can pass it, and Lambda delivers everything from the first failure on
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineBarrier {
    /// Only what comes of user records before this position may go out.
    pub end: usize,
    /// What became of the bad rows.
    pub quarantined: Delivery,
}

impl QuarantineBarrier {
    /// Delivers `bad_rows`.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when quarantine can never work.
    pub async fn deliver<Q: BatchPut<Entry = Vec<u8>>>(
        dispositions: &Dispositions,
        bad_rows: &BadRows,
        quarantine: &Producer<Q>,
        deadline: Deadline,
    ) -> Result<Self, SetupError> {
        let quarantined = bad_rows.deliver(quarantine, deadline).await?;
        let end = quarantined.first_undelivered().map(|first| dispositions.redelivered_from(first));
        Ok(Self { end: end.unwrap_or(dispositions.len()), quarantined })
    }

    /// Settles the batch, of which these positions were not delivered, for this reason.
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
