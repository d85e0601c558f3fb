//! The life of a batch of raw records: classified by the crates that decide, delivered to two
//! sinks.

use jiff::Timestamp;
use serde_json::json;
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::clients::SdkConfig;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine;
use tributary_config::{PIPELINE, PipelineConfig};
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::json::to_json;
use tributary_model::raw::RawRecord;
use tributary_pipeline::transform::{Outcome, Transformer, read_raw};

use crate::config::Config;

/// `transform`, generic over its sinks.
pub struct Transform<E, Q> {
    /// Producer of events.
    pub events: Producer<E>,
    /// Producer of bad rows.
    pub quarantine: Producer<Q>,
    /// Step from a raw record to an event.
    pub transformer: Transformer,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
}

impl Transform<Stream, DeliveryStream> {
    /// Connects the function to AWS.
    ///
    /// # Errors
    ///
    /// Fails when the compiled-in `pipeline.toml` is invalid.
    pub fn connect(config: Config, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            events: config.events.producer(sdk),
            quarantine: quarantine::connect(config.quarantine_delivery_stream, sdk),
            transformer: PipelineConfig::from_toml(PIPELINE)?.transformer()?,
            metrics_log: MetricsLog::new("transform", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<E: BatchPut<Entry = StreamRecord>, Q: BatchPut<Entry = Vec<u8>>> Transform<E, Q> {
    /// Processes one batch of raw records; a KPL aggregate is one record for each in it.
    ///
    /// A bad row is data and no failure: it goes to quarantine and the batch moves on. Quarantine
    /// comes first, because the checkpoint must not pass a bad row before quarantine has it. The
    /// answer reports the earliest record that either sink did not accept; Lambda redelivers from
    /// there on.
    ///
    /// # Errors
    ///
    /// Fails when the payload is no Kinesis payload, or a sink can never work. Lambda then
    /// redelivers the whole batch.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let mut batch = KinesisBatch::parse(payload)?;
        let events = self.classify(&mut batch);
        let barrier = batch.quarantine(&self.quarantine, deadline).await?;
        let sent = self.events.send(barrier.ready(&events), deadline).await?;

        let error = sent.last_error.as_deref();
        let outcome = barrier.outcome(&batch.dispositions, &sent.undelivered, error);
        let extra = json!({ "retried": barrier.quarantined.retried + sent.retried });
        Ok(batch.finish(&outcome, extra, &self.metrics_log, (self.clock)()))
    }

    /// Makes each raw record an event, a bad row or a filtered record, and returns the events.
    fn classify(&self, batch: &mut KinesisBatch<'_>) -> Vec<Outbound<StreamRecord>> {
        let mut events = Vec::new();
        batch.classify((self.clock)(), |record| {
            let context = record.context;
            let raw = match read_raw(record.data) {
                Ok(raw) => raw,
                Err(rejection) => return record.reject(&rejection, &context.origin()),
            };
            match self.event_of(&raw) {
                Ok(Some(entry)) => {
                    events.push(Outbound { position: context.position, entry });
                    Disposition::Delivered
                }
                Ok(None) => Disposition::Filtered,
                Err(rejection) => {
                    let origin = Origin {
                        dataset: Some(&raw.dataset),
                        source: raw.source.as_ref().into(),
                        record_id: raw.record_id.as_ref().into(),
                        ..context.origin()
                    };
                    record.reject(&rejection, &origin)
                }
            }
        });
        events
    }

    /// Returns the record for the events stream; `None` where a filter drops the event.
    fn event_of(&self, raw: &RawRecord<'_>) -> Result<Option<StreamRecord>, Rejection> {
        let Outcome::Event(event) = self.transformer.record(raw)? else { return Ok(None) };
        let entry = StreamRecord::new(&event.entity, to_json(&event).into_bytes());
        let max = self.events.target().limits().entry_bytes;
        if entry.size() > max {
            let message = format!("the event has {} bytes of {max}", entry.size());
            return Err(Rejection::row(Code::EventTooLarge, message));
        }
        Ok(Some(entry))
    }
}
