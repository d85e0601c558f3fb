//! Batch orchestration: the core asks the rules, one topic at the edge tells people, each thing once.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::error;
use tributary_aws::alert_state::{AlertState, AlertStateTable};
use tributary_aws::batch::Disposition;
use tributary_aws::claims::{ClaimStore, ClaimsTable, RetryingClaims};
use tributary_aws::clients;
use tributary_aws::deadline::Deadline;
use tributary_aws::delivery::QuarantineBarrier;
use tributary_aws::error::InvocationError;
use tributary_aws::events;
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::{BatchResponse, KinesisPayload, is_scheduled};
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::s3::S3;
use tributary_aws::sns::{Notification, Topic};
use tributary_config::{ALERTS, AlertsConfig, PIPELINE, PipelineConfig};
use tributary_model::config_error::ConfigError;
use tributary_model::event::Kind;
use tributary_rules::Severity;
use tributary_rules::alert::{Alert, AlertCounts};

use crate::active_rules::{ActiveRules, Refresh};
use crate::config::Config;
use crate::no_data::SeenEntities;
use crate::rule_state::RuleState;
use crate::sender::{AlertSender, PendingAlert};

/// How long an alert is remembered beyond the retention of the stream: what Lambda parked may be
/// brought back so much later and finds it sent.
const MAX_REDRIVE_DELAY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The function, over any sinks.
pub struct Alerts<C, S, T, Q> {
    /// Who sends which alert.
    pub claims: RetryingClaims<C>,
    /// Where alerts go.
    pub topic: Producer<T>,
    /// Where those of a severity go that has a topic of its own.
    pub routes: BTreeMap<Severity, Producer<T>>,
    /// Where records that are no events go.
    pub quarantine: Producer<Q>,
    /// The rules in use.
    pub rules: ActiveRules,
    /// What rules remember from one batch to the next.
    pub state: RuleState<S>,
    /// How long an alert is remembered, beside its cooldown.
    pub retention: SignedDuration,
    /// Where the books go.
    pub metrics_log: MetricsLog,
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
        let specs = PipelineConfig::from_toml(PIPELINE)?.window_specs()?;
        let retention = i64::try_from(config.stream_retention_hours).unwrap_or(i64::MAX / 3_600);
        let retention = SignedDuration::from_secs(retention.saturating_mul(3_600));
        let mut rules =
            ActiveRules::from(PipelineConfig::default().rules(&AlertsConfig::from_toml(ALERTS)?)?);
        if let Some(by) = config.rules_override {
            rules = rules.overridden(by, S3::new(clients::s3(sdk)))?;
        }
        let topic = |arn: &String| Producer::new(Topic::new(clients::sns(sdk), arn.clone()));
        let routes = [
            (Severity::Critical, &config.critical_alerts_topic_arn),
            (Severity::Warning, &config.warning_alerts_topic_arn),
        ];
        // One call for both, where both go to one topic.
        let routes = routes.into_iter().filter(|(_, arn)| **arn != config.alerts_topic_arn);
        Ok(Self {
            claims: RetryingClaims::new(claims),
            topic: topic(&config.alerts_topic_arn),
            routes: routes.map(|(severity, arn)| (severity, topic(arn))).collect(),
            quarantine: Producer::new(quarantine),
            rules,
            state: RuleState::new(state, &specs),
            retention: MAX_REDRIVE_DELAY.saturating_add(retention),
            metrics_log: MetricsLog::new("alerts", config.metrics_namespace),
            clock: Timestamp::now,
        })
    }
}

impl<C, S, T, Q> Alerts<C, S, T, Q>
where
    C: ClaimStore,
    S: AlertState,
    T: BatchPut<Entry = Notification>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// Processes one batch of events, or a round of the schedule, as `owner`: a name that no other
    /// invocation has.
    ///
    /// # Errors
    ///
    /// When the payload is neither, or a service says that it can never work: Lambda then delivers the
    /// whole batch again.
    pub async fn handle(
        &self,
        payload: &str,
        owner: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        if is_scheduled(payload) {
            self.run_scheduled(owner, deadline).await?;
            return Ok(BatchResponse::default());
        }
        self.handle_batch(payload, owner, deadline).await
    }

    /// A batch: what rules have to remember is noted first; where that fails the event is reported, and
    /// whoever notes it next finds the same. Each alert is claimed, then published, then noted as sent:
    /// see [`AlertSender`]. One that was sent before is done. The earliest record with an alert that is
    /// neither is reported, also where the topic refused it for good: Lambda then parks the record in
    /// the on-failure destination after its retries, and nobody's alert is lost in silence.
    async fn handle_batch(
        &self,
        payload: &str,
        owner: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let payload = KinesisPayload::from_json(payload)?;
        let (rules, refresh) = self.rules.current((self.clock)(), deadline).await;
        let (mut pending, mut evaluations) = (Vec::new(), Vec::new());
        let mut seen_entities = SeenEntities::default();
        let (mut rule_errors, mut newest) = (Vec::new(), None);
        let watching: Vec<_> = rules.iter().filter(|rule| rule.absent().is_some()).collect();
        let (dispositions, bad_rows) =
            events::read(&payload.records, (self.clock)(), |place, event| {
                if event.kind == Kind::Reading {
                    newest = newest.max(Some(event.received_at));
                }
                for rule in &watching {
                    if let Some(watched) = rule.watched_entity(event) {
                        seen_entities.add(place.position, rule, watched);
                    }
                }
                let (verdicts, errors) = rules.evaluate(event);
                for (rule, holds) in verdicts {
                    if rule.sustained().is_some() {
                        evaluations.extend(self.state.evaluate(place.position, rule, event, holds));
                    } else if holds {
                        pending.push(self.pending_alert(place.position, rule.alert(event)));
                    }
                }
                rule_errors.extend(errors);
                Ok(Disposition::Delivered)
            });
        if let Some(first) = rule_errors.first() {
            let (rule, message) = (&first.rule, &first.message);
            error!(rule, message, batch.rule_errors = rule_errors.len(), "a rule fails on events");
        }

        // That they came is true, whatever becomes of the batch.
        if let Some(last) = payload.records.last().filter(|_| !watching.is_empty()) {
            let now = (self.clock)();
            // Where the function before this one catches up, its records are young and their
            // readings are not.
            let arrived = last.arrival_time();
            let as_of = newest.map_or(arrived, |newest| arrived.min(newest));
            self.state.record_lag(last.shard_id(), as_of, now, deadline).await;
        }
        let seen =
            self.state.record_seen(seen_entities, self.retention, deadline.half_way()).await?;
        let barrier =
            QuarantineBarrier::deliver(&dispositions, &bad_rows, &self.quarantine, deadline)
                .await?;
        // What follows of windows is found out before anything is told, and in the same order.
        evaluations.retain(|evaluation| evaluation.position < barrier.end);
        let expires_at = (self.clock)().checked_add(self.retention).unwrap_or(Timestamp::MAX);
        let recorded =
            self.state.record_evaluations(&evaluations, expires_at, deadline.half_way()).await?;
        let due = recorded.alerts.into_iter();
        pending.extend(due.map(|(position, alert)| self.pending_alert(position, alert)));
        let over: Vec<_> =
            seen.resolved.iter().map(|it| (it.position, it.watched.clone())).collect();
        let resolved = seen.resolved.into_iter();
        pending.extend(resolved.map(|it| self.pending_alert(it.position, it.alert)));
        pending.sort_by_key(|pending| pending.position);

        let mut counts = matched_counts(&pending);
        let ready = pending.partition_point(|pending| pending.position < barrier.end);
        let beyond = pending.split_off(ready);
        let mut sent = self.sender(owner, deadline).send(pending).await?;
        for pending in &beyond {
            sent.record_undelivered(pending);
        }
        let is_sent = |position: &usize| !sent.undelivered.contains(position);
        let over = over.into_iter().filter(|(position, _)| is_sent(position));
        let over: Vec<_> = over.map(|(_, watched)| watched).collect();
        self.state.mark_resolved(&over, deadline).await;
        sent.undelivered.extend(recorded.unconfirmed);
        sent.undelivered.extend(seen.unconfirmed);
        let errors = [recorded.last_error, seen.last_error];
        sent.last_error = sent.last_error.or(errors.into_iter().flatten().next());

        let outcome = barrier.outcome(&dispositions, &sent.undelivered, sent.last_error.as_deref());
        let extra = json!({
            "messages": sent.messages,
            "digests": sent.digests,
            "held": sent.held_by_others,
            "unsettled": sent.unsettled,
            "windows": recorded.marks,
            "seen": seen.written,
            "rule_errors": rule_errors.len(),
            "retried": barrier.quarantined.retried + sent.retried,
        });
        let now = (self.clock)();
        self.metrics_log.write_batch(
            &outcome.counts,
            &outcome.codes,
            started.elapsed(),
            extra,
            now,
        );
        add_counts(&mut counts, sent.counts);
        self.metrics_log.write_alert_counts(&counts, now);
        self.count_refresh(refresh);
        Ok(dispositions.response(&outcome, &payload.records))
    }

    /// Counts what became of a look at the rules.
    pub(crate) fn count_refresh(&self, refresh: Refresh) {
        if let Some(name) = refresh.metric() {
            self.metrics_log.write_count("rules", name, (self.clock)());
        }
    }

    pub(crate) fn sender<'a>(
        &'a self,
        owner: &'a str,
        deadline: Deadline,
    ) -> AlertSender<'a, C, T> {
        let (claims, topic, routes) = (&self.claims, &self.topic, &self.routes);
        AlertSender { claims, topic, routes, owner, clock: self.clock, deadline }
    }

    pub(crate) fn pending_alert(&self, position: usize, alert: Alert) -> PendingAlert {
        PendingAlert { position, retention: alert.cooldown.saturating_add(self.retention), alert }
    }
}

/// By rule, how many alerts are wanted.
pub(crate) fn matched_counts<'w>(
    pending: impl IntoIterator<Item = &'w PendingAlert>,
) -> BTreeMap<String, AlertCounts> {
    let mut counts: BTreeMap<String, AlertCounts> = BTreeMap::new();
    for PendingAlert { alert, .. } in pending {
        counts.entry(alert.rule.clone()).or_default().matched += alert.events;
    }
    counts
}

pub(crate) fn add_counts(
    counts: &mut BTreeMap<String, AlertCounts>,
    more: BTreeMap<String, AlertCounts>,
) {
    for (rule, more) in more {
        *counts.entry(rule).or_default() += more;
    }
}
