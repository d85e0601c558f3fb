//! The end of a batch that `transform` and `alerts` share: bad rows first, then what they hold back.

use tracing::warn;

use crate::batch::{Fates, Settled};
use crate::deadline::Deadline;
use crate::error::SetUpError;
use crate::producer::{Outbound, Producer};
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
/// not take: a bad row must be safe before the checkpoint can pass it, and Lambda delivers everything
/// from the first failure on again.
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
    let quarantined = bad_rows.deliver(quarantine, deadline).await?;
    let end = quarantined.first_undelivered().map(|first| fates.redelivered_from(first));
    let end = end.unwrap_or(fates.len());
    let ready = outbound.partition_point(|outbound| outbound.position < end);
    let sent = sink.send(&outbound[..ready], deadline).await?;

    let undelivered = quarantined.undelivered.iter().chain(&sent.undelivered).copied();
    let settled = fates.settle(undelivered);
    if settled.first_undelivered.is_some() {
        let error = sent.last_error.as_deref().or(quarantined.last_error.as_deref());
        warn!(batch.undelivered = settled.books.undelivered, error, "batch cut short");
    }
    let retried = quarantined.retried + sent.retried;
    Ok(Delivered { settled, sent: ready - sent.undelivered.len(), retried })
}
