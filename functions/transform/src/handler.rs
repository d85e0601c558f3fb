//! The life of a batch of raw records: classified by the crates that decide, delivered to two
//! sinks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::clients::SdkConfig;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::{Fault, MetricsLog};
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine;
use tributary_aws::takeover::{InUse, KnownDatasets, Stale};
use tributary_aws::unpack::RecordContext;
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::config_error::ConfigError;
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
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
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
    /// Fails when the function cannot be built of the configuration.
    pub fn connect(config: &Config, in_use: &InUse, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            events: config.events.producer(sdk),
            quarantine: quarantine::connect(config.quarantine_delivery_stream.clone(), sdk),
            transformer: in_use.configuration.transformer()?,
            known: in_use.known.clone(),
            metrics_log: in_use.metrics_log("transform", &config.metrics_namespace),
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
    /// Fails when the payload is no Kinesis payload, a sink can never work, or a record is of a
    /// dataset that only a later configuration can have. Lambda then redelivers the whole batch.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let mut batch = KinesisBatch::parse(payload)?;
        let (events, lacking) = self.classify(&mut batch)?;
        let barrier = batch.quarantine(&self.quarantine, deadline).await?;
        let mut sent = self.events.send(barrier.ready(&events), deadline).await?;
        let now = (self.clock)();
        batch
            .quarantine_rejected(&mut sent, &self.quarantine, deadline, now, |record, rejection| {
                match read_raw(record.data) {
                    Ok(raw) => record.reject(rejection, &origin_of(&raw, record.context)),
                    Err(_) => record.reject(rejection, &record.context.origin()),
                }
            })
            .await?;

        let error = sent.last_error.as_deref();
        let outcome = barrier.outcome(&batch.dispositions, &sent.undelivered, error);
        let faults = Faults::of(&lacking, outcome.first_undelivered);
        self.metrics_log.write_faults(&faults.counts, now);
        let retried = barrier.quarantined.retried + sent.retried;
        let extra = json!({ "retried": retried, "with_faults": faults.with_faults });
        Ok(batch.finish(&outcome, extra, &self.metrics_log, now))
    }

    /// Makes each raw record an event, a bad row or a filtered record. Returns the events, and the
    /// faults of those that have some.
    ///
    /// # Errors
    ///
    /// Fails at a record of a dataset that only a later configuration can have.
    fn classify(
        &self,
        batch: &mut KinesisBatch<'_>,
    ) -> Result<(Vec<Outbound<StreamRecord>>, Vec<Lacking>), Stale> {
        let (mut events, mut lacking) = (Vec::new(), Vec::new());
        let mut stale = None;
        batch.classify((self.clock)(), |record| {
            let context = record.context;
            let raw = match read_raw(record.data) {
                Ok(raw) => raw,
                Err(rejection) => return record.reject(&rejection, &context.origin()),
            };
            match self.event_of(&raw) {
                Ok(Some((entry, faults))) => {
                    let position = context.position;
                    if !faults.is_empty() {
                        let dataset = raw.dataset.clone().into_owned();
                        lacking.push(Lacking { position, dataset, faults });
                    }
                    events.push(Outbound { position, entry });
                    Disposition::Delivered
                }
                Ok(None) => Disposition::Filtered,
                Err(rejection) => {
                    if rejection.code == Code::UnknownDataset {
                        let sent = context.record.arrival_time();
                        stale = stale.take().or(self.known.check(&raw.dataset, sent).err());
                    }
                    record.reject(&rejection, &origin_of(&raw, context))
                }
            }
        });
        stale.map_or(Ok((events, lacking)), Err)
    }

    /// Returns the record for the events stream and the faults of the event; `None` where a filter
    /// drops the event.
    fn event_of(
        &self,
        raw: &RawRecord<'_>,
    ) -> Result<Option<(StreamRecord, Vec<String>)>, Rejection> {
        let Outcome::Event(event) = self.transformer.record(raw)? else { return Ok(None) };
        let dataset = self.transformer.datasets().by_name(&event.dataset);
        let key = dataset.map_or(event.entity.as_ref(), |dataset| dataset.event_key(&event));
        let entry = StreamRecord::new(key, event.to_json());
        let max = self.events.target().limits().entry_bytes;
        if entry.size() > max {
            let message = format!("the event has {} bytes of {max}", entry.size());
            return Err(Rejection::row(Code::EventTooLarge, message));
        }
        let faults = event.faults.iter().map(|fault| fault.clone().into_owned());
        Ok(Some((entry, faults.collect())))
    }
}

/// Returns the origin of a raw record, which has an id and a source of its own.
fn origin_of<'r>(raw: &'r RawRecord<'_>, context: &RecordContext<'r>) -> Origin<'r> {
    Origin {
        dataset: Some(&raw.dataset),
        source: raw.source.as_ref().into(),
        record_id: raw.record_id.as_ref().into(),
        ..context.origin()
    }
}

/// Event with bad optional fields.
struct Lacking {
    position: usize,
    dataset: String,
    /// `field:code` of each.
    faults: Vec<String>,
}

/// Faults of the events of a batch.
#[derive(Default)]
struct Faults {
    /// Number of events with a fault.
    with_faults: u64,
    counts: BTreeMap<Fault, u64>,
}

impl Faults {
    /// Counts the faults of the events before the earliest record that Lambda redelivers.
    fn of(lacking: &[Lacking], first_undelivered: Option<usize>) -> Self {
        let mut faults = Self::default();
        let end = first_undelivered.unwrap_or(usize::MAX);
        for event in lacking.iter().filter(|event| event.position < end) {
            faults.with_faults += 1;
            for fault in &event.faults {
                let (field, code) = fault.split_once(':').unwrap_or((fault, ""));
                let [dataset, field, code] = [&event.dataset, field, code].map(str::to_owned);
                *faults.counts.entry(Fault { dataset, field, code }).or_default() += 1;
            }
        }
        faults
    }
}
