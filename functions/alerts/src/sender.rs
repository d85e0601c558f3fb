//! Sending each alert once: claimed, then published, then noted as sent.

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

/// The most time that a group takes, from its claim to the note that it was sent. An invocation has
/// about three times as much, so that it can wait for what one before it held when it was killed.
const GROUP_TIME: Duration = Duration::from_secs(20);

/// What a lease is longer than the time its group has left: for a call that is under way when that is
/// over, and for clocks that differ.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// An alert, and the position of the record it answers for.
#[derive(Clone, Debug)]
pub struct PendingAlert {
    /// Position in the batch.
    pub position: usize,
    /// How long it is to be remembered.
    pub retention: SignedDuration,
    /// What to tell.
    pub alert: Alert,
}

/// What [`AlertSender::send`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendOutcome {
    /// Positions of alerts that are not known to be sent, in no order.
    pub undelivered: Vec<usize>,
    /// By rule, what became of its alerts. `matched` is for the caller to count.
    pub counts: BTreeMap<String, AlertCounts>,
    /// Messages that the topic took.
    pub messages: usize,
    /// Of these, digests.
    pub digests: usize,
    /// Alerts that somebody else held until the time was over; of `undelivered`.
    pub held_by_others: usize,
    /// Alerts that were published and could not be noted as sent: they may be sent once more.
    pub unsettled: usize,
    /// Entries that were published again.
    pub retried: usize,
    /// What a service said last when it did not take something.
    pub last_error: Option<String>,
}

impl SendOutcome {
    pub(crate) fn record(&mut self, alert: &Alert, outcome: AlertOutcome) {
        self.counts.entry(alert.rule.clone()).or_default().record(outcome, alert.events);
    }

    /// Notes that an alert is not known to be told.
    pub fn record_undelivered(&mut self, pending: &PendingAlert) {
        self.undelivered.push(pending.position);
        self.record(&pending.alert, AlertOutcome::Undelivered);
    }
}

/// The way of one invocation's alerts to the topic.
#[derive(Clone, Copy, Debug)]
pub struct AlertSender<'a, C, T> {
    /// Who sends which alert.
    pub claims: &'a RetryingClaims<C>,
    /// Where alerts go.
    pub topic: &'a Producer<T>,
    /// Where those of a severity go that has a topic of its own.
    pub routes: &'a BTreeMap<Severity, Producer<T>>,
    /// The name of the invocation.
    pub owner: &'a str,
    /// The time of day.
    pub clock: fn() -> Timestamp,
    /// When to stop.
    pub deadline: Deadline,
}

/// Alerts that are still to be sent.
#[derive(Default)]
struct Deferred {
    alerts: Vec<PendingAlert>,
    /// How many of them somebody else holds.
    held_by_others: usize,
    /// When the first that somebody else holds is free.
    until: Option<Timestamp>,
    /// Whether a service did not take the others.
    is_stopped: bool,
}

/// Alerts that are claimed, and the messages that tell them.
#[derive(Default)]
struct ClaimedMessages {
    claimed: Vec<(PendingAlert, Claim)>,
    /// In the order of `claimed`; what is after the last one is in none.
    messages: Vec<(Range<usize>, Notification)>,
    /// How many of the messages, the first ones, are of one alert each and no digests.
    singles: usize,
}

/// By rule that has more alerts than a batch may make messages, how many messages it may make still.
type DigestBudgets = BTreeMap<String, usize>;

impl<C: ClaimStore, T: BatchPut<Entry = Notification>> AlertSender<'_, C, T> {
    /// Sends what was not sent before: in groups of one call to the topic, and those of a rule that has
    /// more than its messages all together, the most of them in digests.
    ///
    /// An alert that somebody else holds is neither sent nor done. It is looked at again, at growing
    /// delays, until it is sent, or free because its owner ended before it could send it: a
    /// redelivery would find no more, at once and over and over. So is what a service did not take;
    /// what comes after that waits with it. Where the time is over first, it is undelivered. So is what
    /// the messages of its rule do not hold: the redelivery makes new ones.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the table or the topic says that it can never work.
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

    /// Until the next look at what may be sent any moment, and is free at `until`.
    fn pause(&self, until: Option<Timestamp>, delay: Duration) -> Duration {
        let left = until.map(|until| until.duration_since((self.clock)()));
        let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
        left.map_or(delay, |left| left.min(delay)).max(Duration::from_millis(50))
    }

    /// Goes through the alerts once, up to a group that a service did not take.
    async fn pass(
        &self,
        pending: Vec<PendingAlert>,
        digest_budgets: &mut DigestBudgets,
        sent: &mut SendOutcome,
    ) -> Result<Deferred, SetupError> {
        // A call goes to one topic.
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
        // The most urgent first.
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

    /// Claims, publishes, settles: in this order, and nothing that is not claimed. All of a group go to
    /// one topic. Each step takes
    /// half of the time that is left at most, so that what a step did can be followed by the next.
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

    /// Claims all of a group; those that are ours. Claims that may have been taken without an answer go
    /// to `loose`, and all of them where the table says that it can never work.
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

    /// Notes that these were sent. They are done in any case: a redelivery would send them again.
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

    /// The claim of one who stops at `deadline`.
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
    /// The messages for what is `claimed`: one each or, where there may be `messages` of them at most,
    /// digests for what is too much. Where more is `waiting`, one message is kept for it.
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

    /// What goes to the topic; a position is the number of the message.
    fn outbound(&self) -> Vec<Outbound<Notification>> {
        let entries = self.messages.iter().map(|(_, message)| message.clone()).enumerate();
        entries.map(|(position, entry)| Outbound { position, entry }).collect()
    }

    /// Sorts the alerts by what became of their messages; the claims of those that are told.
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
        // What even digests do not hold.
        for (pending, claim) in claimed {
            to_release.push(claim);
            sent.record_undelivered(&pending);
        }
        published
    }
}

/// One of each alert, at the position of its first event.
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
