//! The life of a batch of events: aggregated to metrics, which one call puts.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tracing::{error, warn};
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::cardinality::{
    Cardinality, CardinalityStore, CardinalityTable, DailySet, METRIC,
};
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
use tributary_aws::retry::run_concurrently;
use tributary_aws::takeover::{InUse, KnownDatasets, Stale};
use tributary_model::config_error::ConfigError;
use tributary_pipeline::metric::{Aggregated, Aggregator, Datum, MetricDay, MetricSpec};

use crate::config::Config;

/// Maximum time for the calls to the store of known series: metrics must not wait for it.
const MAX_WAIT: Duration = Duration::from_secs(2);

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// `metrics`, generic over its sinks and store.
pub struct Metrics<M, Q, S> {
    /// Producer of metrics.
    pub metrics: Producer<M>,
    /// Producer of bad rows: records that are no events.
    pub quarantine: Producer<Q>,
    /// Store of the known series.
    pub store: S,
    /// Limits on the series of each metric and day.
    pub cardinality: Cardinality,
    /// Specs of the metrics.
    pub specs: Vec<MetricSpec>,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
}

impl Metrics<Namespace, DeliveryStream, CardinalityTable> {
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
            store: CardinalityTable::new(clients::dynamodb(sdk), config.state_table.clone()),
            cardinality: Cardinality::default(),
            specs: in_use.configuration.metrics()?,
            known: in_use.known.clone(),
            metrics_log: in_use.metrics_log("metrics", &config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<M, Q, S> Metrics<M, Q, S>
where
    M: BatchPut<Entry = Datum>,
    Q: BatchPut<Entry = Vec<u8>>,
    S: CardinalityStore,
{
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
        let mut aggregator = self.aggregate(&mut batch, usize::MAX)?;
        let barrier = batch.quarantine(&self.quarantine, deadline).await?;
        if barrier.end < batch.dispositions.all.len() {
            // Lambda redelivers the rest, which is counted then.
            aggregator = self.aggregate(&mut batch, barrier.end)?;
        }
        let admitted = self.admit(aggregator.series(), deadline).await;
        let Aggregated { data, others } = aggregator.finish(&admitted.series);
        let now = (self.clock)();
        let mut refused: f64 = data.iter().map(cloudwatch::count_beyond).sum();
        let data = cloudwatch::fit(data, now).into_iter().enumerate();
        let outbound: Vec<_> = data.map(|(position, entry)| Outbound { position, entry }).collect();
        let mut put = self.metrics.send(&outbound, deadline).await?;
        for (position, reason) in put.take_rejected() {
            let datum = &outbound[position].entry;
            error!(metric = datum.name, reason, "a datum is not counted");
            refused += datum.counts.iter().sum::<f64>();
        }

        // A datum stands for records all over the batch: one that is not put reports the first.
        let undelivered = if put.undelivered.is_empty() { &[][..] } else { &[0] };
        let outcome = barrier.outcome(&batch.dispositions, undelivered, put.last_error.as_deref());
        let is_redelivered = outcome.first_undelivered == Some(0);
        let counted = |count| if is_redelivered { 0 } else { whole(count) };
        let (refused, others) = (counted(refused), counted(others));
        let now = (self.clock)();
        self.write_totals(refused, others, now);
        let extra = json!({
            "series": outbound.len(),
            "other": others,
            "limit_errors": admitted.limit_errors,
            "refused": refused,
            "retried": barrier.quarantined.retried + put.retried,
        });
        Ok(batch.finish(&outcome, extra, &self.metrics_log, now))
    }

    /// Writes the metrics that have an alarm.
    fn write_totals(&self, refused: u64, others: u64, now: Timestamp) {
        if refused > 0 {
            self.metrics_log.write_total("refused values", "metric_values_refused", refused, now);
        }
        if others > 0 {
            self.metrics_log.write_total("cardinality", METRIC, others, now);
        }
    }

    /// Classifies the batch, and aggregates the events before position `end`.
    fn aggregate(&self, batch: &mut KinesisBatch<'_>, end: usize) -> Result<Aggregator<'_>, Stale> {
        let mut aggregator = Aggregator::new(&self.specs);
        batch.read_events((self.clock)(), &self.known, |context, event| {
            if context.position < end {
                aggregator.add(event, context.record.arrival_time());
            }
            Ok(Disposition::Delivered)
        })?;
        Ok(aggregator)
    }

    /// Returns the series that count under their own dimensions. Where the store does not answer,
    /// these are the first `max_series` of the batch.
    async fn admit(&self, series: BTreeMap<MetricDay, Vec<u64>>, deadline: Deadline) -> Admitted {
        let now = (self.clock)();
        let deadline = Deadline::after(MAX_WAIT).earlier(deadline.half_way());
        let series: Vec<_> = series.into_iter().collect();
        let answers = run_concurrently(&series, |(day, members)| async {
            let set = self.daily_set(*day);
            self.cardinality.admit(&self.store, &set, members, now, deadline).await
        });
        let mut admitted = Admitted::default();
        let mut last_error = None;
        for ((day, members), answer) in series.iter().zip(answers.await) {
            let known = answer.unwrap_or_else(|error| {
                last_error = Some(error);
                admitted.limit_errors += 1;
                members.iter().copied().take(self.specs[day.metric].max_series).collect()
            });
            admitted.series.insert(*day, known);
        }
        if let Some(error) = last_error {
            let limit_errors = admitted.limit_errors;
            warn!(%error, batch.limit_errors = limit_errors, "max_series holds for this batch alone");
        }
        admitted
    }

    /// Returns the set of known series of a metric and day.
    fn daily_set(&self, MetricDay { metric, day }: MetricDay) -> DailySet {
        let spec = &self.specs[metric];
        let time = Timestamp::from_second(day * SECONDS_PER_DAY).unwrap_or(Timestamp::MIN);
        let id = format!("{}#{}", spec.name, spec.definition());
        DailySet::of("series", time, &id, spec.max_series)
    }
}

/// Series of a batch that count under their own dimensions.
#[derive(Default)]
struct Admitted {
    series: BTreeMap<MetricDay, HashSet<u64>>,
    /// Number of metrics and days for which the store did not answer.
    limit_errors: usize,
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
