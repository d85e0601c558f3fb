//! Request handler: validates the items, sends the good ones to the stream and answers the sender.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tracing::warn;
use tributary_aws::clients::SdkConfig;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::InvocationError;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::object;
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::takeover::{InUse, KnownDatasets};
use tributary_model::bad_row::{Code, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::counts::BatchCounts;
use tributary_pipeline::sender::{Permit, Senders};
use tributary_pipeline::transform::Transformer;

use crate::answer::{Counts, Entry, HttpAnswer, ItemStatus, Refusal};
use crate::body;
use crate::config::Config;
use crate::item::{ItemValidator, Sender};
use crate::request::{Payload, UNKNOWN_DATASET};

/// Maximum time of retries for one request. A sender waits better by itself than in a concurrent
/// invocation, which a throttled stream would hold for its whole time.
const MAX_RETRY_TIME: Duration = Duration::from_secs(2);

/// Function `ingest-http` over any sink.
pub struct IngestHttp<R> {
    /// Sink for raw records.
    pub raw: Producer<R>,
    /// Validator of the items, the same as in `transform`.
    pub transformer: Transformer,
    /// Principals that may send.
    pub senders: Senders,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Log of the batch counts.
    pub metrics_log: MetricsLog,
    /// Current time.
    pub clock: fn() -> Timestamp,
}

impl IngestHttp<Stream> {
    /// Creates the function over AWS.
    ///
    /// # Errors
    ///
    /// Returns an error if the function cannot be built of the configuration.
    pub fn connect(config: &Config, in_use: &InUse, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            raw: config.raw.producer(sdk),
            transformer: in_use.configuration.transformer()?,
            senders: in_use.configuration.senders()?,
            known: in_use.known.clone(),
            metrics_log: in_use.metrics_log("ingest-http", &config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

/// Totals of a request.
#[derive(Default)]
struct Totals {
    counts: Counts,
    error: Option<&'static str>,
    retried: usize,
}

/// Validated items of a request.
struct ValidatedItems {
    /// Entries, so far either accepted or rejected.
    entries: Vec<Entry>,
    records: Vec<Outbound<StreamRecord>>,
    /// True if ids are made of an idempotency key.
    has_key: bool,
}

impl<R: BatchPut<Entry = StreamRecord>> IngestHttp<R> {
    /// Processes one request.
    ///
    /// The answer reports a rejected item, which is stored nowhere: its sender has it. Items that
    /// the stream did not accept by the deadline are reported as `send_again`, and are not kept
    /// either. Lambda does not redeliver requests: the sender retries.
    ///
    /// # Errors
    ///
    /// Returns an error if the payload is no request, if the stream reports that a call can never
    /// work, or if only a later configuration can have the dataset. The sender then gets a 502, and may send the same request again.
    pub async fn handle(
        &self,
        payload: &str,
        deadline: Deadline,
    ) -> Result<HttpAnswer, InvocationError> {
        let started = Instant::now();
        let payload: Payload<'_> = object(payload)?;
        let mut totals = Totals::default();
        let answer = match self.validate(&payload) {
            Ok(validated) => self.deliver(validated, deadline, &mut totals).await?,
            Err(refusal) => {
                if refusal.error == UNKNOWN_DATASET {
                    self.known.check("", payload.sent())?;
                }
                totals.error = Some(refusal.error);
                refusal.answer()
            }
        };

        let Counts { accepted, rejected, codes, send_again } = totals.counts;
        let counts = BatchCounts {
            received: accepted + send_again,
            delivered: accepted,
            undelivered: send_again,
            ..BatchCounts::default()
        };
        let extra = json!({
            "status": answer.status_code,
            "error": totals.error,
            "rejected": rejected,
            "retried": totals.retried,
        });
        let now = (self.clock)();
        self.metrics_log.write_batch(&counts, &BTreeMap::new(), started.elapsed(), extra, now);
        self.metrics_log.write_rejected(&codes, now);
        Ok(answer)
    }

    fn validate(&self, payload: &Payload<'_>) -> Result<ValidatedItems, Refusal> {
        let request = payload.request(self.transformer.datasets())?;
        let permit = self.permit(&request.sender)?;
        let bytes = body::bytes(request.body, request.is_base64, request.encoding)?;
        let items = body::items(&bytes, request.format)?;

        let max = self.raw.target().limits().entry_bytes;
        let now = (self.clock)();
        let validate = ItemValidator::new(&request.sender, &self.transformer, &permit, now, max);
        let mut entries = Vec::with_capacity(items.len());
        let mut records = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let status = match validate.validate(position, item) {
                Ok((record_id, entry)) => {
                    records.push(Outbound { position, entry });
                    ItemStatus::Accepted { record_id }
                }
                Err(Rejection { code, field, message }) => {
                    ItemStatus::Rejected { code, field, message: Some(message) }
                }
            };
            entries.push(Entry { item: position, line: item.line, status });
        }
        Ok(ValidatedItems { entries, records, has_key: request.sender.key.is_some() })
    }

    /// Returns what the sender may send of the dataset.
    fn permit(&self, sender: &Sender) -> Result<Permit, Refusal> {
        let Sender { principal, session, dataset, .. } = sender;
        let permit = self.senders.permit(principal, session.as_deref(), dataset.name());
        permit.ok_or_else(|| {
            let message = format!("{principal} may not send rows of {}", dataset.name());
            Refusal::new(403, "not_permitted", message)
        })
    }

    async fn deliver(
        &self,
        validated: ValidatedItems,
        deadline: Deadline,
        totals: &mut Totals,
    ) -> Result<HttpAnswer, InvocationError> {
        let ValidatedItems { mut entries, records, has_key } = validated;
        let mut delivery = self.raw.send_patiently(&records, deadline, MAX_RETRY_TIME).await?;
        for (position, message) in delivery.take_rejected() {
            let (code, message) = (Code::Refused, Some(message));
            entries[position].status = ItemStatus::Rejected { code, field: None, message };
        }
        for &position in &delivery.undelivered {
            let status = &mut entries[position].status;
            if let ItemStatus::Accepted { record_id } = status {
                *status = ItemStatus::SendAgain { record_id: std::mem::take(record_id) };
            }
        }
        totals.counts = Counts::of(&entries);
        totals.retried = delivery.retried;
        if totals.counts.send_again > 0 {
            let error = delivery.last_error.as_deref();
            warn!(
                batch.undelivered = totals.counts.send_again,
                error, "the stream did not take all items"
            );
        }
        Ok(HttpAnswer::of_items(entries, &totals.counts, has_key))
    }
}
