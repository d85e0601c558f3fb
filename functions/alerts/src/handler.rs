//! Batch orchestration: the core asks the rules, one topic at the edge tells people, each thing once.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::error;
use tributary_aws::alert_state::{AlertState, AlertStateTable};
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
use tributary_aws::sns::{Notification, Topic};
use tributary_core::alert::{Alert, AlertBooks, End};
use tributary_core::config::{ALERTS, AlertsConfig, ConfigError, PIPELINE, PipelineConfig};
use tributary_core::rule::Rules;
use tributary_core::window;

use crate::config::Config;
use crate::once::{Outbox, Wanted};
use crate::sustained::Memory;

/// How long an alert is remembered beyond the retention of the stream: what Lambda parked may be
/// brought back so much later and finds it sent.
const MEMORY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The function, over any sinks.
pub struct Alerts<C, S, T, Q> {
    /// Who sends which alert.
    pub claims: Claimant<C>,
    /// Where alerts go.
    pub topic: Producer<T>,
    /// Where records that are no events go.
    pub quarantine: Producer<Q>,
    /// The rules, compiled.
    pub rules: Rules,
    /// What rules remember from one batch to the next.
    pub state: Memory<S>,
    /// How long an alert is remembered, beside its cooldown.
    pub memory: SignedDuration,
    /// Where the books go.
    pub journal: Journal,
    /// The time of day.
    pub clock: fn() -> Timestamp,
}

impl Alerts<ClaimsTable, AlertStateTable, Topic, DeliveryStream> {
    /// The function over AWS.
    ///
    /// # Errors
    ///
    /// When the compiled-in `alerts.toml` or `pipeline.toml` is wrong.
    pub fn connect(config: Config, sdk: &clients::SdkConfig) -> Result<Self, ConfigError> {
        let quarantine =
            DeliveryStream::new(clients::firehose(sdk), config.quarantine_delivery_stream);
        let claims = ClaimsTable::new(clients::dynamodb(sdk), config.claims_table);
        let state = AlertStateTable::new(clients::dynamodb(sdk), config.state_table);
        let specs = window::compile(&PipelineConfig::from_toml(PIPELINE)?)?;
        let retention = i64::try_from(config.stream_retention_hours).unwrap_or(i64::MAX / 3_600);
        let retention = SignedDuration::from_secs(retention.saturating_mul(3_600));
        Ok(Self {
            claims: Claimant::new(claims),
            topic: Producer::new(Topic::new(clients::sns(sdk), config.alerts_topic_arn)),
            quarantine: Producer::new(quarantine),
            rules: Rules::compile(&AlertsConfig::from_toml(ALERTS)?)?,
            state: Memory::new(state, &specs),
            memory: MEMORY.saturating_add(retention),
            journal: Journal::new("alerts", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<C, S, T, Q> Alerts<C, S, T, Q>
where
    C: Claims,
    S: AlertState,
    T: BatchPut<Entry = Notification>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Processes one batch of events as `owner`, a name that no other invocation has.
    ///
    /// What windows say to rules with `for` is noted first; where that fails the window is reported, as
    /// whoever notes it next finds the same. Each alert is claimed, then published, then noted as sent: see [`Outbox`]. One that was sent
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
        let (mut wanted, mut signs) = (Vec::new(), Vec::new());
        let mut rule_errors = Vec::new();
        let (fates, bad_rows) = events::read(&payload.records, (self.clock)(), |place, event| {
            let (verdicts, errors) = self.rules.verdicts(event);
            for (rule, holds) in verdicts {
                if rule.sustained().is_some() {
                    signs.extend(self.state.sign(place.position, rule, event, holds));
                } else if holds {
                    wanted.push(self.wanted(place.position, rule.alert(event)));
                }
            }
            rule_errors.extend(errors);
            Ok(Fate::Out)
        });
        if let Some(first) = rule_errors.first() {
            let (rule, message) = (&first.rule, &first.message);
            error!(rule, message, batch.rule_errors = rule_errors.len(), "a rule fails on events");
        }

        let safe = Safe::deliver(&fates, &bad_rows, &self.quarantine, deadline).await?;
        // What follows of windows is found out before anything is told, and in the same order.
        signs.retain(|sign| sign.position < safe.end);
        let expires_at = (self.clock)().checked_add(self.memory).unwrap_or(Timestamp::MAX);
        let noted = self.state.note(&signs, expires_at, deadline.half_way()).await?;
        let due = noted.alerts.into_iter();
        wanted.extend(due.map(|(position, alert)| self.wanted(position, alert)));
        wanted.sort_by_key(|wanted| wanted.position);
        let mut books: BTreeMap<String, AlertBooks> = BTreeMap::new();
        for Wanted { alert, .. } in &wanted {
            books.entry(alert.rule.clone()).or_default().matched += 1;
        }

        let ready = wanted.partition_point(|wanted| wanted.position < safe.end);
        let beyond = wanted.split_off(ready);
        let outbox =
            Outbox { claims: &self.claims, topic: &self.topic, owner, clock: self.clock, deadline };
        let mut sent = outbox.send(wanted).await?;
        for wanted in &beyond {
            sent.note(&wanted.alert, End::Undelivered);
        }
        sent.undelivered.extend(noted.unknown);
        sent.last_error = sent.last_error.or(noted.last_error);

        let settled = safe.settle(&fates, &sent.undelivered, sent.last_error.as_deref());
        let extra = json!({
            "messages": sent.messages,
            "digests": sent.digests,
            "held": sent.held,
            "unsettled": sent.unsettled,
            "windows": noted.marks,
            "rule_errors": rule_errors.len(),
            "retried": safe.quarantined.retried + sent.retried,
        });
        let now = (self.clock)();
        self.journal.batch(&settled.books, &settled.codes, started.elapsed(), extra, now);
        for (rule, ends) in sent.books {
            *books.entry(rule).or_default() += ends;
        }
        self.journal.alerts(&books, now);
        Ok(fates.response(&settled, &payload.records))
    }

    fn wanted(&self, position: usize, alert: Alert) -> Wanted {
        Wanted { position, memory: alert.cooldown.saturating_add(self.memory), alert }
    }
}
