//! The life of a batch of events: aggregated to metrics, which one call puts.

use jiff::Timestamp;
use serde_json::json;
use tracing::error;
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::cloudwatch::{self, Namespace};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine;
use tributary_aws::takeover::{InUse, KnownDatasets, Stale};
use tributary_model::config_error::ConfigError;
use tributary_pipeline::metric::{Aggregator, Datum, MetricSpec};

use crate::config::Config;

/// `metrics`, generic over its sinks.
pub struct Metrics<M, Q> {
    /// Producer of metrics.
    pub metrics: Producer<M>,
    /// Producer of bad rows: records that are no events.
    pub quarantine: Producer<Q>,
    /// Specs of the metrics.
    pub specs: Vec<MetricSpec>,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
}

impl Metrics<Namespace, DeliveryStream> {
    /// Connects the function to AWS.
    ///
    /// # Errors
    ///
    /// Fails when the function cannot be built of the configuration.
    pub fn connect(config: &Config, in_use: &InUse, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        let metrics = Namespace::new(clients::cloudwatch(sdk), config.metrics_namespace.clone());
        Ok(Self {
            metrics: Producer::new(metrics),
            quarantine: quarantine::connect(config.quarantine_delivery_stream.clone(), sdk),
            specs: in_use.configuration.metrics()?,
            known: in_use.known.clone(),
            metrics_log: in_use.metrics_log("metrics", &config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<M: BatchPut<Entry = Datum>, Q: BatchPut<Entry = Vec<u8>>> Metrics<M, Q> {
    /// Processes one batch of events.
    ///
    /// The metrics of a batch fit one PutMetricData as a rule, so that they are accepted as a whole
    /// or not at all. Where they are not, the answer reports the first record and Lambda redelivers
    /// the batch. A call that was accepted and not answered counts twice: metrics are at least
    /// once. A datum that CloudWatch refuses costs itself: it is counted as refused, and the event
    /// is done.
    ///
    /// # Errors
    ///
    /// Fails when the payload is no Kinesis payload, a sink can never work, or an event is of a
    /// dataset that only a later configuration can have. Lambda then redelivers the whole batch.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let mut batch = KinesisBatch::parse(payload)?;
        let mut series = self.aggregate(&mut batch, usize::MAX)?;
        let barrier = batch.quarantine(&self.quarantine, deadline).await?;
        if barrier.end < batch.dispositions.all.len() {
            // Lambda redelivers the rest, which is counted then.
            series = self.aggregate(&mut batch, barrier.end)?;
        }
        let data = series.data.into_iter().enumerate();
        let outbound: Vec<_> = data.map(|(position, entry)| Outbound { position, entry }).collect();
        let mut put = self.metrics.send(&outbound, deadline).await?;
        let mut refused = series.beyond;
        for (position, reason) in put.take_rejected() {
            let datum = &outbound[position].entry;
            error!(metric = datum.name, reason, "a datum is not counted");
            refused += datum.counts.iter().sum::<f64>();
        }

        // A datum stands for records all over the batch: one that is not put reports the first.
        let undelivered = if put.undelivered.is_empty() { &[][..] } else { &[0] };
        let outcome = barrier.outcome(&batch.dispositions, undelivered, put.last_error.as_deref());
        let now = (self.clock)();
        let refused = if outcome.first_undelivered == Some(0) { 0 } else { whole(refused) };
        if refused > 0 {
            self.metrics_log.write_total("refused values", "metric_values_refused", refused, now);
        }
        let retried = barrier.quarantined.retried + put.retried;
        let extra = json!({ "series": outbound.len(), "refused": refused, "retried": retried });
        Ok(batch.finish(&outcome, extra, &self.metrics_log, now))
    }

    /// Classifies the batch, and returns the metrics of the events before position `end`.
    fn aggregate(&self, batch: &mut KinesisBatch<'_>, end: usize) -> Result<Series, Stale> {
        let now = (self.clock)();
        let mut aggregator = Aggregator::new(&self.specs);
        batch.read_events(now, &self.known, |context, event| {
            if context.position < end {
                aggregator.add(event, context.record.arrival_time());
            }
            Ok(Disposition::Delivered)
        })?;
        let data = aggregator.finish();
        let beyond = data.iter().map(cloudwatch::count_beyond).sum();
        Ok(Series { data: cloudwatch::fit(data, now), beyond })
    }
}

/// Metrics of a batch.
struct Series {
    /// Data as CloudWatch accepts them.
    data: Vec<Datum>,
    /// Number of values that CloudWatch does not accept.
    beyond: f64,
}

/// Returns a sum of counts as an integer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of the events of one batch"
)]
fn whole(count: f64) -> u64 {
    count as u64
}
