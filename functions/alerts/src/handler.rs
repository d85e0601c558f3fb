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
use tributary_aws::payload::{BatchResponse, KinesisPayload, is_scheduled};
use tributary_aws::producer::Producer;
use tributary_aws::put::BatchPut;
use tributary_aws::s3::S3;
use tributary_aws::sns::{Notification, Topic};
use tributary_config::{ALERTS, AlertsConfig, PIPELINE, PipelineConfig};
use tributary_model::config_error::ConfigError;
use tributary_model::event::Kind;
use tributary_rules::Severity;
use tributary_rules::alert::{Alert, AlertBooks};

use crate::absent::Sightings;
use crate::config::Config;
use crate::once::{Outbox, Wanted};
use crate::rulebook::{Look, Rulebook};
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
    /// Where those of a severity go that has a topic of its own.
    pub routes: BTreeMap<Severity, Producer<T>>,
    /// Where records that are no events go.
    pub quarantine: Producer<Q>,
    /// The rules in use.
    pub rules: Rulebook,
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
        let specs = PipelineConfig::from_toml(PIPELINE)?.window_specs()?;
        let retention = i64::try_from(config.stream_retention_hours).unwrap_or(i64::MAX / 3_600);
        let retention = SignedDuration::from_secs(retention.saturating_mul(3_600));
        let mut rules =
            Rulebook::from(PipelineConfig::default().rules(&AlertsConfig::from_toml(ALERTS)?)?);
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
            claims: Claimant::new(claims),
            topic: topic(&config.alerts_topic_arn),
            routes: routes.map(|(severity, arn)| (severity, topic(arn))).collect(),
            quarantine: Producer::new(quarantine),
            rules,
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
            self.round(owner, deadline).await?;
            return Ok(BatchResponse::default());
        }
        self.batch(payload, owner, deadline).await
    }

    /// A batch: what rules have to remember is noted first; where that fails the event is reported, and
    /// whoever notes it next finds the same. Each alert is claimed, then published, then noted as sent:
    /// see [`Outbox`]. One that was sent before is done. The earliest record with an alert that is
    /// neither is reported, also where the topic refused it for good: Lambda then parks the record in
    /// the on-failure destination after its retries, and nobody's alert is lost in silence.
    async fn batch(
        &self,
        payload: &str,
        owner: &str,
        deadline: Deadline,
    ) -> Result<BatchResponse, InvocationError> {
        let started = Instant::now();
        let payload = KinesisPayload::from_json(payload)?;
        let (rules, look) = self.rules.current((self.clock)(), deadline).await;
        let (mut wanted, mut signs) = (Vec::new(), Vec::new());
        let mut sightings = Sightings::default();
        let (mut rule_errors, mut newest) = (Vec::new(), None);
        let watching: Vec<_> = rules.iter().filter(|rule| rule.absent().is_some()).collect();
        let (fates, bad_rows) = events::read(&payload.records, (self.clock)(), |place, event| {
            if event.kind == Kind::Reading {
                newest = newest.max(Some(event.received_at));
            }
            for rule in &watching {
                if let Some(watched) = rule.sighting(event) {
                    sightings.add(place.position, rule, watched);
                }
            }
            let (verdicts, errors) = rules.verdicts(event);
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

        // That they came is true, whatever becomes of the batch.
        if let Some(last) = payload.records.last().filter(|_| !watching.is_empty()) {
            let now = (self.clock)();
            // Where the function before this one catches up, its records are young and their
            // readings are not.
            let arrived = last.arrival_time();
            let as_of = newest.map_or(arrived, |newest| arrived.min(newest));
            self.state.note_lag(last.shard_id(), as_of, now, deadline).await;
        }
        let seen = self.state.see(sightings, self.memory, deadline.half_way()).await?;
        let safe = Safe::deliver(&fates, &bad_rows, &self.quarantine, deadline).await?;
        // What follows of windows is found out before anything is told, and in the same order.
        signs.retain(|sign| sign.position < safe.end);
        let expires_at = (self.clock)().checked_add(self.memory).unwrap_or(Timestamp::MAX);
        let noted = self.state.note(&signs, expires_at, deadline.half_way()).await?;
        let due = noted.alerts.into_iter();
        wanted.extend(due.map(|(position, alert)| self.wanted(position, alert)));
        let over: Vec<_> =
            seen.ends.iter().map(|end| (end.position, end.watched.clone())).collect();
        let ends = seen.ends.into_iter();
        wanted.extend(ends.map(|end| self.wanted(end.position, end.alert)));
        wanted.sort_by_key(|wanted| wanted.position);

        let mut books = matched(&wanted);
        let ready = wanted.partition_point(|wanted| wanted.position < safe.end);
        let beyond = wanted.split_off(ready);
        let mut sent = self.outbox(owner, deadline).send(wanted).await?;
        for wanted in &beyond {
            sent.lose(wanted);
        }
        let is_told = |position: &usize| !sent.undelivered.contains(position);
        let over = over.into_iter().filter(|(position, _)| is_told(position));
        let over: Vec<_> = over.map(|(_, watched)| watched).collect();
        self.state.ended(&over, deadline).await;
        sent.undelivered.extend(noted.unknown);
        sent.undelivered.extend(seen.unknown);
        let errors = [noted.last_error, seen.last_error];
        sent.last_error = sent.last_error.or(errors.into_iter().flatten().next());

        let settled = safe.settle(&fates, &sent.undelivered, sent.last_error.as_deref());
        let extra = json!({
            "messages": sent.messages,
            "digests": sent.digests,
            "held": sent.held,
            "unsettled": sent.unsettled,
            "windows": noted.marks,
            "seen": seen.written,
            "rule_errors": rule_errors.len(),
            "retried": safe.quarantined.retried + sent.retried,
        });
        let now = (self.clock)();
        self.journal.batch(&settled.books, &settled.codes, started.elapsed(), extra, now);
        add(&mut books, sent.books);
        self.journal.alerts(&books, now);
        self.told_of(look);
        Ok(fates.response(&settled, &payload.records))
    }

    /// Counts what became of a look at the rules.
    pub(crate) fn told_of(&self, look: Look) {
        if let Some(name) = look.metric() {
            self.journal.counted("rules", name, (self.clock)());
        }
    }

    pub(crate) fn outbox<'a>(&'a self, owner: &'a str, deadline: Deadline) -> Outbox<'a, C, T> {
        let (claims, topic, routes) = (&self.claims, &self.topic, &self.routes);
        Outbox { claims, topic, routes, owner, clock: self.clock, deadline }
    }

    pub(crate) fn wanted(&self, position: usize, alert: Alert) -> Wanted {
        Wanted { position, memory: alert.cooldown.saturating_add(self.memory), alert }
    }
}

/// By rule, how many alerts are wanted.
pub(crate) fn matched<'w>(
    wanted: impl IntoIterator<Item = &'w Wanted>,
) -> BTreeMap<String, AlertBooks> {
    let mut books: BTreeMap<String, AlertBooks> = BTreeMap::new();
    for Wanted { alert, .. } in wanted {
        books.entry(alert.rule.clone()).or_default().matched += alert.events;
    }
    books
}

pub(crate) fn add(books: &mut BTreeMap<String, AlertBooks>, ends: BTreeMap<String, AlertBooks>) {
    for (rule, ends) in ends {
        *books.entry(rule).or_default() += ends;
    }
}
