//! What became of each user record of a batch, and what follows for the checkpoint.

use std::collections::BTreeMap;

use tributary_model::bad_row::Code;
use tributary_model::counts::BatchCounts;

use crate::payload::{BatchResponse, KinesisRecord};

/// What became of a user record, provided that its result is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Its result goes out.
    Delivered,
    /// It is a bad row.
    Quarantined(Code),
    /// A declared filter dropped it, or it only says that a key is gone, or it is not for this
    /// function.
    Filtered,
    /// It is too late for a window, and a bad row for it.
    Late,
}

/// What became of each user record of a batch, and in which record of the stream it came.
///
/// A position counts user records. The checkpoint counts records: where one user record of an
/// aggregate is not delivered, all of that aggregate come again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispositions {
    dispositions: Vec<Disposition>,
    /// For each record, the position of its first user record.
    starts: Vec<usize>,
}

impl Dispositions {
    /// Says that the user records to come are of the next record.
    pub fn begin_record(&mut self) {
        self.starts.push(self.dispositions.len());
    }

    /// Adds a user record.
    pub fn push(&mut self, disposition: Disposition) {
        self.dispositions.push(disposition);
    }

    /// How many user records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dispositions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dispositions.is_empty()
    }

    /// The index of the record that the user record at `position` came in.
    #[must_use]
    pub fn record_of(&self, position: usize) -> usize {
        // The last of those that begin there: an aggregate of nothing begins where the next does.
        self.starts.partition_point(|&start| start <= position).saturating_sub(1)
    }

    /// The first position that comes again when the user record at `position` is not delivered.
    #[must_use]
    pub fn redelivered_from(&self, position: usize) -> usize {
        self.starts.get(self.record_of(position)).copied().unwrap_or(position)
    }

    /// The settled batch, as [`BatchOutcome::new`] from the beginning of the earliest record of which a
    /// user record is `undelivered`.
    #[must_use]
    pub fn outcome(&self, undelivered: impl IntoIterator<Item = usize>) -> BatchOutcome {
        BatchOutcome::new(
            &self.dispositions,
            undelivered.into_iter().map(|it| self.redelivered_from(it)),
        )
    }

    /// The answer to Lambda: the earliest record that is not delivered alone, because the lowest
    /// number that is reported becomes the checkpoint. `records` are those of the batch.
    #[must_use]
    pub fn response(&self, outcome: &BatchOutcome, records: &[KinesisRecord<'_>]) -> BatchResponse {
        let first = outcome.first_undelivered.and_then(|it| records.get(self.record_of(it)));
        BatchResponse::failed(first.map(|record| record.sequence_number().to_owned()))
    }
}

/// The settled batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// The books; they balance by what was counted, not by subtraction.
    pub counts: BatchCounts,
    /// Bad rows by code.
    pub codes: BTreeMap<Code, u64>,
    /// The position of the earliest user record that is delivered again.
    pub first_undelivered: Option<usize>,
}

impl BatchOutcome {
    /// Settles a batch whose records had these `fates`, up to the earliest of `undelivered`.
    ///
    /// Lambda moves the checkpoint to that record and delivers everything from it on again, the
    /// successes too: so none of them counts as done here.
    pub fn new(dispositions: &[Disposition], undelivered: impl IntoIterator<Item = usize>) -> Self {
        let first_undelivered = undelivered.into_iter().min();
        let done = first_undelivered.unwrap_or(dispositions.len()).min(dispositions.len());

        let mut outcome = Self { first_undelivered, ..Self::default() };
        let counts = &mut outcome.counts;
        counts.received = dispositions.len() as u64;
        counts.undelivered = (dispositions.len() - done) as u64;
        for disposition in &dispositions[..done] {
            match disposition {
                Disposition::Delivered => counts.delivered += 1,
                Disposition::Filtered => counts.filtered += 1,
                Disposition::Late => counts.late += 1,
                Disposition::Quarantined(code) => {
                    counts.quarantined += 1;
                    *outcome.codes.entry(*code).or_default() += 1;
                }
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::KinesisPayload;

    #[test]
    fn what_follows_the_earliest_undelivered_record_counts_as_undelivered() {
        let dispositions = [
            Disposition::Delivered,
            Disposition::Quarantined(Code::InvalidJson),
            Disposition::Filtered,
            Disposition::Delivered,
        ];

        let outcome = BatchOutcome::new(&dispositions, [3, 2]);

        assert_eq!(outcome.first_undelivered, Some(2));
        assert_eq!(outcome.codes, BTreeMap::from([(Code::InvalidJson, 1)]));
        let counts = BatchCounts {
            received: 4,
            delivered: 1,
            quarantined: 1,
            undelivered: 2,
            ..BatchCounts::default()
        };
        assert_eq!(outcome.counts, counts);
        assert!(counts.is_balanced());
    }

    #[test]
    fn a_whole_batch_that_is_delivered_reports_nothing() {
        let outcome = BatchOutcome::new(&[Disposition::Delivered, Disposition::Filtered], []);

        assert_eq!(outcome.first_undelivered, None);
        assert!(outcome.counts.is_balanced());
    }

    /// Records of 1, 0, 3 and 1 user records.
    fn aggregates() -> Dispositions {
        let mut dispositions = Dispositions::default();
        for user_records in [1, 0, 3, 1] {
            dispositions.begin_record();
            (0..user_records).for_each(|_| dispositions.push(Disposition::Delivered));
        }
        dispositions
    }

    #[test]
    fn a_position_belongs_to_the_record_it_came_in() {
        let dispositions = aggregates();

        let records: Vec<_> =
            (0..dispositions.len()).map(|position| dispositions.record_of(position)).collect();
        assert_eq!(records, [0, 2, 2, 2, 3]);
        let from: Vec<_> =
            (0..dispositions.len()).map(|it| dispositions.redelivered_from(it)).collect();
        assert_eq!(from, [0, 1, 1, 1, 4]);
    }

    #[test]
    fn all_user_records_of_an_aggregate_come_again_with_one_that_is_undelivered() {
        let outcome = aggregates().outcome([4, 3]);

        assert_eq!(outcome.first_undelivered, Some(1));
        let counts =
            BatchCounts { received: 5, delivered: 1, undelivered: 4, ..BatchCounts::default() };
        assert_eq!(outcome.counts, counts);
        assert!(counts.is_balanced());
    }

    #[test]
    fn the_answer_names_the_record_and_not_the_user_record() {
        let number = |number| format!(r#"{{"kinesis":{{"sequenceNumber":"{number}"}}}}"#);
        let payload = format!("{{\"Records\":[{}]}}", [5, 6, 7, 8].map(number).join(","));
        let records = KinesisPayload::from_json(&payload).unwrap().records;
        let dispositions = aggregates();

        let response =
            |undelivered| dispositions.response(&dispositions.outcome(undelivered), &records);

        assert_eq!(response(Some(2)), BatchResponse::failed(["7".to_owned()]));
        assert_eq!(response(None), BatchResponse::default());
    }
}
