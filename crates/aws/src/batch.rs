//! What became of each user record of a batch, and what follows for the checkpoint.

use std::collections::BTreeMap;

use tributary_model::bad_row::Code;
use tributary_model::books::Books;

use crate::payload::{BatchResponse, KinesisRecord};

/// What became of a user record, provided that its result is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its result goes out.
    Out,
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
pub struct Fates {
    fates: Vec<Fate>,
    /// For each record, the position of its first user record.
    starts: Vec<usize>,
}

impl Fates {
    /// Says that the user records to come are of the next record.
    pub fn begin_record(&mut self) {
        self.starts.push(self.fates.len());
    }

    /// Adds a user record.
    pub fn push(&mut self, fate: Fate) {
        self.fates.push(fate);
    }

    /// How many user records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fates.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fates.is_empty()
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

    /// The settled batch, as [`Settled::new`] from the beginning of the earliest record of which a
    /// user record is `undelivered`.
    #[must_use]
    pub fn settle(&self, undelivered: impl IntoIterator<Item = usize>) -> Settled {
        Settled::new(&self.fates, undelivered.into_iter().map(|it| self.redelivered_from(it)))
    }

    /// The answer to Lambda: the earliest record that is not delivered alone, because the lowest
    /// number that is reported becomes the checkpoint. `records` are those of the batch.
    #[must_use]
    pub fn response(&self, settled: &Settled, records: &[KinesisRecord<'_>]) -> BatchResponse {
        let first = settled.first_undelivered.and_then(|it| records.get(self.record_of(it)));
        BatchResponse::failed(first.map(|record| record.sequence_number().to_owned()))
    }
}

/// The settled batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The books; they balance by what was counted, not by subtraction.
    pub books: Books,
    /// Bad rows by code.
    pub codes: BTreeMap<Code, u64>,
    /// The position of the earliest user record that is delivered again.
    pub first_undelivered: Option<usize>,
}

impl Settled {
    /// Settles a batch whose records had these `fates`, up to the earliest of `undelivered`.
    ///
    /// Lambda moves the checkpoint to that record and delivers everything from it on again, the
    /// successes too: so none of them counts as done here.
    pub fn new(fates: &[Fate], undelivered: impl IntoIterator<Item = usize>) -> Self {
        let first_undelivered = undelivered.into_iter().min();
        let done = first_undelivered.unwrap_or(fates.len()).min(fates.len());

        let mut settled = Self { first_undelivered, ..Self::default() };
        let books = &mut settled.books;
        books.received = fates.len() as u64;
        books.undelivered = (fates.len() - done) as u64;
        for fate in &fates[..done] {
            match fate {
                Fate::Out => books.delivered += 1,
                Fate::Filtered => books.filtered += 1,
                Fate::Late => books.late += 1,
                Fate::Quarantined(code) => {
                    books.quarantined += 1;
                    *settled.codes.entry(*code).or_default() += 1;
                }
            }
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::KinesisPayload;

    #[test]
    fn what_follows_the_earliest_undelivered_record_counts_as_undelivered() {
        let fates = [Fate::Out, Fate::Quarantined(Code::InvalidJson), Fate::Filtered, Fate::Out];

        let settled = Settled::new(&fates, [3, 2]);

        assert_eq!(settled.first_undelivered, Some(2));
        assert_eq!(settled.codes, BTreeMap::from([(Code::InvalidJson, 1)]));
        let books =
            Books { received: 4, delivered: 1, quarantined: 1, undelivered: 2, ..Books::default() };
        assert_eq!(settled.books, books);
        assert!(books.balance());
    }

    #[test]
    fn a_whole_batch_that_is_delivered_reports_nothing() {
        let settled = Settled::new(&[Fate::Out, Fate::Filtered], []);

        assert_eq!(settled.first_undelivered, None);
        assert!(settled.books.balance());
    }

    /// Records of 1, 0, 3 and 1 user records.
    fn aggregates() -> Fates {
        let mut fates = Fates::default();
        for user_records in [1, 0, 3, 1] {
            fates.begin_record();
            (0..user_records).for_each(|_| fates.push(Fate::Out));
        }
        fates
    }

    #[test]
    fn a_position_belongs_to_the_record_it_came_in() {
        let fates = aggregates();

        let records: Vec<_> = (0..fates.len()).map(|position| fates.record_of(position)).collect();
        assert_eq!(records, [0, 2, 2, 2, 3]);
        let from: Vec<_> = (0..fates.len()).map(|it| fates.redelivered_from(it)).collect();
        assert_eq!(from, [0, 1, 1, 1, 4]);
    }

    #[test]
    fn all_user_records_of_an_aggregate_come_again_with_one_that_is_undelivered() {
        let settled = aggregates().settle([4, 3]);

        assert_eq!(settled.first_undelivered, Some(1));
        let books = Books { received: 5, delivered: 1, undelivered: 4, ..Books::default() };
        assert_eq!(settled.books, books);
        assert!(books.balance());
    }

    #[test]
    fn the_answer_names_the_record_and_not_the_user_record() {
        let number = |number| format!(r#"{{"kinesis":{{"sequenceNumber":"{number}"}}}}"#);
        let payload = format!("{{\"Records\":[{}]}}", [5, 6, 7, 8].map(number).join(","));
        let records = KinesisPayload::from_json(&payload).unwrap().records;
        let fates = aggregates();

        let response = |undelivered| fates.response(&fates.settle(undelivered), &records);

        assert_eq!(response(Some(2)), BatchResponse::failed(["7".to_owned()]));
        assert_eq!(response(None), BatchResponse::default());
    }
}
