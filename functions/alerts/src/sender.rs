//! Sends each alert once: claims it, publishes it, marks it as sent.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tracing::{error, warn};
use tributary_aws::claims::{Claim, ClaimStatus, ClaimStore, RetryingClaims};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::producer::{Delivery, Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::retry::NOT_CALLED;
use tributary_aws::sns::{LIMITS, MAX_MESSAGE_BYTES, Notification};
use tributary_rules::Severity;
use tributary_rules::alert::{Alert, AlertCounts, AlertOutcome, digest};

use crate::message;

/// Maximum time of a group, from its claim to the mark that it was sent. An invocation has about
/// three times as much, so that it can wait for the lease of one that was killed.
const GROUP_TIME: Duration = Duration::from_secs(20);

/// Margin of a lease beyond the time left for its group: for a call in flight when that time ends,
/// and for clocks that differ.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// Alert to send, and the position of the record that waits for it.
#[derive(Clone, Debug)]
pub struct PendingAlert {
    /// Position in the batch.
    pub position: usize,
    /// Retention of its claim.
    pub retention: SignedDuration,
    /// Alert.
    pub alert: Alert,
}

/// Result of [`AlertSender::send`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Positions of alerts that are not known to be sent, in no order.
    pub undelivered: Vec<usize>,
    /// Alert counts by rule. The caller counts `matched`.
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
    pub(crate) fn record(&mut self, alert: &Alert, outcome: AlertOutcome) {
        self.counts.entry(alert.rule.clone()).or_default().record(outcome, alert.events);
    }

    /// Records that an alert is not known to be sent.
    pub fn record_undelivered(&mut self, pending: &PendingAlert) {
        self.undelivered.push(pending.position);
        self.record(&pending.alert, AlertOutcome::Undelivered);
    }
}

/// Sender of one invocation's alerts.
#[derive(Clone, Copy, Debug)]
pub struct AlertSender<'a, C, T> {
    /// Claims of alerts.
    pub claims: &'a RetryingClaims<C>,
    /// Producer of alerts.
    pub topic: &'a Producer<T>,
    /// Producers of the severities that have a topic of their own.
    pub routes: &'a BTreeMap<Severity, Producer<T>>,
    /// Id of the invocation.
    pub owner: &'a str,
    /// Source of the processing time.
    pub clock: fn() -> Timestamp,
    /// Instant by which work stops.
    pub deadline: Deadline,
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
#[derive(Default)]
struct ClaimedMessages {
    claimed: Vec<(PendingAlert, Claim)>,
    /// Messages in the order of `claimed`; alerts after the last range are in none.
    messages: Vec<(Range<usize>, Notification)>,
    /// Number of leading messages that hold one alert each; the others are digests.
    singles: usize,
}

/// Messages left to each rule with more alerts than its `digest` limit.
type DigestBudgets = BTreeMap<String, usize>;

impl<C: ClaimStore, T: BatchPut<Entry = Notification>> AlertSender<'_, C, T> {
    /// Sends the alerts that were not sent before, in groups of one call to the topic. The alerts
    /// of a rule above its `digest` limit form one group, most of them in digests.
    ///
    /// An alert whose lease another sender holds is neither sent nor done. It is retried with
    /// growing delays until it is sent, or until the lease ends because that sender was killed: a
    /// redelivery would find the same, immediately and repeatedly. Alerts that a service did not
    /// accept are retried as well, together with those after them. An alert that is not sent by the
    /// deadline is undelivered, and so is one that the messages of its rule do not hold: the
    /// redelivery makes new messages.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the table or the topic can never work.
    pub async fn send(&self, pending: Vec<PendingAlert>) -> Result<SendOutcome, SetupError> {
        let mut sent = SendOutcome::default();
        let mut pending = distinct(pending);
        let mut digest_budgets = digest_budgets_of(&pending);
        let mut delays = self.claims.delays();
        loop {
            let deferred = self.pass(pending, &mut digest_budgets, &mut sent).await?;
            let pause = delays.next().map(|delay| self.pause(deferred.until, delay));
            let is_timed_out = pause.is_none_or(|pause| pause >= self.deadline.remaining());
            if deferred.alerts.is_empty() || is_timed_out || !sent.undelivered.is_empty() {
                sent.held_by_others = deferred.held_by_others;
                for pending in &deferred.alerts {
                    sent.record_undelivered(pending);
                }
                return Ok(sent);
            }
            sleep(pause.unwrap_or_default()).await;
            pending = deferred.alerts;
        }
    }

    /// Returns the time to the next pass, at the end of a lease at `until` or after `delay`.
    fn pause(&self, until: Option<Timestamp>, delay: Duration) -> Duration {
        let left = until.map(|until| until.duration_since((self.clock)()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        left.map_or(delay, |left| left.min(delay)).max(Duration::from_millis(50))
    }

    /// Sends the alerts in one pass, up to a group that a service did not accept.
    async fn pass(
        &self,
        pending: Vec<PendingAlert>,
        digest_budgets: &mut DigestBudgets,
        sent: &mut SendOutcome,
    ) -> Result<Deferred, SetupError> {
        // One call publishes to one topic.
        let mut by_topic = BTreeMap::<Option<Severity>, Vec<PendingAlert>>::new();
        let mut by_rule = BTreeMap::<String, Vec<PendingAlert>>::new();
        for pending in pending {
            let severity = Some(pending.alert.severity).filter(|it| self.routes.contains_key(it));
            match digest_budgets.get(&pending.alert.rule) {
                None => by_topic.entry(severity).or_default().push(pending),
                Some(0) => sent.record_undelivered(&pending),
                Some(_) => by_rule.entry(pending.alert.rule.clone()).or_default().push(pending),
            }
        }
        let mut deferred = Deferred::default();
        // Highest severity first.
        for queue in by_topic.into_values().rev() {
            let mut queue = queue.into_iter().peekable();
            while queue.peek().is_some() && !deferred.is_stopped {
                let group: Vec<_> = queue.by_ref().take(LIMITS.entries).collect();
                self.send_group(group, None, sent, &mut deferred).await?;
            }
            deferred.alerts.extend(queue);
        }
        for (rule, group) in by_rule {
            if deferred.is_stopped {
                deferred.alerts.extend(group);
            } else {
                self.send_group(group, digest_budgets.get_mut(&rule), sent, &mut deferred).await?;
            }
        }
        Ok(deferred)
    }

    /// Claims, publishes and marks a group as sent, in this order; an unclaimed alert is not
    /// published. The alerts of a group go to one topic. Each step takes half of the time left at
    /// most, so that the next one can complete it.
    async fn send_group(
        &self,
        group: Vec<PendingAlert>,
        messages: Option<&mut usize>,
        sent: &mut SendOutcome,
        deferred: &mut Deferred,
    ) -> Result<(), SetupError> {
        let deadline = Deadline::after(self.deadline.remaining().min(GROUP_TIME));
        let severity = group.first().map(|pending| pending.alert.severity);
        let topic = severity.and_then(|it| self.routes.get(&it)).unwrap_or(self.topic);
        let waiting = deferred.alerts.len();
        let mut to_release = Vec::new();
        let claimed = match self.claim_group(group, deadline, &mut to_release, sent, deferred).await
        {
            Ok(claimed) => claimed,
            Err(error) => {
                self.claims.release(&to_release, deadline).await;
                return Err(error);
            }
        };
        let waiting = deferred.alerts.len() - waiting;
        let mut batch = ClaimedMessages::of(claimed, messages.as_deref().copied(), waiting);

        let (delivery, setup_error) = topic.attempt(&batch.outbound(), deadline.half_way()).await;
        sent.retried += delivery.retried;
        let published = batch.apply_delivery(&delivery, &mut to_release, sent, deferred);
        sent.last_error = delivery.last_error.or(sent.last_error.take());
        if let Some(messages) = messages {
            *messages -= batch.messages.len() - delivery.undelivered.len();
        }
        self.mark_sent(&published, deadline, sent).await;
        self.claims.release(&to_release, deadline).await;
        setup_error.map_or(Ok(()), Err)
    }

    /// Claims the alerts of a group, and returns those that this invocation holds. Claims without
    /// an answer, which may have been taken, go to `to_release`; so do all claims on a setup error.
    async fn claim_group(
        &self,
        group: Vec<PendingAlert>,
        deadline: Deadline,
        to_release: &mut Vec<Claim>,
        sent: &mut SendOutcome,
        deferred: &mut Deferred,
    ) -> Result<Vec<(PendingAlert, Claim)>, SetupError> {
        let claims: Vec<_> = group.iter().map(|pending| self.claim(pending, deadline)).collect();
        let statuses = self.claims.claim(&claims, self.clock, deadline.half_way()).await;

        let (mut claimed, mut setup_error) = (Vec::new(), None);
        for ((pending, claim), status) in group.into_iter().zip(claims).zip(statuses) {
            match status {
                Ok(ClaimStatus::Claimed) => claimed.push((pending, claim)),
                Ok(ClaimStatus::Sent) => sent.record(&pending.alert, AlertOutcome::Cooled),
                Ok(ClaimStatus::HeldByOther { until }) => {
                    deferred.until =
                        Some(deferred.until.map_or(until, |soonest| soonest.min(until)));
                    deferred.held_by_others += 1;
                    deferred.alerts.push(pending);
                }
                Err(error) => {
                    deferred.is_stopped = true;
                    deferred.alerts.push(pending);
                    let is_called =
                        !matches!(&error, CallError::Retryable { code, .. } if code == NOT_CALLED);
                    if is_called {
                        to_release.push(claim);
                    }
                    sent.last_error = Some(error.to_string());
                    if let CallError::Setup(error) = error {
                        setup_error.get_or_insert(error);
                    }
                }
            }
        }
        match setup_error {
            None => Ok(claimed),
            Some(error) => {
                to_release.extend(claimed.into_iter().map(|(_, claim)| claim));
                Err(error)
            }
        }
    }

    /// Marks alerts as sent. They are done even if that fails: a redelivery would send them again.
    async fn mark_sent(&self, published: &[Claim], deadline: Deadline, sent: &mut SendOutcome) {
        let answers = self.claims.mark_sent(published, deadline).await;
        let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        sent.unsettled += errors.len();
        match errors.first() {
            Some(CallError::Setup(error)) => {
                error!(%error, batch.unsettled = errors.len(), "sent alerts cannot be noted");
            }
            Some(error) => {
                let error = error.to_string();
                warn!(error, batch.unsettled = errors.len(), "sent alerts may be sent again");
            }
            None => {}
        }
    }

    /// Returns the claim of an alert, whose group stops at `deadline`.
    fn claim(&self, pending: &PendingAlert, deadline: Deadline) -> Claim {
        let now = (self.clock)();
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
        let singles = alerts[..plan.singles].iter().enumerate();
        let singles = singles.map(|(index, alert)| (index..index + 1, message::of_alert(alert)));
        let digests = plan.digests.iter().filter_map(|digest| {
            let first = alerts.get(digest.alerts.start)?;
            Some((digest.alerts.clone(), message::of_digest(digest, first)))
        });
        let messages = singles.chain(digests).collect();
        Self { messages, singles: plan.singles, claimed }
    }

    /// Returns the messages for the topic; a position is the index of the message.
    fn outbound(&self) -> Vec<Outbound<Notification>> {
        let entries = self.messages.iter().map(|(_, message)| message.clone()).enumerate();
        entries.map(|(position, entry)| Outbound { position, entry }).collect()
    }

    /// Sorts the alerts by the result of their messages, and returns the claims of those published.
    fn apply_delivery(
        &mut self,
        delivery: &Delivery,
        to_release: &mut Vec<Claim>,
        sent: &mut SendOutcome,
        deferred: &mut Deferred,
    ) -> Vec<Claim> {
        let mut published = Vec::new();
        let mut claimed = std::mem::take(&mut self.claimed).into_iter();
        for (index, (alerts, _)) in self.messages.iter().enumerate() {
            let is_digest = index >= self.singles;
            let is_taken = delivery.undelivered.binary_search(&index).is_err();
            let is_refused = delivery.rejected.contains(&index);
            sent.messages += usize::from(is_taken);
            sent.digests += usize::from(is_taken && is_digest);
            deferred.is_stopped |= !is_taken;
            for (pending, claim) in claimed.by_ref().take(alerts.len()) {
                if is_taken {
                    sent.record(
                        &pending.alert,
                        if is_digest { AlertOutcome::Digested } else { AlertOutcome::Sent },
                    );
                    published.push(claim);
                    continue;
                }
                to_release.push(claim);
                if is_refused {
                    sent.record_undelivered(&pending);
                } else {
                    deferred.alerts.push(pending);
                }
            }
        }
        // Alerts that not even the digests hold.
        for (pending, claim) in claimed {
            to_release.push(claim);
            sent.record_undelivered(&pending);
        }
        published
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
