//! The life of a batch of topics: each partition is a sequence with a resume point of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use jiff::Timestamp;
use serde::de::Error as _;
use serde_json::json;
use tracing::warn;
use tributary_aws::batch::{BatchOutcome, Disposition};
use tributary_aws::clients::SdkConfig;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::{self, BadRows};
use tributary_aws::takeover::{InUse, KnownDatasets, Stale};
use tributary_datasets::Datasets;
use tributary_model::bad_row::Code;
use tributary_model::config_error::ConfigError;
use tributary_model::counts::BatchCounts;

use crate::config::{Config, Topics};
use crate::payload::{KafkaPayload, KafkaPosition, KafkaResponse, Partition};
use crate::record::{Sorted, Sorter};

/// `ingest-kafka`, generic over its sinks.
pub struct IngestKafka<R, Q> {
    /// Producer of raw records.
    pub raw: Producer<R>,
    /// Producer of bad rows.
    pub quarantine: Producer<Q>,
    /// Datasets that the rows can be of.
    pub datasets: Datasets,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Dataset of each topic.
    pub topics: Topics,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
}

impl IngestKafka<Stream, DeliveryStream> {
    /// Connects the function to AWS.
    ///
    /// # Errors
    ///
    /// Names a topic whose dataset the configuration lacks.
    pub fn connect(config: &Config, in_use: &InUse, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        let datasets = in_use.configuration.datasets.clone();
        config.topics.check(&datasets)?;
        Ok(Self {
            raw: config.raw.producer(sdk),
            quarantine: quarantine::connect(config.quarantine_delivery_stream.clone(), sdk),
            datasets,
            known: in_use.known.clone(),
            topics: config.topics.clone(),
            metrics_log: in_use.metrics_log("ingest-kafka", &config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

/// Point of a partition from which Lambda redelivers.
struct ResumePoint {
    /// First position that is redelivered.
    position: usize,
    offset: i64,
}

impl ResumePoint {
    /// Returns the resume point of a partition with an undelivered record; `undelivered` is
    /// ascending. A record without an offset is redelivered with the one before it.
    fn of(
        partition: &Partition<'_>,
        undelivered: &[usize],
    ) -> Result<Option<Self>, InvocationError> {
        let Range { start, end } = partition.positions;
        let first = undelivered.partition_point(|it| *it < start);
        let Some(first) = undelivered.get(first).filter(|it| **it < end) else { return Ok(None) };
        let place = partition.places[first - start];
        let Some(offset) = place else {
            let message = format!(
                "a record of {} has no offset to report it by, and could not be delivered",
                partition.name
            );
            return Err(serde_json::Error::custom(message).into());
        };
        let before = partition.places.partition_point(|it| *it < place);
        Ok(Some(Self { position: start + before, offset }))
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
    /// Fails when the payload is no Kafka payload, a sink can never work, an undelivered record has
    /// no offset, or only a later configuration can have the dataset of a topic. Lambda then
    /// redelivers the whole batch.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<KafkaResponse, InvocationError> {
        let started = Instant::now();
        let payload = KafkaPayload::from_json(payload)?;
        let Sorted { mut dispositions, mut records, bad_rows } = self.sort(&payload)?;

        let quarantined = bad_rows.deliver(&self.quarantine, deadline).await?;
        for partition in &payload.partitions {
            // Lambda redelivers these with a bad row that quarantine did not accept.
            if let Some(resume) = ResumePoint::of(partition, &quarantined.undelivered)? {
                let held_back = resume.position..partition.positions.end;
                records.retain(|it| !held_back.contains(&it.position));
            }
        }
        let mut sent = self.raw.send(&records, deadline).await?;
        let rejected = sent.take_rejected();
        if !rejected.is_empty() {
            let refused = self.sort_refused(&payload, &rejected, &mut dispositions);
            sent.extend(refused.deliver(&self.quarantine, deadline).await?);
        }

        let mut undelivered = quarantined.undelivered;
        undelivered.extend(&sent.undelivered);
        undelivered.sort_unstable();
        let (mut counts, mut codes) = (BatchCounts::default(), BTreeMap::<Code, u64>::new());
        let mut failures = Vec::new();
        for partition in &payload.partitions {
            let resume = ResumePoint::of(partition, &undelivered)?;
            let first = resume.as_ref().map(|it| it.position - partition.positions.start);
            let outcome = BatchOutcome::new(&dispositions[partition.positions.clone()], first);
            outcome.add_to(&mut counts, &mut codes);
            failures.extend(resume.map(|ResumePoint { offset, .. }| KafkaPosition {
                partition: partition.name.clone().into_owned(),
                offset,
            }));
        }
        let partitions_cut = failures.len();
        if partitions_cut > 0 {
            let error = sent.last_error.as_deref().or(quarantined.last_error.as_deref());
            warn!(batch.undelivered = counts.undelivered, partitions_cut, error, "batch cut short");
        }
        let retried = quarantined.retried + sent.retried;
        let extra = json!({
            "partitions": payload.partitions.len(), "partitions_cut": partitions_cut, "retried": retried,
        });
        self.metrics_log.write_batch(&counts, &codes, started.elapsed(), extra, (self.clock)());
        Ok(KafkaResponse::failed(failures))
    }

    /// Classifies the records of a batch.
    ///
    /// # Errors
    ///
    /// Fails at a topic whose dataset only a later configuration can have.
    fn sort(&self, payload: &KafkaPayload<'_>) -> Result<Sorted, Stale> {
        let sorter = self.sorter(payload, BTreeMap::new());
        match sorter.unknown {
            Some(sent) => self.known.check("", sent).map(|()| sorter.sorted),
            None => Ok(sorter.sorted),
        }
    }

    /// Returns the bad rows of the records that the stream rejected for what they contain.
    fn sort_refused(
        &self,
        payload: &KafkaPayload<'_>,
        rejected: &BTreeMap<usize, String>,
        dispositions: &mut [Disposition],
    ) -> BadRows {
        let mut bad_rows = self.sorter(payload, rejected.clone()).sorted.bad_rows;
        bad_rows.0.retain(|row| rejected.contains_key(&row.position));
        for &position in rejected.keys() {
            dispositions[position] = Disposition::Quarantined(Code::Refused);
        }
        bad_rows
    }

    /// Classifies the records, of which the stream rejects those at the positions of `rejected`.
    fn sorter(&self, payload: &KafkaPayload<'_>, rejected: BTreeMap<usize, String>) -> Sorter<'_> {
        let max = self.raw.target().limits().entry_bytes;
        let mut sorter = Sorter::new(&self.topics, &self.datasets, (self.clock)(), max);
        sorter.rejected = rejected;
        for partition in &payload.partitions {
            for record in &partition.records {
                sorter.push(&partition.name, record);
            }
        }
        sorter
    }
}
