//! From the records of a batch to their user records and events.
//!
//! A record is a KPL aggregate of many user records, or is its own only one. Later steps count,
//! reject and deliver user records; only the checkpoint counts records of the stream.

use jiff::Timestamp;
use tributary_kpl as kpl;
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::event::Event;

use crate::batch::{Disposition, KinesisBatch};
use crate::payload::KinesisRecord;
use crate::quarantine::BadRows;
use crate::takeover::{KnownDatasets, Stale};

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

    /// Makes the record of an event a bad row.
    pub fn reject_event(&mut self, rejection: &Rejection) -> Disposition {
        let data = self.data;
        let event = Event::from_json(data).ok();
        let dataset = event.as_ref().map(|event| event.dataset.as_ref());
        self.reject(rejection, &Origin { dataset, ..self.context.origin() })
    }
}

impl KinesisBatch<'_> {
    /// Passes each user record to `each` in the order of the shard, and keeps its disposition. A
    /// record that cannot be decoded is a bad row with the bytes it had.
    pub fn classify(
        &mut self,
        now: Timestamp,
        mut each: impl FnMut(&mut UserRecord<'_>) -> Disposition,
    ) {
        (self.dispositions, self.bad_rows) = Default::default();
        let mut bytes = Vec::new();
        for record in &self.records {
            self.dispositions.begin_record();
            let mut take = |index, data: &[u8], fault: Option<Rejection>| {
                let context =
                    &RecordContext { position: self.dispositions.all.len(), record, index };
                let bad_rows = &mut self.bad_rows;
                let mut user_record = UserRecord { context, data, bad_rows, now };
                self.dispositions.all.push(match fault {
                    None => each(&mut user_record),
                    Some(rejection) => user_record.reject(&rejection, &context.origin()),
                });
            };
            if let Err(text) = record.decode_into(&mut bytes) {
                let rejection = Rejection::row(Code::BrokenBase64, "the data is not base64");
                take(None, text.as_bytes(), Some(rejection));
                continue;
            }
            match kpl::user_records(&bytes) {
                None => take(None, &bytes, None),
                Some(Ok(user_records)) => {
                    for (index, user_record) in user_records.iter().enumerate() {
                        take(Some(index), user_record.data, None);
                    }
                }
                Some(Err(fault)) => {
                    let rejection = Rejection::row(Code::BrokenAggregate, fault.to_string());
                    take(None, &bytes, Some(rejection));
                }
            }
        }
    }

    /// Passes each event to `each` with its position, and keeps its disposition. A record that is
    /// no event, and an event that `each` rejects, become bad rows.
    ///
    /// # Errors
    ///
    /// Fails at an event of a dataset that only a later configuration can have.
    pub fn read_events(
        &mut self,
        now: Timestamp,
        known: &KnownDatasets,
        mut each: impl FnMut(&RecordContext<'_>, &Event<'_>) -> Result<Disposition, Rejection>,
    ) -> Result<(), Stale> {
        let mut stale = None;
        self.classify(now, |record| match Event::from_json(record.data) {
            Ok(event) => {
                let arrived = record.context.record.arrival_time();
                if let Err(found) = known.check(&event.dataset, arrived) {
                    stale.get_or_insert(found);
                }
                each(record.context, &event).unwrap_or_else(|rejection| {
                    let dataset = Some(event.dataset.as_ref());
                    record.reject(&rejection, &Origin { dataset, ..record.context.origin() })
                })
            }
            Err(error) => {
                let message = format!("is no event, at column {}", error.column());
                record.reject(&Rejection::row(Code::NotAnEvent, message), &record.context.origin())
            }
        });
        stale.map_or(Ok(()), Err)
    }
}
