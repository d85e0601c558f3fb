//! Batch orchestration: the core asks the rules, one topic at the edge tells people.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;
use tracing::error;
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::delivery::deliver;
use tributary_aws::error::InvocationError;
use tributary_aws::events;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::log::Journal;
use tributary_aws::payload::{BatchResponse, KinesisPayload};
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::sns::{Notification, Topic};
use tributary_core::alert::Alert;
use tributary_core::config::{ALERTS, AlertsConfig, ConfigError};
use tributary_core::rule::Rules;

use crate::config::Config;

/// The function, over any sinks.
pub struct Alerts<T, Q> {
    /// Where alerts go.
    pub topic: Producer<T>,
    /// Where records that are no events go.
    pub quarantine: Producer<Q>,
    /// The rules, compiled.
    pub rules: Rules,
    /// Where the books go.
    pub journal: Journal,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl Alerts<Topic, DeliveryStream> {
    /// The function over AWS.
    ///
    /// # Errors
    ///
    /// When the compiled-in `alerts.toml` is wrong.
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Result<Self, ConfigError> {
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), config.quarantine_delivery_stream);
        Ok(Self {
            topic: Producer::new(Topic::new(clients::sns(sdk), config.alerts_topic_arn)),
            quarantine: Producer::new(quarantine),
            rules: Rules::compile(&AlertsConfig::from_toml(ALERTS)?)?,
            journal: Journal::new("alerts", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<T: BatchPut<Entry = Notification>, Q: BatchPut<Entry = Vec<u8>>> Alerts<T, Q> {
    /// Processes one batch of events.
    ///
    /// Each entry of each PublishBatch answer is read. The earliest record with an alert that the
    /// topic did not take is reported, also where the topic refused it for good: Lambda then parks
    /// the record in the on-failure destination after its retries, and nobody's alert is lost in
    /// silence. A redelivery publishes again under the same `alert_id`.
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
        let mut outbound = Vec::new();
        let mut rule_errors = Vec::new();
        let (fates, bad_rows) =
            events::read(&payload.records, (self.clock)(), |position, event, _| {
                let (alerts, errors) = self.rules.alerts(event);
                let entries = alerts.into_iter().map(notification);
                outbound.extend(entries.map(|entry| Outbound { position, entry }));
                rule_errors.extend(errors);
            });
        if let Some(first) = rule_errors.first() {
            let (rule, message) = (&first.rule, &first.message);
            error!(rule, message, batch.rule_errors = rule_errors.len(), "a rule fails on events");
        }

        let delivered =
            deliver(&fates, &bad_rows, &self.quarantine, &outbound, &self.topic, deadline).await?;
        let settled = delivered.settled;
        let extra = json!({
            "alerts": delivered.sent,
            "rule_errors": rule_errors.len(),
            "retried": delivered.retried,
        });
        let now = (self.clock)();
        self.journal.batch(&settled.books, &settled.codes, started.elapsed(), extra, now);
        Ok(fates.response(&settled, &payload.records))
    }
}

fn notification(alert: Alert) -> Notification {
    Notification {
        subject: Notification::subject_of(&alert.title),
        message: alert.message,
        attributes: vec![
            ("severity", alert.severity.as_str().to_owned()),
            ("dataset", alert.dataset),
            ("rule", alert.rule),
        ],
    }
}
