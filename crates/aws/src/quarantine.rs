//! Quarantine: stores bad rows before the checkpoint may pass them.

use jiff::Timestamp;
use tributary_model::bad_row::{BadRow, Origin, Rejection};

use crate::clients::{self, SdkConfig};
use crate::deadline::Deadline;
use crate::error::SetupError;
use crate::firehose::{DeliveryStream, MAX_RECORD_BYTES};
use crate::producer::{Delivery, Outbound, Producer};
use crate::put::BatchPut;

/// Returns a producer for the delivery stream `name`.
#[must_use]
pub fn connect(name: String, sdk: &SdkConfig) -> Producer<DeliveryStream> {
    Producer::new(DeliveryStream::new(clients::firehose(sdk), name))
}

/// Bad rows of one batch, encoded as lines.
#[derive(Debug, Default)]
pub struct BadRows(pub Vec<Outbound<Vec<u8>>>);

impl BadRows {
    /// Adds the record at `position`; `payload` is its exact bytes, unless it was too large.
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

    /// Delivers the bad rows, in half of the remaining time at most.
    ///
    /// A bad row that quarantine does not accept is a retryable error: the checkpoint stays before
    /// it, as for any undelivered record. The other half of the time is left for the records before
    /// the first bad row, which can still be delivered.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the delivery stream can never work, such as when it is missing.
    pub async fn deliver<Q: BatchPut<Entry = Vec<u8>>>(
        &self,
        quarantine: &Producer<Q>,
        deadline: Deadline,
    ) -> Result<Delivery, SetupError> {
        quarantine.send(&self.0, deadline.half_way()).await
    }
}
