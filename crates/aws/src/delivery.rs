//! The end of a batch that `transform` and `alerts` share: bad rows first, then what they hold back.

use tracing::warn;

use crate::batch::{Fates, Settled};
use crate::deadline::Deadline;
use crate::error::SetUpError;
use crate::producer::{Delivery, Outbound, Producer};
use crate::put::BatchPut;
use crate::quarantine::BadRows;

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// The books and the place of the checkpoint.
    pub settled: Settled,
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
/// [`SetUpError`] when either says that it can never work.
pub async fn deliver<P: BatchPut, Q: BatchPut<Entry = Vec<u8>>>(
    fates: &Fates,
    bad_rows: &BadRows,
    quarantine: &Producer<Q>,
    outbound: &[Outbound<P::Entry>],
    sink: &Producer<P>,
    deadline: Deadline,
) -> Result<Delivered, SetUpError> {
    let safe = Safe::deliver(fates, bad_rows, quarantine, deadline).await?;
    let ready = outbound.partition_point(|outbound| outbound.position < safe.end);
    let sent = sink.send(&outbound[..ready], deadline).await?;

    let settled = safe.settle(fates, &sent.undelivered, sent.last_error.as_deref());
    let retried = safe.quarantined.retried + sent.retried;
    Ok(Delivered { settled, sent: ready - sent.undelivered.len(), retried })
}

/// A batch whose bad rows are safe, up to the first that quarantine did not take: a bad row must be
/// safe before the checkpoint can pass it, and Lambda delivers everything from the first failure on
/// again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Safe {
    /// Only what comes of user records before this position may go out.
    pub end: usize,
    /// What became of the bad rows.
    pub quarantined: Delivery,
}

impl Safe {
    /// Delivers `bad_rows`.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] when quarantine can never work.
    pub async fn deliver<Q: BatchPut<Entry = Vec<u8>>>(
        fates: &Fates,
        bad_rows: &BadRows,
        quarantine: &Producer<Q>,
        deadline: Deadline,
    ) -> Result<Self, SetUpError> {
        let quarantined = bad_rows.deliver(quarantine, deadline).await?;
        let end = quarantined.first_undelivered().map(|first| fates.redelivered_from(first));
        Ok(Self { end: end.unwrap_or(fates.len()), quarantined })
    }

    /// Settles the batch, of which these positions were not delivered, for this reason.
    #[must_use]
    pub fn settle(&self, fates: &Fates, undelivered: &[usize], error: Option<&str>) -> Settled {
        let undelivered = self.quarantined.undelivered.iter().chain(undelivered).copied();
        let settled = fates.settle(undelivered);
        if settled.first_undelivered.is_some() {
            let error = error.or(self.quarantined.last_error.as_deref());
            warn!(batch.undelivered = settled.books.undelivered, error, "batch cut short");
        }
        settled
    }
}
