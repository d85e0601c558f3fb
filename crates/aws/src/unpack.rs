//! From the records of a batch to the user records they hold.
//!
//! A record is a KPL aggregate of many user records, or is its own only one. What comes after this
//! counts, rejects and delivers user records; only the checkpoint is of the stream's.

use tributary_kpl as kpl;
use tributary_model::bad_row::{Code, Origin, Rejection};

use crate::batch::{Disposition, Dispositions};
use crate::payload::KinesisRecord;

/// Where a user record is.
#[derive(Clone, Copy, Debug)]
pub struct RecordContext<'a> {
    /// Its position among the user records of the batch.
    pub position: usize,
    /// The record it came in.
    pub record: &'a KinesisRecord<'a>,
    /// Its index in the aggregate, where the record is one.
    index: Option<usize>,
}

impl RecordContext<'_> {
    /// The origin of a user record whose own id cannot be read.
    #[must_use]
    pub fn origin(&self) -> Origin<'_> {
        let (shard, number) = (self.record.shard_id(), self.record.sequence_number());
        let arrived_at = self.record.arrival_time();
        match self.index {
            Some(index) => Origin::of_user_record(shard, number, index, arrived_at),
            None => Origin::of_record(shard, number, arrived_at),
        }
    }
}

/// A record of which no user record can be read: one bad row, with the bytes it had.
#[derive(Debug)]
pub struct UndecodableRecord<'a> {
    /// What is wrong.
    pub rejection: Rejection,
    /// The record, or the text that is not base64.
    pub bytes: &'a [u8],
}

/// Gives each user record of `records` to `each`, which says what became of it. Their order is the
/// order of the shard.
pub fn unpack(
    records: &[KinesisRecord<'_>],
    mut each: impl FnMut(&RecordContext<'_>, Result<&[u8], UndecodableRecord<'_>>) -> Disposition,
) -> Dispositions {
    let mut dispositions = Dispositions::default();
    let mut data = Vec::new();
    for record in records {
        dispositions.begin_record();
        let mut take = |index, read: Result<&[u8], UndecodableRecord<'_>>| {
            let place = RecordContext { position: dispositions.len(), record, index };
            dispositions.push(each(&place, read));
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
