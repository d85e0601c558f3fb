//! Batch orchestration: the core decides, two sinks at the edge deliver.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use tributary_aws::batch::{Disposition, Dispositions};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::delivery::deliver;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::{BatchResponse, KinesisPayload, KinesisRecord};
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::BadRows;
use tributary_aws::unpack::{RecordContext, UndecodableRecord, unpack};
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::json::to_json;
use tributary_pipeline::transform::{Outcome, Transformer, read_raw};

use crate::config::Config;

/// The function, over any sinks.
pub struct Transform<E, Q> {
    /// Where events go.
    pub events: Producer<E>,
    /// Where bad rows go.
    pub quarantine: Producer<Q>,
    /// The step itself.
    pub transformer: Transformer,
    /// Where the books go.
    pub metrics_log: MetricsLog,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl Transform<Stream, DeliveryStream> {
    /// The function over AWS.
    ///
    /// # Errors
    ///
    /// When the compiled-in `pipeline.toml` is wrong.
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Result<Self, ConfigError> {
        let events =
            Stream::new(clients::kinesis(sdk), config.events_stream, config.max_record_bytes);
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), config.quarantine_delivery_stream);
        Ok(Self {
            events: Producer::new(events).with_order(config.record_order),
            quarantine: Producer::new(quarantine),
            transformer: PipelineConfig::from_toml(PIPELINE)?.transformer()?,
            metrics_log: MetricsLog::new("transform", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

/// What a batch became, before anything is delivered.
#[derive(Default)]
struct Sorted {
    events: Vec<Outbound<StreamRecord>>,
    bad_rows: BadRows,
}

impl<E: BatchPut<Entry = StreamRecord>, Q: BatchPut<Entry = Vec<u8>>> Transform<E, Q> {
    /// Processes one batch of raw records, those in KPL aggregates one by one.
    ///
    /// A bad row is data, not a failure: it goes to quarantine and the batch moves on. Quarantine
    /// comes first, so that a bad row is safe before the checkpoint can pass it. The only failure
    /// reported is the earliest record that either sink did not take; Lambda delivers it and
    /// everything after it again.
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
        let (dispositions, sorted) = self.sort(&payload.records);

        let delivered = deliver(
            &dispositions,
            &sorted.bad_rows,
            &self.quarantine,
            &sorted.events,
            &self.events,
            deadline,
        )
        .await?;
        let outcome = delivered.outcome;
        let extra = json!({ "retried": delivered.retried });
        let now = (self.clock)();
        self.metrics_log.write_batch(
            &outcome.counts,
            &outcome.codes,
            started.elapsed(),
            extra,
            now,
        );
        Ok(dispositions.response(&outcome, &payload.records))
    }

    fn sort(&self, records: &[KinesisRecord<'_>]) -> (Dispositions, Sorted) {
        let now = (self.clock)();
        let mut sorted = Sorted::default();
        let dispositions =
            unpack(records, |context, data| self.sort_record(context, data, now, &mut sorted));
        (dispositions, sorted)
    }

    fn sort_record(
        &self,
        context: &RecordContext<'_>,
        data: Result<&[u8], UndecodableRecord<'_>>,
        now: Timestamp,
        sorted: &mut Sorted,
    ) -> Disposition {
        let position = context.position;
        let mut reject = |rejection: Rejection, origin: &Origin<'_>, bytes: &[u8]| {
            sorted.bad_rows.push(position, &rejection, origin, Some(bytes), now);
            Disposition::Quarantined(rejection.code)
        };

        let data = match data {
            Ok(data) => data,
            Err(broken) => return reject(broken.rejection, &context.origin(), broken.bytes),
        };
        let raw = match read_raw(data) {
            Ok(raw) => raw,
            Err(rejection) => return reject(rejection, &context.origin(), data),
        };
        let origin = Origin {
            dataset: Some(&raw.dataset),
            source: raw.source.as_ref().into(),
            record_id: raw.record_id.as_ref().into(),
            shard_id: Some(context.record.shard_id()),
            sequence_number: Some(context.record.sequence_number()),
            arrived_at: Some(context.record.arrival_time()),
        };
        let event = match self.transformer.record(&raw) {
            Ok(Outcome::Event(event)) => event,
            Ok(Outcome::Filtered) => return Disposition::Filtered,
            Err(rejection) => return reject(rejection, &origin, data),
        };

        let entry = StreamRecord::new(&event.entity, to_json(&event).into_bytes());
        let max = self.events.target().limits().entry_bytes;
        if entry.size() > max {
            let message = format!("the event has {} bytes of {max}", entry.size());
            return reject(Rejection::row(Code::EventTooLarge, message), &origin, data);
        }
        sorted.events.push(Outbound { position, entry });
        Disposition::Delivered
    }
}
