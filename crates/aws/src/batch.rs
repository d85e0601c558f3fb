//! What became of each record of a batch, and what follows for the checkpoint.

use std::collections::BTreeMap;

use tributary_core::bad_row::Code;
use tributary_core::books::Books;

use crate::payload::{BatchResponse, KinesisRecord};

/// What became of a record, provided that its result is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its result goes out.
    Out,
    /// It is a bad row.
    Quarantined(Code),
    /// A declared filter dropped it.
    Filtered,
}

/// The settled batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The books; they balance by what was counted, not by subtraction.
    pub books: Books,
    /// Bad rows by code.
    pub codes: BTreeMap<Code, u64>,
    /// The position of the earliest record that is delivered again.
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
                Fate::Quarantined(code) => {
                    books.quarantined += 1;
                    *settled.codes.entry(*code).or_default() += 1;
                }
            }
        }
        settled
    }

    /// The answer to Lambda: the earliest undelivered record alone, because the lowest number that
    /// is reported becomes the checkpoint.
    #[must_use]
    pub fn response(&self, records: &[KinesisRecord<'_>]) -> BatchResponse {
        let first = self.first_undelivered.and_then(|position| records.get(position));
        BatchResponse::failed(first.map(|record| record.sequence_number().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(settled.response(&[]), BatchResponse::default());
        assert!(settled.books.balance());
    }
}
