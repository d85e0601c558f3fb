//! Message handler: each message is an object, or the rest of one.

use std::collections::BTreeMap;
use std::time::Instant;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use jiff::Timestamp;
use serde_json::json;
use tracing::{info, warn};
use tributary_aws::aggregating::Aggregating;
use tributary_aws::batch::{BatchOutcome, Disposition};
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError};
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::kinesis::{Stream, StreamRecord};
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::BatchResponse;
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine::{self, BadRows};
use tributary_aws::s3::{ObjectName, ObjectStore, S3};
use tributary_aws::sqs::{Queue, SqsQueue};
use tributary_aws::takeover::{InUse, KnownDatasets};
use tributary_datasets::Datasets;
use tributary_model::bad_row::{Code, Origin, Rejection};
use tributary_model::config_error::ConfigError;
use tributary_model::counts::BatchCounts;
use tributary_model::id::Id;
use tributary_rows::Limits;

use crate::config::Config;
use crate::message::{self, Task};
use crate::object::{SEGMENT, Stop, Work};

/// Metric of the batch line: objects of which no row was read.
pub const WITHOUT_ROWS: &str = "objects_without_rows";

/// Function `ingest-s3` over any store, sinks and queue.
pub struct IngestS3<O, R, Q, C> {
    /// Store that objects are read from.
    pub objects: O,
    /// Sink for raw records.
    pub raw: Producer<R>,
    /// Sink for bad rows.
    pub quarantine: Producer<Q>,
    /// Queue for continuations.
    pub queue: C,
    /// Datasets that the rows can be of.
    pub datasets: Datasets,
    /// Read limits.
    pub limits: Limits,
    /// Maximum number of bytes of a plain object that one message covers.
    pub segment_bytes: u64,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Log of the batch counts.
    pub metrics_log: MetricsLog,
    /// Current time.
    pub clock: fn() -> Timestamp,
}

impl IngestS3<S3, Aggregating<Stream>, DeliveryStream, SqsQueue> {
    /// Creates the function over AWS.
    ///
    /// # Errors
    ///
    /// Never fails: any configuration has datasets.
    pub fn connect(config: &Config, in_use: &InUse, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        let raw = Aggregating::new(config.raw.stream(sdk), config.aggregate_records);
        Ok(Self {
            objects: S3::new(clients::s3(sdk)),
            raw: Producer::new(raw).with_order(config.raw.order),
            quarantine: quarantine::connect(config.quarantine_delivery_stream.clone(), sdk),
            queue: SqsQueue::new(clients::sqs(sdk), config.queue_url.clone()),
            datasets: in_use.configuration.datasets.clone(),
            limits: Limits {
                max_row_bytes: config.raw.max_record_bytes,
                max_gzip_ratio: config.max_gzip_ratio as u64,
                ..Limits::default()
            },
            segment_bytes: SEGMENT,
            known: in_use.known.clone(),
            metrics_log: in_use
                .metrics_log("ingest-s3", &config.metrics_namespace)
                .with_metrics(&[WITHOUT_ROWS]),
            clock: Timestamp::now,
        })
    }
}

/// Totals of the messages of one invocation.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) counts: BatchCounts,
    pub(crate) codes: BTreeMap<Code, u64>,
    pub(crate) retried: usize,
    objects: u64,
    continued: u64,
    /// Objects without a row that could be read.
    pub(crate) without_rows: u64,
    /// Messages about no object to read, such as the test event.
    ignored: u64,
}

impl<O, R, Q, C> IngestS3<O, R, Q, C>
where
    O: ObjectStore,
    R: BatchPut<Entry = StreamRecord>,
    Q: BatchPut<Entry = Vec<u8>>,
    C: Queue,
{
    /// Processes the messages of one invocation.
    ///
    /// A row, object or message that can never succeed goes to quarantine, and its message is done.
    /// If time runs short, or a sink stops accepting rows after it accepted some, the rest of the
    /// object goes back to the queue as a continuation. A message fails only if it made no progress
    /// at all: the queue counts its receptions, and finally parks it.
    ///
    /// # Errors
    ///
    /// Returns an error if a service reports that a call can never work, or if only a later
    /// configuration can have the dataset of the first object: SQS then redelivers the messages.
    pub async fn handle(
        &self,
        payload: SqsEvent,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let mut totals = Totals::default();
        let mut failed = Vec::new();
        for message in payload.records {
            let sent = sent(&message);
            let id = message.message_id.unwrap_or_default();
            let body = message.body.unwrap_or_default();
            match self.handle_message(&id, &body, sent, deadline, &mut totals).await {
                Ok(()) => {}
                Err(Stop::Setup(error)) => return Err(error.into()),
                Err(Stop::Stale(stale)) => return Err(stale.into()),
                Err(Stop::At(_, error)) => {
                    warn!(message_id = id, error, "message will be delivered again");
                    failed.push(id);
                }
            }
        }
        let extra = json!({
            "objects": totals.objects,
            "continued": totals.continued,
            WITHOUT_ROWS: totals.without_rows,
            "ignored": totals.ignored,
            "retried": totals.retried,
        });
        let now = (self.clock)();
        self.metrics_log.write_batch(&totals.counts, &totals.codes, started.elapsed(), extra, now);
        Ok(BatchResponse::failed(failed))
    }

    async fn handle_message(
        &self,
        id: &str,
        body: &str,
        sent: Timestamp,
        deadline: Deadline,
        totals: &mut Totals,
    ) -> Result<(), Stop> {
        let tasks = message::tasks(body, &self.datasets);
        if tasks.is_empty() {
            let event = message::ignored_event(body);
            info!(message_id = id, event, "the message is about no object to read");
            totals.ignored += 1;
        }
        for task in tasks {
            let task = match task {
                Ok(task) => task,
                Err(rejection) => {
                    self.quarantine_message(id, body, &rejection, deadline, totals).await?;
                    continue;
                }
            };
            self.check_known(&task, sent, totals)?;
            let mut work = Work::new(self, task, deadline, totals);
            let rest = work.run().await;
            let task = work.task;
            totals.objects += 1;
            let Some(rest) = rest? else { continue };
            match self.queue.send(message::continuation(&task, rest)).await {
                Ok(()) => {}
                Err(CallError::Setup(error)) => return Err(error.into()),
                Err(error) => return Err(Stop::At(None, error.to_string())),
            }
            let ObjectName { bucket, key, .. } = &task.object;
            info!(bucket, key, "rest of the object handed on");
            totals.continued += 1;
        }
        Ok(())
    }

    /// Checks that the configuration is as new as the message, if the columns of an object have to
    /// tell its dataset: a later configuration may have one that they fit better.
    fn check_known(&self, task: &Task, sent: Timestamp, totals: &Totals) -> Result<(), Stop> {
        if self.datasets.by_key(&task.object.key).is_some() {
            return Ok(());
        }
        let Err(stale) = self.known.check("", sent) else { return Ok(()) };
        let BatchCounts { delivered, quarantined, undelivered, .. } = totals.counts;
        Err(match delivered + quarantined + undelivered {
            0 => Stop::Stale(stale),
            // The invocation cannot be repeated as a whole.
            _ => Stop::At(None, stale.to_string()),
        })
    }

    /// Quarantines a message, or an object of it that it does not name as it should.
    async fn quarantine_message(
        &self,
        id: &str,
        body: &str,
        rejection: &Rejection,
        deadline: Deadline,
        totals: &mut Totals,
    ) -> Result<(), Stop> {
        let origin = Origin {
            source: format!("sqs:{id}").into(),
            record_id: Id::of_text(&["sqs", id]).to_string().into(),
            ..Origin::default()
        };
        let mut bad_rows = BadRows::default();
        bad_rows.push(0, rejection, &origin, Some(body.as_bytes()), (self.clock)());
        let delivery = bad_rows.deliver(&self.quarantine, deadline).await?;
        let disposition = Disposition::Quarantined(rejection.code);
        let outcome = BatchOutcome::new(&[disposition], delivery.first_undelivered());
        outcome.add_to(&mut totals.counts, &mut totals.codes);
        match outcome.first_undelivered {
            None => Ok(()),
            Some(_) => Err(Stop::At(None, delivery.last_error.unwrap_or_default())),
        }
    }
}

/// Returns the time at which a message was sent.
fn sent(message: &SqsMessage) -> Timestamp {
    let millis = message.attributes.get("SentTimestamp").and_then(|text| text.parse().ok());
    let sent = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    sent.unwrap_or(Timestamp::UNIX_EPOCH)
}
