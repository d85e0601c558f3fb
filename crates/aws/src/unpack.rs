//! From the records of a batch to their user records.
//!
//! A record is a KPL aggregate of many user records, or is its own only one. Later steps count,
//! reject and deliver user records; only the checkpoint counts records of the stream.

use jiff::Timestamp;
use tributary_kpl as kpl;
use tributary_model::bad_row::{Code, Origin, Rejection};

use crate::batch::{Disposition, Dispositions};
use crate::payload::KinesisRecord;
use crate::quarantine::BadRows;

/// Position of a user record in its batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    /// Position among the user records of the batch.
    pub position: usize,
    /// Record it came in.
    pub record: &'a KinesisRecord<'a>,
    /// Index in the aggregate, where the record is one.
    index: Option<usize>,
}

impl<'a> RecordContext<'a> {
    /// Returns the origin of a user record whose own id cannot be read.
    #[must_use]
    pub fn origin(&self) -> Origin<'a> {
        let (shard, number) = (self.record.shard_id(), self.record.sequence_number());
        let arrived_at = self.record.arrival_time();
        match self.index {
            Some(index) => Origin::of_user_record(shard, number, index, arrived_at),
            None => Origin::of_record(shard, number, arrived_at),
        }
    }
}

/// User record that is being classified.
pub struct UserRecord<'a> {
    /// Position in the batch.
    pub context: &'a RecordContext<'a>,
    /// Exact bytes.
    pub data: &'a [u8],
    bad_rows: &'a mut BadRows,
    now: Timestamp,
}

impl UserRecord<'_> {
    /// Makes the record a bad row.
    pub fn reject(&mut self, rejection: &Rejection, origin: &Origin<'_>) -> Disposition {
        self.bad_rows.push(self.context.position, rejection, origin, Some(self.data), self.now);
        match rejection.code {
            Code::Late => Disposition::Late,
            code => Disposition::Quarantined(code),
        }
    }
}

/// Passes each user record of `records` to `each`, and returns the dispositions and bad rows. A
/// record that cannot be decoded is a bad row.
pub fn classify(
    records: &[KinesisRecord<'_>],
    now: Timestamp,
    mut each: impl FnMut(&mut UserRecord<'_>) -> Disposition,
) -> (Dispositions, BadRows) {
    let mut bad_rows = BadRows::default();
    let dispositions = unpack(records, |context, data| {
        let bad_rows = &mut bad_rows;
        match data {
            Ok(data) => each(&mut UserRecord { context, data, bad_rows, now }),
            Err(UndecodableRecord { rejection, bytes }) => {
                let mut record = UserRecord { context, data: bytes, bad_rows, now };
                record.reject(&rejection, &context.origin())
            }
        }
    });
    (dispositions, bad_rows)
}

/// Record of which no user record can be read: one bad row, with the bytes it had.
#[derive(Debug)]
pub struct UndecodableRecord<'a> {
    /// Fault and its code.
    pub rejection: Rejection,
    /// The record, or the text that is not base64.
    pub bytes: &'a [u8],
}

/// Passes each user record of `records` to `each`, in the order of the shard, and collects the
/// dispositions that `each` returns.
pub fn unpack(
    records: &[KinesisRecord<'_>],
    mut each: impl FnMut(&RecordContext<'_>, Result<&[u8], UndecodableRecord<'_>>) -> Disposition,
) -> Dispositions {
    let mut dispositions = Dispositions::default();
    let mut data = Vec::new();
    for record in records {
        dispositions.begin_record();
        let mut take = |index, read: Result<&[u8], UndecodableRecord<'_>>| {
            let context = RecordContext { position: dispositions.len(), record, index };
            dispositions.push(each(&context, read));
        };
        if let Err(text) = record.decode_into(&mut data) {
            let rejection = Rejection::row(Code::BrokenBase64, "the data is not base64");
            take(None, Err(UndecodableRecord { rejection, bytes: text.as_bytes() }));
            continue;
        }
        match kpl::user_records(&data) {
            None => take(None, Ok(&data)),
            Some(Ok(user_records)) => {
                for (index, user_record) in user_records.iter().enumerate() {
                    take(Some(index), Ok(user_record.data));
                }
            }
            Some(Err(fault)) => {
                let rejection = Rejection::row(Code::BrokenAggregate, fault.to_string());
                take(None, Err(UndecodableRecord { rejection, bytes: &data }));
            }
        }
    }
    dispositions
}
