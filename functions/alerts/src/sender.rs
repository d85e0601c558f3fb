//! Sends each alert once: claims it, publishes it, marks it as sent.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tracing::{error, warn};
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::producer::{Delivery, Outbound};
use tributary_aws::put::BatchPut;
use tributary_aws::retry::NOT_CALLED;
use tributary_aws::sns::{LIMITS, MAX_MESSAGE_BYTES, Notification};
use tributary_rules::Severity;
use tributary_rules::alert::{Alert, AlertCounts, AlertOutcome, digest};

use crate::handler::Alerts;

/// Maximum time of a group, from its claim to the mark that it was sent. An invocation has about
/// three times as much, so that it can wait for the lease of one that was killed.
const GROUP_TIME: Duration = Duration::from_secs(20);

/// Margin of a lease beyond the time left for its group: for a call in flight when that time ends,
/// and for clocks that differ.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// Alert to send, and the position of the record that waits for it.
#[derive(Clone, Debug)]
pub(crate) struct PendingAlert {
    /// Position in the batch.
    pub position: usize,
    /// Retention of its claim.
    pub retention: SignedDuration,
    /// Alert.
    pub alert: Alert,
}

/// Result of [`AlertSender::send`].
#[derive(Debug, Default)]
pub(crate) struct SendOutcome {
    /// Positions of alerts that are not known to be sent, in no order.
    pub undelivered: Vec<usize>,
    /// Positions of alerts that a service rejected for what they contain, with its reasons.
    pub rejected: BTreeMap<usize, String>,
    /// Alert counts by rule.
    pub counts: BTreeMap<String, AlertCounts>,
    /// Messages that the topic accepted.
    pub messages: usize,
    /// Digests among these.
    pub digests: usize,
    /// Alerts of `undelivered` whose lease another sender held until the deadline.
    pub held_by_others: usize,
    /// Alerts that were published but not marked as sent: they may be sent again.
    pub unsettled: usize,
    /// Retried entries.
    pub retried: usize,
    /// Last error of a service.
    pub last_error: Option<String>,
}

impl SendOutcome {
    /// Counts the matches of each rule, before their alerts are sent.
    pub(crate) fn of<'p>(pending: impl IntoIterator<Item = &'p PendingAlert>) -> Self {
        let mut sent = Self::default();
        for PendingAlert { alert, .. } in pending {
            sent.counts.entry(alert.rule.clone()).or_default().matched += alert.events;
        }
        sent
    }

    pub(crate) fn record(&mut self, alert: &Alert, outcome: AlertOutcome) {
        self.counts.entry(alert.rule.clone()).or_default().record(outcome, alert.events);
    }

    /// Records that a service rejects an alert for what it contains.
    fn record_rejected(&mut self, pending: &PendingAlert, reason: &str) {
        self.rejected.insert(pending.position, reason.to_owned());
        self.record(&pending.alert, AlertOutcome::Refused);
    }

    /// Records that an alert is not known to be sent.
    pub(crate) fn record_undelivered(&mut self, pending: &PendingAlert) {
        self.undelivered.push(pending.position);
        self.record(&pending.alert, AlertOutcome::Undelivered);
    }
}

/// Sender of one invocation's alerts.
pub(crate) struct AlertSender<'a, C, S, T, Q> {
    function: &'a Alerts<C, S, T, Q>,
    /// Id of the invocation.
    owner: &'a str,
    /// Instant by which work stops.
    deadline: Deadline,
    sent: SendOutcome,
    deferred: Deferred,
    /// Claims of alerts that were not published, and claims without an answer.
    to_release: Vec<Claim>,
}

/// Alerts that a pass left to send.
#[derive(Default)]
struct Deferred {
    alerts: Vec<PendingAlert>,
    /// Number of them whose lease another sender holds.
    held_by_others: usize,
    /// Earliest end of these leases.
    until: Option<Timestamp>,
    /// True if a service did not accept the others.
    is_stopped: bool,
}

/// Claimed alerts, and their messages.
struct ClaimedMessages {
    claimed: Vec<(PendingAlert, Claim)>,
    /// Messages; a position is the index of the message.
    messages: Vec<Outbound<Notification>>,
    /// Number of alerts in each message, in the order of `claimed`; later alerts are in none.
    sizes: Vec<usize>,
    /// Number of leading messages that hold one alert each; the others are digests.
    singles: usize,
}

/// Messages left to each rule with more alerts than its `digest` limit.
type DigestBudgets = BTreeMap<String, usize>;

impl<'a, C, S, T, Q> AlertSender<'a, C, S, T, Q>
where
    C: ClaimStore,
    T: BatchPut<Entry = Notification>,
{
    pub(crate) fn new(
        function: &'a Alerts<C, S, T, Q>,
        owner: &'a str,
        deadline: Deadline,
        sent: SendOutcome,
    ) -> Self {
        let (deferred, to_release) = Default::default();
        Self { function, owner, deadline, sent, deferred, to_release }
    }

    /// Sends the alerts that were not sent before, in groups of one call to the topic. The alerts
    /// of a rule above its `digest` limit form one group, most of them in digests.
    ///
    /// An alert whose lease another sender holds is neither sent nor done. It is retried with
    /// growing delays until it is sent, or until the lease ends because that sender was killed: a
    /// redelivery would find the same, immediately and repeatedly. Alerts that a service did not
    /// accept are retried as well, together with those after them. One that a service rejects for
    /// what it contains is not retried. An alert that is not sent by the
    /// deadline is undelivered, and so is one that the messages of its rule do not hold: the
    /// redelivery makes new messages.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the table or the topic can never work.
    pub(crate) async fn send(
        mut self,
        pending: Vec<PendingAlert>,
    ) -> Result<SendOutcome, SetupError> {
        let mut pending = distinct(pending);
        let mut digest_budgets = digest_budgets_of(&pending);
        let mut delays = self.function.claims.delays();
        loop {
            self.pass(pending, &mut digest_budgets).await?;
            let deferred = std::mem::take(&mut self.deferred);
            let pause = delays.next().map(|delay| self.pause(deferred.until, delay));
            let is_timed_out = pause.is_none_or(|pause| pause >= self.deadline.remaining());
            if deferred.alerts.is_empty() || is_timed_out || !self.sent.undelivered.is_empty() {
                self.sent.held_by_others = deferred.held_by_others;
                for pending in &deferred.alerts {
                    self.sent.record_undelivered(pending);
                }
                return Ok(self.sent);
            }
            sleep(pause.unwrap_or_default()).await;
            pending = deferred.alerts;
        }
    }

    /// Returns the time to the next pass, at the end of a lease at `until` or after `delay`.
    fn pause(&self, until: Option<Timestamp>, delay: Duration) -> Duration {
        let left = until.map(|until| until.duration_since((self.function.clock)()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        left.map_or(delay, |left| left.min(delay)).max(Duration::from_millis(50))
    }

    /// Sends the alerts in one pass, up to a group that a service did not accept.
    async fn pass(
        &mut self,
        pending: Vec<PendingAlert>,
        digest_budgets: &mut DigestBudgets,
    ) -> Result<(), SetupError> {
        // One call publishes to one topic.
        let mut by_topic = BTreeMap::<Option<Severity>, Vec<PendingAlert>>::new();
        let mut by_rule = BTreeMap::<String, Vec<PendingAlert>>::new();
        let routes = &self.function.routes;
        for pending in pending {
            let severity = Some(pending.alert.severity).filter(|it| routes.contains_key(it));
            match digest_budgets.get(&pending.alert.rule) {
                None => by_topic.entry(severity).or_default().push(pending),
                Some(0) => self.sent.record_undelivered(&pending),
                Some(_) => by_rule.entry(pending.alert.rule.clone()).or_default().push(pending),
            }
        }
        // Highest severity first.
        for queue in by_topic.into_values().rev() {
            let mut queue = queue.into_iter().peekable();
            while queue.peek().is_some() {
                let group = queue.by_ref().take(LIMITS.entries).collect();
                self.send_group(group, None).await?;
            }
        }
        for (rule, group) in by_rule {
            self.send_group(group, digest_budgets.get_mut(&rule)).await?;
        }
        Ok(())
    }

    /// Claims, publishes and marks a group as sent, in this order; an unclaimed alert is not
    /// published. The alerts of a group go to one topic. Each step takes half of the time left at
    /// most, so that the next one can complete it. After a group that a service did not accept, the
    /// others are deferred.
    async fn send_group(
        &mut self,
        group: Vec<PendingAlert>,
        messages: Option<&mut usize>,
    ) -> Result<(), SetupError> {
        if self.deferred.is_stopped {
            self.deferred.alerts.extend(group);
            return Ok(());
        }
        let Alerts { claims, topic, routes, .. } = self.function;
        let deadline = Deadline::after(self.deadline.remaining().min(GROUP_TIME));
        let severity = group.first().map(|pending| pending.alert.severity);
        let topic = severity.and_then(|it| routes.get(&it)).unwrap_or(topic);
        let waiting = self.deferred.alerts.len();
        let (claimed, claim_error) = self.claim_group(group, deadline).await;
        let waiting = self.deferred.alerts.len() - waiting;
        let batch = ClaimedMessages::of(claimed, messages.as_deref().copied(), waiting);

        let (delivery, setup_error) = topic.attempt(&batch.messages, deadline.half_way()).await;
        self.sent.retried += delivery.retried;
        if let Some(messages) = messages {
            *messages -= batch.messages.len() - delivery.undelivered.len();
        }
        let published = self.apply_delivery(batch, &delivery);
        self.sent.last_error = delivery.last_error.or(self.sent.last_error.take());
        self.mark_sent(&published, deadline).await;
        claims.release(&std::mem::take(&mut self.to_release), deadline).await;
        claim_error.or(setup_error).map_or(Ok(()), Err)
    }

    /// Claims the alerts of a group, and returns those that this invocation holds: none on a setup
    /// error. Claims without an answer may have been taken: they are released.
    async fn claim_group(
        &mut self,
        group: Vec<PendingAlert>,
        deadline: Deadline,
    ) -> (Vec<(PendingAlert, Claim)>, Option<SetupError>) {
        let claims: Vec<_> = group.iter().map(|pending| self.claim(pending, deadline)).collect();
        let Alerts { claims: store, clock, .. } = self.function;
        let statuses = store.claim(&claims, *clock, deadline.half_way()).await;

        let (mut claimed, mut setup_error) = (Vec::new(), None);
        let deferred = &mut self.deferred;
        for ((pending, claim), status) in group.into_iter().zip(claims).zip(statuses) {
            match status {
                Ok(ClaimStatus::Claimed) => claimed.push((pending, claim)),
                Ok(ClaimStatus::Sent) => self.sent.record(&pending.alert, AlertOutcome::Cooled),
                Ok(ClaimStatus::HeldByOther { until }) => {
                    deferred.until = deferred.until.into_iter().chain([until]).min();
                    deferred.held_by_others += 1;
                    deferred.alerts.push(pending);
                }
                Err(error @ CallError::Refused { .. }) => {
                    self.sent.record_rejected(&pending, &error.to_string());
                }
                Err(error) => {
                    deferred.is_stopped = true;
                    deferred.alerts.push(pending);
                    if !matches!(&error, CallError::Retryable { code, .. } if code == NOT_CALLED) {
                        self.to_release.push(claim);
                    }
                    self.sent.last_error = Some(error.to_string());
                    if let CallError::Setup(error) = error {
                        setup_error.get_or_insert(error);
                    }
                }
            }
        }
        if setup_error.is_some() {
            self.to_release.extend(claimed.drain(..).map(|(_, claim)| claim));
        }
        (claimed, setup_error)
    }

    /// Sorts the alerts by the result of their messages, and returns the claims of those published.
    fn apply_delivery(&mut self, batch: ClaimedMessages, delivery: &Delivery) -> Vec<Claim> {
        let (sent, deferred) = (&mut self.sent, &mut self.deferred);
        let mut published = Vec::new();
        let mut claimed = batch.claimed.into_iter();
        for (index, size) in batch.sizes.into_iter().enumerate() {
            let is_digest = index >= batch.singles;
            let is_taken = delivery.undelivered.binary_search(&index).is_err();
            let rejected = delivery.rejected.get(&index);
            sent.messages += usize::from(is_taken);
            sent.digests += usize::from(is_taken && is_digest);
            // A digest is many alerts: the next delivery makes another one of them.
            let rejected = rejected.filter(|_| !is_digest);
            deferred.is_stopped |= !is_taken && rejected.is_none();
            let outcome = if is_digest { AlertOutcome::Digested } else { AlertOutcome::Sent };
            for (pending, claim) in claimed.by_ref().take(size) {
                if is_taken {
                    sent.record(&pending.alert, outcome);
                    published.push(claim);
                    continue;
                }
                self.to_release.push(claim);
                match rejected {
                    Some(reason) => sent.record_rejected(&pending, reason),
                    None if delivery.rejected.contains_key(&index) => {
                        sent.record_undelivered(&pending);
                    }
                    None => deferred.alerts.push(pending),
                }
            }
        }
        // Alerts that not even the digests hold.
        for (pending, claim) in claimed {
            self.to_release.push(claim);
            sent.record_undelivered(&pending);
        }
        published
    }

    /// Marks alerts as sent. They are done even if that fails: a redelivery would send them again.
    async fn mark_sent(&mut self, published: &[Claim], deadline: Deadline) {
        let answers = self.function.claims.mark_sent(published, deadline).await;
        let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        self.sent.unsettled += errors.len();
        match errors.first() {
            Some(CallError::Setup(error)) => {
                error!(%error, batch.unsettled = errors.len(), "alerts cannot be marked as sent");
            }
            Some(error) => {
                warn!(%error, batch.unsettled = errors.len(), "sent alerts may be sent again");
            }
            None => {}
        }
    }

    /// Returns the claim of an alert, whose group stops at `deadline`.
    fn claim(&self, pending: &PendingAlert, deadline: Deadline) -> Claim {
        let now = (self.function.clock)();
        let left = SignedDuration::try_from(deadline.remaining()).unwrap_or(SignedDuration::MAX);
        let lease = left.saturating_add(LEASE_MARGIN);
        let later = |length| now.checked_add(length).unwrap_or(Timestamp::MAX);
        Claim {
            alert_id: pending.alert.alert_id.to_string(),
            owner: self.owner.to_owned(),
            lease_until: later(lease),
            expires_at: later(pending.retention),
        }
    }
}

impl ClaimedMessages {
    /// Makes the messages of the `claimed` alerts: one each or, with a maximum of `messages`,
    /// digests for the excess. One message is kept back where more alerts are `waiting`.
    fn of(claimed: Vec<(PendingAlert, Claim)>, messages: Option<usize>, waiting: usize) -> Self {
        let alerts: Vec<_> = claimed.iter().map(|(pending, _)| &pending.alert).collect();
        let max = match messages {
            Some(max) if max > 1 && waiting > 0 && alerts.len() + waiting > max => max - 1,
            Some(max) => max,
            None => alerts.len(),
        };
        let plan = digest::plan(&alerts, max, MAX_MESSAGE_BYTES);
        let singles = alerts[..plan.singles].iter().map(|alert| (1, of_alert(alert)));
        let digests = plan.digests.into_iter().map(|digest| {
            let first = alerts[digest.alerts.start];
            let message = notification(first, "digest", &digest.title, digest.message);
            (digest.alerts.len(), message)
        });
        let messages = singles.chain(digests).enumerate();
        let (sizes, messages) =
            messages.map(|(position, (size, entry))| (size, Outbound { position, entry })).unzip();
        Self { messages, sizes, singles: plan.singles, claimed }
    }
}

/// Returns the message of one alert.
fn of_alert(alert: &Alert) -> Notification {
    notification(alert, alert.status.as_str(), &alert.title, alert.message.clone())
}

/// Returns a message about `alert` or about several like it, with the attributes that subscribers
/// filter by.
fn notification(alert: &Alert, form: &str, title: &str, message: String) -> Notification {
    Notification {
        subject: Notification::subject_of(title),
        message,
        attributes: vec![
            ("severity", alert.severity.as_str().to_owned()),
            ("dataset", alert.dataset.clone()),
            ("rule", alert.rule.clone()),
            ("form", form.to_owned()),
        ],
    }
}

/// Merges equal alerts, at the position of the first.
fn distinct(pending: Vec<PendingAlert>) -> Vec<PendingAlert> {
    let mut places = HashMap::new();
    let mut distinct: Vec<PendingAlert> = Vec::new();
    for pending in pending {
        let place = *places.entry(pending.alert.alert_id).or_insert(distinct.len());
        match distinct.get_mut(place) {
            Some(first) => first.alert.merge(&pending.alert),
            None => distinct.push(pending),
        }
    }
    distinct
}

fn digest_budgets_of(pending: &[PendingAlert]) -> DigestBudgets {
    let mut alerts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for PendingAlert { alert, .. } in pending {
        alerts.entry(&alert.rule).or_insert((0, alert.digest)).0 += 1;
    }
    let too_many = alerts.into_iter().filter(|(_, (alerts, messages))| alerts > messages);
    too_many.map(|(rule, (_, messages))| (rule.to_owned(), messages)).collect()
}
