//! Quarantine: where bad rows go before the checkpoint may pass them.

use jiff::Timestamp;
use tributary_model::bad_row::{BadRow, Origin, Rejection};

use crate::deadline::Deadline;
use crate::error::SetupError;
use crate::firehose::MAX_RECORD_BYTES;
use crate::producer::{Delivery, Outbound, Producer};
use crate::put::BatchPut;

/// The bad rows of one batch, as the lines they become.
#[derive(Debug, Default)]
pub struct BadRows(Vec<Outbound<Vec<u8>>>);

impl BadRows {
    /// Adds the record at `position`; `payload` is its exact bytes, where there were not too many.
    pub fn push(
        &mut self,
        position: usize,
        rejection: &Rejection,
        origin: &Origin<'_>,
        payload: Option<&[u8]>,
        now: Timestamp,
    ) {
        let entry = BadRow::new(rejection, origin, payload, now).to_line(MAX_RECORD_BYTES);
        self.0.push(Outbound { position, entry });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Delivers them. A bad row that quarantine does not take is broken plumbing: it stays before
    /// the checkpoint like any record that could not be delivered. It takes half of the time at
    /// most: the records before the first bad row can still go on.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the delivery stream cannot be used at all.
    pub async fn deliver<Q: BatchPut<Entry = Vec<u8>>>(
        &self,
        quarantine: &Producer<Q>,
        deadline: Deadline,
    ) -> Result<Delivery, SetupError> {
        quarantine.send(&self.0, deadline.half_way()).await
    }
}
