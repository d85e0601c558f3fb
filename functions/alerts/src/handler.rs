//! The life of a batch of events: rules are evaluated, their state recorded, each alert sent once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tracing::{error, info};
use tributary_aws::alert_state::{AlertState, AlertStateTable, OPERATION};
use tributary_aws::batch::{Disposition, KinesisBatch};
use tributary_aws::cardinality::METRIC;
use tributary_aws::claims::{ClaimStore, ClaimsTable, RetryingClaims, owner_of};
use tributary_aws::clients::{self, SdkConfig};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError};
use tributary_aws::firehose::DeliveryStream;
use tributary_aws::log::MetricsLog;
use tributary_aws::payload::{BatchResponse, is_scheduled};
use tributary_aws::producer::{Delivery, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::quarantine;
use tributary_aws::sns::{self, Notification, Topic};
use tributary_aws::takeover::{InUse, KnownDatasets, Stale};
use tributary_model::config_error::ConfigError;
use tributary_model::event::Kind;
use tributary_rules::alert::{Alert, AlertOutcome};
use tributary_rules::{Rules, Severity};

use crate::config::Config;
use crate::no_data::{SeenEntities, groups};
use crate::rule_state::{Evaluation, RuleState, StateUpdates};
use crate::sender::{AlertSender, PendingAlert, SendOutcome};

/// Retention of an alert beyond that of the stream. A parked batch that an operator redrives within
/// this time finds its alerts sent.
const MAX_REDRIVE_DELAY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// `alerts`, generic over its stores and sinks.
pub struct Alerts<C, S, T, Q> {
    /// Claims of alerts.
    pub claims: RetryingClaims<C>,
    /// Producer of alerts.
    pub topic: Producer<T>,
    /// Producers of the severities that have a topic of their own.
    pub routes: BTreeMap<Severity, Producer<T>>,
    /// Producer of bad rows: records that are no events.
    pub quarantine: Producer<Q>,
    /// Rules.
    pub rules: Rules,
    /// State that rules keep between batches.
    pub state: RuleState<S>,
    /// Retention of an alert, beside its cooldown.
    pub retention: SignedDuration,
    /// Datasets of the configuration in use.
    pub known: KnownDatasets,
    /// Metrics log.
    pub metrics_log: MetricsLog,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
}

/// Findings of the rules about one batch.
#[derive(Default)]
struct Findings<'r> {
    /// Alerts of rules that fire on one event.
    pending: Vec<PendingAlert>,
    /// Evaluations of rules with `for`.
    evaluations: Vec<Evaluation<'r>>,
    /// Entities of rules with `absent`.
    seen_entities: SeenEntities<'r>,
    /// True if any rule has `absent`.
    is_watching: bool,
    /// Latest time at which a reading of the batch was received.
    newest: Option<Timestamp>,
    /// Number of events that a rule failed on.
    rule_errors: usize,
}

impl Alerts<ClaimsTable, AlertStateTable, Topic, DeliveryStream> {
    /// Connects the function to AWS.
    ///
    /// # Errors
    ///
    /// Fails when the function cannot be built of the configuration.
    pub fn connect(config: &Config, in_use: &InUse, sdk: &SdkConfig) -> Result<Self, ConfigError> {
        let claims = ClaimsTable::new(clients::dynamodb(sdk), config.claims_table.clone());
        let state = AlertStateTable::new(clients::dynamodb(sdk), config.state_table.clone());
        let configuration = &in_use.configuration;
        let specs = configuration.window_specs()?;
        let retention = i64::try_from(config.stream_retention_hours).unwrap_or(i64::MAX / 3_600);
        let retention = SignedDuration::from_secs(retention.saturating_mul(3_600));
        let topic = |arn: &String| Producer::new(Topic::new(clients::sns(sdk), arn.clone()));
        let routes = [
            (Severity::Critical, &config.critical_alerts_topic_arn),
            (Severity::Warning, &config.warning_alerts_topic_arn),
        ];
        // Severities of one topic share its calls.
        let routes = routes.into_iter().filter(|(_, arn)| **arn != config.alerts_topic_arn);
        Ok(Self {
            claims: RetryingClaims::new(claims),
            topic: topic(&config.alerts_topic_arn),
            routes: routes.map(|(severity, arn)| (severity, topic(arn))).collect(),
            quarantine: quarantine::connect(config.quarantine_delivery_stream.clone(), sdk),
            rules: configuration.rules()?.with_max_message_bytes(sns::MAX_MESSAGE_BYTES),
            state: RuleState::new(state, &specs),
            retention: MAX_REDRIVE_DELAY.saturating_add(retention),
            known: in_use.known.clone(),
            metrics_log: in_use.metrics_log("alerts", &config.metrics_namespace),
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
    /// Processes one batch of events, or a scheduled run. Lambda may run the invocation of one
    /// `request_id` twice, also at the same time: each is another owner of claims.
    ///
    /// # Errors
    ///
    /// Fails when the payload is neither, or a service can never work. Lambda then redelivers the
    /// whole batch.
    pub async fn handle(
        &self,
        payload: &str,
        request_id: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let owner = &owner_of(request_id);
        if is_scheduled(payload) {
            Box::pin(self.run_scheduled(owner, deadline)).await?;
            return Ok(BatchResponse::default());
        }
        Box::pin(self.handle_batch(payload, owner, deadline)).await
    }

    /// Processes a batch.
    ///
    /// State that rules keep is recorded before any alert is sent, so that a redelivery finds the
    /// same alerts. Each alert is claimed, published and marked as sent, see [`AlertSender`]. The
    /// answer reports the earliest record with an alert that is not known to be sent, also where
    /// the topic rejected it: Lambda parks that record after its retries.
    async fn handle_batch(
        &self,
        payload: &str,
        owner: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let mut batch = KinesisBatch::parse(payload)?;
        let mut findings = self.evaluate(&mut batch)?;
        // Last-seen times first: they hold even if Lambda redelivers the batch.
        self.record_lag(&findings, &batch, deadline).await;
        let mut updates = StateUpdates::default();
        let (now, retention, half) = ((self.clock)(), self.retention, deadline.half_way());
        let seen = findings.seen_entities;
        let resolved = self.state.record_seen(seen, now, retention, half, &mut updates).await?;
        let barrier = batch.quarantine(&self.quarantine, deadline).await?;
        findings.evaluations.retain(|evaluation| evaluation.position < barrier.end);
        let (evaluations, half) = (&findings.evaluations, deadline.half_way());
        let due = self.state.record_evaluations(evaluations, now, retention, half, &mut updates);
        let due = due.await?;

        let mut pending = findings.pending;
        let due = due.into_iter().chain(resolved.iter().map(|it| (it.position, it.alert.clone())));
        pending.extend(due.map(|(position, alert)| self.pending_alert(position, alert)));
        pending.sort_by_key(|pending| pending.position);
        let sent = SendOutcome::of(&pending);
        let beyond = pending.split_off(pending.partition_point(|it| it.position < barrier.end));
        let mut sent = AlertSender::new(self, owner, deadline, sent).send(pending).await?;
        for pending in &beyond {
            sent.record_undelivered(pending);
        }
        let ended = resolved.into_iter().filter(|it| !sent.undelivered.contains(&it.position));
        let ended: Vec<_> = ended.map(|it| it.watched).collect();
        self.state.mark_resolved(&ended, deadline).await;
        sent.undelivered.extend(updates.unconfirmed);
        sent.last_error = sent.last_error.or(updates.last_error);
        sent.rejected.extend(updates.rejected);
        let now = (self.clock)();
        let mut delivery = Delivery { rejected: sent.rejected, ..Delivery::default() };
        batch
            .quarantine_rejected(&mut delivery, &self.quarantine, deadline, now, |record, it| {
                record.reject_event(it)
            })
            .await?;
        sent.undelivered.extend(delivery.undelivered);

        let error = sent.last_error.as_deref();
        let outcome = barrier.outcome(&batch.dispositions, &sent.undelivered, error);
        let extra = json!({
            "messages": sent.messages,
            "digests": sent.digests,
            "held": sent.held_by_others,
            "unsettled": sent.unsettled,
            "windows": updates.marks,
            "seen": updates.seen,
            "unwatched": updates.unwatched,
            "rule_errors": findings.rule_errors,
            "retried": barrier.quarantined.retried + sent.retried,
        });
        let response = batch.finish(&outcome, extra, &self.metrics_log, now);
        self.metrics_log.write_alert_counts(&sent.counts, now);
        if let Some(unwatched) = u64::try_from(updates.unwatched).ok().filter(|it| *it > 0) {
            self.metrics_log.write_total("cardinality", METRIC, unwatched, now);
        }
        Ok(response)
    }

    /// Evaluates the rules on each event of the batch.
    fn evaluate(&self, batch: &mut KinesisBatch<'_>) -> Result<Findings<'_>, Stale> {
        let rules = &self.rules;
        let watching: Vec<_> = rules.iter().filter(|rule| rule.spec.absent.is_some()).collect();
        let mut findings = Findings { is_watching: !watching.is_empty(), ..Findings::default() };
        let mut rule_errors = Vec::new();
        batch.read_events((self.clock)(), &self.known, |context, event| {
            let position = context.position;
            if event.kind == Kind::Reading {
                findings.newest = findings.newest.max(Some(event.received_at));
            }
            for rule in &watching {
                if let Some(watched) = rule.watched_entity(event) {
                    findings.seen_entities.add(position, rule, watched);
                }
            }
            let (verdicts, errors) = rules.evaluate(event);
            for (rule, holds) in verdicts {
                if rule.spec.sustained.is_some() {
                    findings.evaluations.extend(self.state.evaluate(position, rule, event, holds));
                } else if holds {
                    findings.pending.push(self.pending_alert(position, rule.alert(event)));
                }
            }
            rule_errors.extend(errors);
            Ok(Disposition::Delivered)
        })?;
        findings.rule_errors = rule_errors.len();
        if let Some(first) = rule_errors.first() {
            let (rule, message) = (&first.rule, &first.message);
            error!(rule, message, batch.rule_errors = rule_errors.len(), "a rule fails on events");
        }
        Ok(findings)
    }

    /// Records that the function lags, where a rule watches entities and the batch is old.
    async fn record_lag(
        &self,
        findings: &Findings<'_>,
        batch: &KinesisBatch<'_>,
        deadline: Deadline,
    ) {
        let Some(last) = batch.records.last().filter(|_| findings.is_watching) else { return };
        let now = (self.clock)();
        // While the function before this one catches up, its records are new and its readings old.
        let arrived = last.arrival_time();
        let as_of = findings.newest.map_or(arrived, |newest| arrived.min(newest));
        self.state.record_lag(last.shard_id(), as_of, now, deadline).await;
    }

    /// Sends due no-data alerts, which no event can trigger, and then marks them as sent. An alert
    /// in cooldown is postponed to the end of it. One that is not sent for another reason is due in
    /// the next run.
    async fn run_scheduled(&self, owner: &str, deadline: Deadline) -> Result<(), InvocationError> {
        let now = (self.clock)();
        if self.rules.iter().all(|rule| rule.spec.absent.is_none()) {
            return Ok(());
        }
        let groups = groups(self.state.due(&self.rules, now, deadline.half_way()).await?);
        let (half, mut updates) = (deadline.half_way(), StateUpdates::default());
        let in_cooldown = self.state.check_cooldowns(&groups, now, half, &mut updates).await?;
        let is_later = |position: &usize| {
            in_cooldown.contains_key(position) || updates.unconfirmed.contains(position)
        };
        let pending = groups.iter().enumerate();
        let (later, to_send): (Vec<_>, Vec<_>) = pending
            .map(|(index, group)| self.pending_alert(index, group.alert.clone()))
            .partition(|it| is_later(&it.position));

        let sent = SendOutcome::of(to_send.iter().chain(&later));
        // Groups that are due in different cooldowns can share an alert id.
        let alerts: BTreeMap<_, _> =
            to_send.iter().map(|pending| (pending.position, pending.alert.alert_id)).collect();
        let mut sent = AlertSender::new(self, owner, deadline, sent).send(to_send).await?;
        for pending in &later {
            if in_cooldown.contains_key(&pending.position) {
                sent.record(&pending.alert, AlertOutcome::Cooled);
            } else {
                sent.record_undelivered(pending);
            }
        }
        if let Some(reason) = sent.rejected.values().next() {
            // No record made these: sending them again would be refused again.
            error!(reason, silences.refused = sent.rejected.len(), "no-data alerts are refused");
        }
        let unsent: BTreeSet<_> = sent.undelivered.iter().filter_map(|it| alerts.get(it)).collect();
        let notified = alerts.iter().filter(|(_, id)| !unsent.contains(id));
        let notified: Vec<_> =
            notified.flat_map(|(index, _)| groups[*index].entities.clone()).collect();
        let postponed = in_cooldown.iter().flat_map(|(index, until)| {
            groups[*index].entities.iter().map(|watched| (watched.clone(), *until))
        });
        let postponed: Vec<_> = postponed.collect();
        self.state.mark_sent(&notified, deadline).await;
        self.state.postpone(&postponed, self.retention, deadline).await;

        info!(
            silences.told = notified.len(),
            silences.untold = sent.undelivered.len(),
            silences.put_off = postponed.len(),
            "scheduled run of no-data alerts"
        );
        self.metrics_log.write_alert_counts(&sent.counts, (self.clock)());
        let last_error = sent.last_error.or(updates.last_error);
        match last_error.filter(|_| !sent.undelivered.is_empty()) {
            None => Ok(()),
            Some(message) => Err(CallError::retryable(OPERATION, "undelivered", message).into()),
        }
    }

    fn pending_alert(&self, position: usize, alert: Alert) -> PendingAlert {
        PendingAlert { position, retention: alert.cooldown.saturating_add(self.retention), alert }
    }
}
