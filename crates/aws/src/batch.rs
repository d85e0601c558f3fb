//! The life of a batch: parsed, classified, quarantined, delivered, counted, answered.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::counts::BatchCounts;

use crate::deadline::Deadline;
use crate::delivery::QuarantineBarrier;
use crate::error::SetupError;
use crate::log::MetricsLog;
use crate::payload::{BatchResponse, KinesisPayload, KinesisRecord};
use crate::producer::{Delivery, Producer};
use crate::put::BatchPut;
use crate::quarantine::BadRows;
use crate::unpack::UserRecord;

/// A batch of a Kinesis stream on its way through a function.
///
/// The steps are [`parse`](Self::parse), [`classify`](Self::classify) or
/// [`read_events`](Self::read_events), [`quarantine`](Self::quarantine), the function's own
/// delivery, [`QuarantineBarrier::outcome`] and [`finish`](Self::finish).
pub struct KinesisBatch<'a> {
    /// Records in the order of the shard.
    pub records: Vec<KinesisRecord<'a>>,
    /// Disposition of each user record; empty until the batch is classified.
    pub dispositions: Dispositions,
    /// Bad rows among the user records.
    pub bad_rows: BadRows,
    /// Set by an operator: see [`KinesisPayload::revises_windows`].
    pub revises_windows: bool,
    started: Instant,
}

impl<'a> KinesisBatch<'a> {
    /// Parses the payload of one invocation, and starts its clock.
    ///
    /// # Errors
    ///
    /// Fails when it is no Kinesis payload, or a record lacks its sequence number.
    pub fn parse(payload: &'a str) -> Result<Self, serde_json::Error> {
        let started = Instant::now();
        let KinesisPayload { records, revises_windows } = KinesisPayload::from_json(payload)?;
        let (dispositions, bad_rows) = Default::default();
        Ok(Self { records, dispositions, bad_rows, revises_windows, started })
    }

    /// Shard of the batch; empty where the payload does not name it.
    #[must_use]
    pub fn shard_id(&self) -> &str {
        self.records.first().map_or("", KinesisRecord::shard_id)
    }

    /// Returns the record that the user record at `position` came in.
    #[must_use]
    pub fn record_of(&self, position: usize) -> Option<&KinesisRecord<'a>> {
        self.records.get(self.dispositions.record_of(position))
    }

    /// Delivers the bad rows, before anything else of the batch.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when quarantine can never work.
    pub async fn quarantine<Q: BatchPut<Entry = Vec<u8>>>(
        &self,
        quarantine: &Producer<Q>,
        deadline: Deadline,
    ) -> Result<QuarantineBarrier, SetupError> {
        let quarantined = self.bad_rows.deliver(quarantine, deadline).await?;
        let first = quarantined.first_undelivered();
        let end = first.map(|first| self.dispositions.redelivered_from(first));
        Ok(QuarantineBarrier { end: end.unwrap_or(self.dispositions.all.len()), quarantined })
    }

    /// Delivers the records that a sink rejected for what they contain as bad rows of code
    /// `refused`, and removes them from those that `sent` left undelivered. `reject` makes a record
    /// a bad row. One that quarantine does not accept stays undelivered.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when quarantine can never work.
    pub async fn quarantine_rejected<Q: BatchPut<Entry = Vec<u8>>>(
        &mut self,
        sent: &mut Delivery,
        quarantine: &Producer<Q>,
        deadline: Deadline,
        now: Timestamp,
        mut reject: impl FnMut(&mut UserRecord<'_>, &Rejection) -> Disposition,
    ) -> Result<(), SetupError> {
        let rejected = sent.take_rejected();
        if rejected.is_empty() {
            return Ok(());
        }
        let before = std::mem::take(&mut self.dispositions.all);
        self.classify(now, |record| {
            let position = record.context.position;
            match rejected.get(&position) {
                Some(reason) => reject(record, &Rejection::row(Code::Refused, reason)),
                None => before[position],
            }
        });
        let mut bad_rows = std::mem::take(&mut self.bad_rows);
        bad_rows.0.retain(|row| rejected.contains_key(&row.position));
        sent.extend(bad_rows.deliver(quarantine, deadline).await?);
        Ok(())
    }

    /// Writes the line of the batch to the metrics log, and returns the answer to Lambda.
    ///
    /// `extra` are the function's own fields of that line.
    #[must_use]
    pub fn finish(
        &self,
        outcome: &BatchOutcome,
        extra: Value,
        metrics_log: &MetricsLog,
        now: Timestamp,
    ) -> BatchResponse {
        let took = self.started.elapsed();
        metrics_log.write_batch(&outcome.counts, &outcome.codes, took, extra, now);
        self.dispositions.response(outcome, &self.records)
    }
}

/// Result of classifying a user record, provided that what it becomes is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Its result goes to the sink.
    Delivered,
    /// It is a bad row.
    Quarantined(Code),
    /// A declared filter dropped it, it only marks a key as deleted, or it is not for this
    /// function.
    Filtered,
    /// It is too late for a window, and a bad row for that.
    Late,
}

/// Disposition of each user record of a batch, and the record of the stream it came in.
///
/// A position counts user records; the checkpoint counts records. Where one user record of an
/// aggregate is not delivered, Lambda redelivers the whole aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dispositions {
    /// Disposition of each user record.
    pub all: Vec<Disposition>,
    /// For each record, the position of its first user record.
    starts: Vec<usize>,
}

impl Dispositions {
    /// Assigns the user records that follow to the next record.
    pub fn begin_record(&mut self) {
        self.starts.push(self.all.len());
    }

    /// Returns the index of the record that the user record at `position` came in.
    #[must_use]
    pub fn record_of(&self, position: usize) -> usize {
        // The last that starts there: an empty aggregate starts where the next record does.
        self.starts.partition_point(|&start| start <= position).saturating_sub(1)
    }

    /// Returns the first position that Lambda redelivers when `position` is not delivered.
    #[must_use]
    pub fn redelivered_from(&self, position: usize) -> usize {
        self.starts.get(self.record_of(position)).copied().unwrap_or(position)
    }

    /// Computes the outcome, as [`BatchOutcome::new`], up to the start of the earliest record with
    /// an `undelivered` user record.
    #[must_use]
    pub fn outcome(&self, undelivered: impl IntoIterator<Item = usize>) -> BatchOutcome {
        BatchOutcome::new(&self.all, undelivered.into_iter().map(|it| self.redelivered_from(it)))
    }

    /// Returns the answer to Lambda, which reports the earliest undelivered record alone: the
    /// lowest reported number becomes the checkpoint. `records` are those of the batch.
    #[must_use]
    pub fn response(&self, outcome: &BatchOutcome, records: &[KinesisRecord<'_>]) -> BatchResponse {
        let first = outcome.first_undelivered.and_then(|it| records.get(self.record_of(it)));
        BatchResponse::failed(first.map(|record| record.sequence_number().to_owned()))
    }
}

/// Outcome of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Batch counts. Each is counted and none is a difference, so that they can fail to reconcile.
    pub counts: BatchCounts,
    /// Bad rows by code.
    pub codes: BTreeMap<Code, u64>,
    /// Position of the earliest user record that Lambda redelivers.
    pub first_undelivered: Option<usize>,
}

impl BatchOutcome {
    /// Counts the `dispositions` before the earliest of `undelivered`.
    ///
    /// Lambda moves the checkpoint to that record and redelivers everything from there on,
    /// successes too, so none of these counts as done.
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

    /// Adds the counts and codes to those of other batches.
    pub fn add_to(&self, counts: &mut BatchCounts, codes: &mut BTreeMap<Code, u64>) {
        *counts += self.counts;
        for (code, count) in &self.codes {
            *codes.entry(*code).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::KinesisPayload;

    #[test]
    fn records_after_first_undelivered_count_as_undelivered() {
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
    fn delivered_batch_reports_no_failure() {
        let outcome = BatchOutcome::new(&[Disposition::Delivered, Disposition::Filtered], []);

        assert_eq!(outcome.first_undelivered, None);
        assert!(outcome.counts.is_balanced());
    }

    /// Records of 1, 0, 3 and 1 user records.
    fn aggregates() -> Dispositions {
        let mut dispositions = Dispositions::default();
        for user_records in [1, 0, 3, 1] {
            dispositions.begin_record();
            (0..user_records).for_each(|_| dispositions.all.push(Disposition::Delivered));
        }
        dispositions
    }

    #[test]
    fn position_maps_to_its_record() {
        let dispositions = aggregates();

        let records: Vec<_> =
            (0..dispositions.all.len()).map(|position| dispositions.record_of(position)).collect();
        assert_eq!(records, [0, 2, 2, 2, 3]);
        let from: Vec<_> =
            (0..dispositions.all.len()).map(|it| dispositions.redelivered_from(it)).collect();
        assert_eq!(from, [0, 1, 1, 1, 4]);
    }

    #[test]
    fn undelivered_user_record_redelivers_its_aggregate() {
        let outcome = aggregates().outcome([4, 3]);

        assert_eq!(outcome.first_undelivered, Some(1));
        let counts =
            BatchCounts { received: 5, delivered: 1, undelivered: 4, ..BatchCounts::default() };
        assert_eq!(outcome.counts, counts);
        assert!(counts.is_balanced());
    }

    #[test]
    fn response_names_record_not_user_record() {
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
