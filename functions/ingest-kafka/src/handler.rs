//! The life of a batch of topics: each partition is a sequence with a resume point of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use jiff::Timestamp;
use serde::de::Error as _;
use serde_json::json;
use tracing::warn;
use tributary_aws::batch::BatchOutcome;
use tributary_aws::clients::SdkConfig;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine;
use tributary_model::bad_row::Code;
use tributary_model::counts::BatchCounts;

use crate::config::{Config, Topics};
use crate::payload::{KafkaFailure, KafkaPayload, KafkaPosition, KafkaResponse, Partition};
use crate::record::{Sorted, Sorter};

/// `ingest-kafka`, generic over its sinks.
pub struct IngestKafka<R, Q> {
    /// Producer of raw records.
    pub raw: Producer<R>,
    /// Producer of bad rows.
    pub quarantine: Producer<Q>,
    /// Dataset of each topic.
    pub topics: Topics,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
}

impl IngestKafka<Stream, DeliveryStream> {
    /// Connects the function to AWS.
    #[must_use]
    pub fn connect(config: Config, sdk: &SdkConfig) -> Self {
        Self {
            raw: config.raw.producer(sdk),
            quarantine: quarantine::connect(config.quarantine_delivery_stream, sdk),
            topics: config.topics,
            metrics_log: MetricsLog::new("ingest-kafka", config.metrics_namespace),
            clock: Timestamp::now,
        }
    }
}

/// Partitions of a batch, with the range of positions of each.
struct Spans<'p, 'a>(Vec<(&'p Partition<'a>, Range<usize>)>);

impl<'p, 'a> Spans<'p, 'a> {
    fn of(payload: &'p KafkaPayload<'a>) -> Self {
        let mut end = 0;
        let span = |partition: &'p Partition<'a>| {
            let start = end;
            end += partition.records.len();
            (partition, start..end)
        };
        Self(payload.partitions.iter().map(span).collect())
    }

    /// Returns the resume point of each partition with an undelivered record; `undelivered` is
    /// ascending.
    fn resume_points(
        &self,
        undelivered: &[usize],
    ) -> Result<Vec<Option<ResumePoint>>, InvocationError> {
        let mut rest = undelivered;
        let cut = |(partition, span): &(&Partition<'_>, Range<usize>)| {
            let (here, later) = rest.split_at(rest.partition_point(|it| *it < span.end));
            rest = later;
            here.first().map(|first| ResumePoint::of(partition, span.start, *first)).transpose()
        };
        self.0.iter().map(cut).collect()
    }

    /// Removes the records that Lambda redelivers with a bad row that quarantine did not accept.
    fn hold_back(
        &self,
        records: &mut Vec<Outbound<StreamRecord>>,
        unquarantined: &[usize],
    ) -> Result<(), InvocationError> {
        for ((_, span), resume) in self.0.iter().zip(self.resume_points(unquarantined)?) {
            let Some(ResumePoint { position, .. }) = resume else { continue };
            records.retain(|it| !(position..span.end).contains(&it.position));
        }
        Ok(())
    }
}

/// Point of a partition from which Lambda redelivers.
#[derive(Clone, Copy)]
struct ResumePoint {
    /// First position that is redelivered.
    position: usize,
    offset: i64,
}

impl ResumePoint {
    /// Returns the resume point for the undelivered record at position `first`, of a partition
    /// whose positions begin at `start`. A record without an offset is redelivered with the one
    /// before it.
    fn of(partition: &Partition<'_>, start: usize, first: usize) -> Result<Self, InvocationError> {
        let place = partition.places.get(first - start).copied().flatten();
        let Some(offset) = place else {
            let message = format!(
                "a record of {} has no offset to report it by, and could not be delivered",
                partition.name
            );
            return Err(serde_json::Error::custom(message).into());
        };
        let before = partition.places.partition_point(|it| *it < place);
        Ok(Self { position: start + before, offset })
    }

    fn failure(self, partition: &Partition<'_>) -> KafkaFailure {
        let partition = partition.name.clone().into_owned();
        KafkaFailure { item_identifier: KafkaPosition { partition, offset: self.offset } }
    }
}

impl<R: BatchPut<Entry = StreamRecord>, Q: BatchPut<Entry = Vec<u8>>> IngestKafka<R, Q> {
    /// Processes one batch of topics.
    ///
    /// A record that can never be a row goes to quarantine, and its partition moves on. Quarantine
    /// comes first, because a partition must not pass a bad row before quarantine has it; a bad row
    /// that quarantine does not accept holds back its own partition only. The answer reports, for
    /// each partition, the earliest record that either sink did not accept; Lambda redelivers that
    /// partition from there on.
    ///
    /// # Errors
    ///
    /// Fails when the payload is no Kafka payload, a sink can never work, or an undelivered record
    /// has no offset. Lambda then redelivers the whole batch.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<KafkaResponse, InvocationError> {
        let started = Instant::now();
        let payload = KafkaPayload::from_json(payload)?;
        let spans = Spans::of(&payload);
        let Sorted { dispositions, mut records, bad_rows } = self.sort(&payload);

        let quarantined = bad_rows.deliver(&self.quarantine, deadline).await?;
        spans.hold_back(&mut records, &quarantined.undelivered)?;
        let sent = self.raw.send(&records, deadline).await?;

        let mut undelivered = quarantined.undelivered;
        undelivered.extend(&sent.undelivered);
        undelivered.sort_unstable();
        let (mut counts, mut codes) = (BatchCounts::default(), BTreeMap::<Code, u64>::new());
        let mut response = KafkaResponse::default();
        for ((partition, span), resume) in spans.0.iter().zip(spans.resume_points(&undelivered)?) {
            let first = resume.map(|it| it.position - span.start);
            let outcome = BatchOutcome::new(&dispositions[span.clone()], first);
            outcome.add_to(&mut counts, &mut codes);
            response.batch_item_failures.extend(resume.map(|it| it.failure(partition)));
        }
        let partitions_cut = response.batch_item_failures.len();
        if partitions_cut > 0 {
            let error = sent.last_error.as_deref().or(quarantined.last_error.as_deref());
            warn!(batch.undelivered = counts.undelivered, partitions_cut, error, "batch cut short");
        }
        let retried = quarantined.retried + sent.retried;
        let extra = json!({
            "partitions": spans.0.len(), "partitions_cut": partitions_cut, "retried": retried,
        });
        self.metrics_log.write_batch(&counts, &codes, started.elapsed(), extra, (self.clock)());
        Ok(response)
    }

    fn sort(&self, payload: &KafkaPayload<'_>) -> Sorted {
        let max = self.raw.target().limits().entry_bytes;
        let mut records = Sorter::new(&self.topics, (self.clock)(), max);
        let mut sorted = Sorted::default();
        for partition in &payload.partitions {
            for record in &partition.records {
                records.push(&partition.name, record, &mut sorted);
            }
        }
        sorted
    }
}
