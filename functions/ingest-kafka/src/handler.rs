//! Batch orchestration: each partition is a sequence of its own, with its own place to go on.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use jiff::Timestamp;
use serde::de::Error as _;
use serde_json::json;
use tracing::warn;
use tributary_aws::batch::BatchOutcome;
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_model::bad_row::Code;
use tributary_model::counts::BatchCounts;

use crate::config::{Config, Topics};
use crate::payload::{KafkaFailure, KafkaPayload, KafkaPosition, KafkaResponse, Partition};
use crate::record::{Sorted, Sorter};

/// The function, over any sinks.
pub struct IngestKafka<R, Q> {
    /// Where raw records go.
    pub raw: Producer<R>,
    /// Where bad rows go.
    pub quarantine: Producer<Q>,
    /// The dataset of each topic.
    pub topics: Topics,
    /// Where the books go.
    pub metrics_log: MetricsLog,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl IngestKafka<Stream, DeliveryStream> {
    /// The function over AWS.
    #[must_use]
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Self {
        let raw = Stream::new(clients::kinesis(sdk), config.raw_stream, config.max_record_bytes);
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), config.quarantine_delivery_stream);
        Self {
            raw: Producer::new(raw).with_order(config.record_order),
            quarantine: Producer::new(quarantine),
            topics: config.topics,
            metrics_log: MetricsLog::new("ingest-kafka", config.metrics_namespace),
            clock: Timestamp::now,
        }
    }
}

/// The partitions of a batch, and where the positions of each are.
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

    /// The place of each partition that is not delivered as a whole: the first position that comes
    /// again, and the offset it is reported by. `undelivered` is ascending.
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
}

/// Where a partition goes on.
#[derive(Clone, Copy)]
struct ResumePoint {
    /// The first position that comes again.
    position: usize,
    offset: i64,
}

impl ResumePoint {
    /// The cut where the record at `first` is not delivered, of a partition that begins at `start`.
    /// A record without an offset comes again with the one before it.
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
}

impl<R: BatchPut<Entry = StreamRecord>, Q: BatchPut<Entry = Vec<u8>>> IngestKafka<R, Q> {
    /// Processes one batch of topics.
    ///
    /// A record that can never be a row goes to quarantine, and its partition moves on. Quarantine
    /// comes first, so that a bad row is safe before its partition can pass it; where it is not, its
    /// partition alone is held back. Of each partition the earliest record that either sink did not
    /// take is reported; Lambda delivers it and everything after it in that partition again.
    ///
    /// # Errors
    ///
    /// When the payload is no Kafka payload, a sink says that it can never work, or what could not
    /// be delivered has no offset: Lambda then delivers the whole batch again.
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
        let held = spans.resume_points(&quarantined.undelivered)?;
        for ((_, span), cut) in spans.0.iter().zip(held) {
            // It comes again with what could not be quarantined: no use in sending it twice.
            let Some(ResumePoint { position, .. }) = cut else { continue };
            records.retain(|it| !(position..span.end).contains(&it.position));
        }
        let sent = self.raw.send(&records, deadline).await?;

        let mut undelivered = quarantined.undelivered;
        undelivered.extend(&sent.undelivered);
        undelivered.sort_unstable();
        let (mut counts, mut codes) = (BatchCounts::default(), BTreeMap::<Code, u64>::new());
        let mut response = KafkaResponse::default();
        for ((partition, span), cut) in spans.0.iter().zip(spans.resume_points(&undelivered)?) {
            let first = cut.map(|cut| cut.position - span.start);
            let outcome = BatchOutcome::new(&dispositions[span.clone()], first);
            counts += outcome.counts;
            for (code, count) in outcome.codes {
                *codes.entry(code).or_default() += count;
            }
            if let Some(ResumePoint { offset, .. }) = cut {
                let partition = partition.name.clone().into_owned();
                let item_identifier = KafkaPosition { partition, offset };
                response.batch_item_failures.push(KafkaFailure { item_identifier });
            }
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
