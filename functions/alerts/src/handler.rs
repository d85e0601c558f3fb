//! Batch orchestration: the core asks the rules, one topic at the edge tells people, each thing once.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::error;
use tributary_aws::batch::Fate;
use tributary_aws::claims::{Claimant, Claims, ClaimsTable};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::delivery::Safe;
use tributary_aws::error::InvocationError;
use tributary_aws::events;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::log::Journal;
use tributary_aws::payload::{BatchResponse, KinesisPayload};
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::s3::S3;
use tributary_aws::sns::{Notification, Topic};
use tributary_core::alert::{Alert, AlertBooks, End};
use tributary_core::config::{ALERTS, AlertsConfig, ConfigError};
use tributary_core::rule::Rules;

use crate::config::Config;
use crate::once::{Outbox, Wanted};
use crate::rulebook::Rulebook;

/// How long an alert is remembered beyond the retention of the stream: what Lambda parked may be
/// brought back so much later and finds it sent.
const MEMORY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The function, over any sinks.
pub struct Alerts<C, T, Q> {
    /// Who sends which alert.
    pub claims: Claimant<C>,
    /// Where alerts go.
    pub topic: Producer<T>,
    /// Where records that are no events go.
    pub quarantine: Producer<Q>,
    /// The rules in use.
    pub rules: Rulebook,
    /// How long an alert is remembered, beside its cooldown.
    pub memory: SignedDuration,
    /// Where the books go.
    pub journal: Journal,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl Alerts<ClaimsTable, Topic, DeliveryStream> {
    /// The function over AWS.
    ///
    /// # Errors
    ///
    /// When the compiled-in `alerts.toml` is wrong.
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Result<Self, ConfigError> {
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), config.quarantine_delivery_stream);
        let claims = ClaimsTable::new(clients::dynamodb(sdk), config.claims_table);
        let retention = i64::try_from(config.stream_retention_hours).unwrap_or(i64::MAX / 3_600);
        let retention = SignedDuration::from_secs(retention.saturating_mul(3_600));
        let mut rules = Rulebook::from(Rules::compile(&AlertsConfig::from_toml(ALERTS)?)?);
        if let Some(by) = config.rules_override {
            rules = rules.overridden(by, S3::new(clients::s3(sdk)))?;
        }
        Ok(Self {
            claims: Claimant::new(claims),
            topic: Producer::new(Topic::new(clients::sns(sdk), config.alerts_topic_arn)),
            quarantine: Producer::new(quarantine),
            rules,
            memory: MEMORY.saturating_add(retention),
            journal: Journal::new("alerts", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<C: Claims, T: BatchPut<Entry = Notification>, Q: BatchPut<Entry = Vec<u8>>> Alerts<C, T, Q> {
    /// Processes one batch of events as `owner`, a name that no other invocation has.
    ///
    /// Each alert is claimed, then published, then noted as sent: see [`Outbox`]. One that was sent
    /// before is done. The earliest record with an alert that is neither is reported, also where the
    /// topic refused it for good: Lambda then parks the record in the on-failure destination after
    /// its retries, and nobody's alert is lost in silence.
    ///
    /// # Errors
    ///
    /// When the payload is no Kinesis payload, or a service says that it can never work: Lambda then
    /// delivers the whole batch again.
    pub async fn handle(
        &self,
        payload: &str,
        owner: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let payload = KinesisPayload::from_json(payload)?;
        let (rules, look) = self.rules.current((self.clock)(), deadline).await;
        let mut wanted = Vec::new();
        let mut books: BTreeMap<String, AlertBooks> = BTreeMap::new();
        let mut rule_errors = Vec::new();
        let (fates, bad_rows) = events::read(&payload.records, (self.clock)(), |place, event| {
            let (alerts, errors) = rules.alerts(event);
            for alert in alerts {
                books.entry(alert.rule.clone()).or_default().matched += 1;
                wanted.push(self.wanted(place.position, alert));
            }
            rule_errors.extend(errors);
            Ok(Fate::Out)
        });
        if let Some(first) = rule_errors.first() {
            let (rule, message) = (&first.rule, &first.message);
            error!(rule, message, batch.rule_errors = rule_errors.len(), "a rule fails on events");
        }

        let safe = Safe::deliver(&fates, &bad_rows, &self.quarantine, deadline).await?;
        let ready = wanted.partition_point(|wanted| wanted.position < safe.end);
        let beyond = wanted.split_off(ready);
        let outbox =
            Outbox { claims: &self.claims, topic: &self.topic, owner, clock: self.clock, deadline };
        let mut sent = outbox.send(wanted).await?;
        for wanted in &beyond {
            sent.note(&wanted.alert, End::Undelivered);
        }

        let settled = safe.settle(&fates, &sent.undelivered, sent.last_error.as_deref());
        let extra = json!({
            "messages": sent.messages,
            "digests": sent.digests,
            "held": sent.held,
            "unsettled": sent.unsettled,
            "rule_errors": rule_errors.len(),
            "retried": safe.quarantined.retried + sent.retried,
        });
        let now = (self.clock)();
        self.journal.batch(&settled.books, &settled.codes, started.elapsed(), extra, now);
        for (rule, ends) in sent.books {
            *books.entry(rule).or_default() += ends;
        }
        self.journal.alerts(&books, now);
        if let Some(name) = look.metric() {
            self.journal.counted("rules", name, now);
        }
        Ok(fates.response(&settled, &payload.records))
    }

    fn wanted(&self, position: usize, alert: Alert) -> Wanted {
        Wanted { position, memory: alert.cooldown.saturating_add(self.memory), alert }
    }
}
