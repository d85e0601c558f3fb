//! Batch orchestration: the core adds up, one call puts.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use tracing::warn;
use tributary_aws::batch::{Disposition, Dispositions};
use tributary_aws::clients;
use tributary_aws::cloudwatch::{self, Namespace};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::events;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::{BatchResponse, KinesisPayload, KinesisRecord};
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::BadRows;
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::config_error::ConfigError;
use tributary_pipeline::metric::{Aggregator, Datum, MetricSpec};

use crate::config::Config;

/// The function, over any sinks.
pub struct Metrics<M, Q> {
    /// Where metrics go.
    pub metrics: Producer<M>,
    /// Where records that are no events go.
    pub quarantine: Producer<Q>,
    /// What events add up to.
    pub specs: Vec<MetricSpec>,
    /// Where the books go.
    pub metrics_log: MetricsLog,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl Metrics<Namespace, DeliveryStream> {
    /// The function over AWS.
    ///
    /// # Errors
    ///
    /// When the compiled-in `pipeline.toml` is wrong.
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Result<Self, ConfigError> {
        let pipeline = PipelineConfig::from_toml(PIPELINE)?;
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), config.quarantine_delivery_stream);
        let metrics = Namespace::new(clients::cloudwatch(sdk), config.metrics_namespace.clone());
        Ok(Self {
            metrics: Producer::new(metrics),
            quarantine: Producer::new(quarantine),
            specs: pipeline.checked_metrics()?,
            metrics_log: MetricsLog::new("metrics", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<M: BatchPut<Entry = Datum>, Q: BatchPut<Entry = Vec<u8>>> Metrics<M, Q> {
    /// Processes one batch of events.
    ///
    /// The metrics of a batch are one PutMetricData where it fits, so that they are taken as a
    /// whole or not at all: where they are not, the first record is reported and the batch is
    /// delivered again. A batch that was taken without an answer counts twice; metrics are at least
    /// once.
    ///
    /// # Errors
    ///
    /// When the payload is no Kinesis payload, or a sink says that it can never work: Lambda then
    /// delivers the whole batch again.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let payload = KinesisPayload::from_json(payload)?;
        let records = &payload.records;
        let (dispositions, bad_rows, mut data) = self.add_up(records);

        let quarantined = bad_rows.deliver(&self.quarantine, deadline).await?;
        let mut undelivered = quarantined.undelivered;
        if let Some(&first) = undelivered.first() {
            // What comes after the failure is delivered, and counted, again.
            (_, _, data) = self.add_up(&records[..dispositions.record_of(first)]);
        }
        // A datum stands for records all over the batch: one that is not put reports the first.
        let outbound: Vec<_> =
            data.into_iter().map(|entry| Outbound { position: 0, entry }).collect();
        let put = self.metrics.send(&outbound, deadline).await?;
        undelivered.extend(put.undelivered);

        let outcome = dispositions.outcome(undelivered);
        if outcome.first_undelivered.is_some() {
            let error = put.last_error.or(quarantined.last_error);
            warn!(batch.undelivered = outcome.counts.undelivered, error, "batch cut short");
        }
        let extra =
            json!({ "series": outbound.len(), "retried": quarantined.retried + put.retried });
        let now = (self.clock)();
        self.metrics_log.write_batch(
            &outcome.counts,
            &outcome.codes,
            started.elapsed(),
            extra,
            now,
        );
        Ok(dispositions.response(&outcome, records))
    }

    fn add_up(&self, records: &[KinesisRecord<'_>]) -> (Dispositions, BadRows, Vec<Datum>) {
        let now = (self.clock)();
        let mut aggregator = Aggregator::new(&self.specs);
        let (dispositions, bad_rows) = events::read(records, now, |place, event| {
            aggregator.add(event, place.record.arrival_time());
            Ok(Disposition::Delivered)
        });
        (dispositions, bad_rows, cloudwatch::fit(aggregator.finish(), now))
    }
}
