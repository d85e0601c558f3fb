//! Sending each alert once: claimed, then published, then noted as sent.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tracing::{error, warn};
use tributary_aws::claims::{Claim, Claimant, Claims, Standing};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::insist::NOT_CALLED;
use tributary_aws::producer::{Delivery, Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::sns::{LIMITS, Notification};
use tributary_rules::Severity;
use tributary_rules::alert::{Alert, AlertBooks, End, digest};

use crate::message;

/// The most time that a group takes, from its claim to the note that it was sent. An invocation has
/// about three times as much, so that it can wait for what one before it held when it was killed.
const GROUP_TIME: Duration = Duration::from_secs(20);

/// What a lease is longer than the time its group has left: for a call that is under way when that is
/// over, and for clocks that differ.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// An alert, and the position of the record it answers for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Position in the batch.
    pub position: usize,
    /// How long it is to be remembered.
    pub memory: SignedDuration,
    /// What to tell.
    pub alert: Alert,
}

/// What [`Outbox::send`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Positions of alerts that are not known to be sent, in no order.
    pub undelivered: Vec<usize>,
    /// By rule, what became of its alerts. `matched` is for the caller to count.
    pub books: BTreeMap<String, AlertBooks>,
    /// Messages that the topic took.
    pub messages: usize,
    /// Of these, digests.
    pub digests: usize,
    /// Alerts that somebody else held until the time was over; of `undelivered`.
    pub held: usize,
    /// Alerts that were published and could not be noted as sent: they may be sent once more.
    pub unsettled: usize,
    /// Entries that were published again.
    pub retried: usize,
    /// What a service said last when it did not take something.
    pub last_error: Option<String>,
}

impl Sent {
    pub(crate) fn note(&mut self, alert: &Alert, end: End) {
        self.books.entry(alert.rule.clone()).or_default().note(end, alert.events);
    }

    /// Notes that an alert is not known to be told.
    pub fn lose(&mut self, wanted: &Wanted) {
        self.undelivered.push(wanted.position);
        self.note(&wanted.alert, End::Undelivered);
    }
}

/// The way of one invocation's alerts to the topic.
#[derive(Clone, Copy, Debug)]
pub struct Outbox<'a, C, T> {
    /// Who sends which alert.
    pub claims: &'a Claimant<C>,
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
struct Again {
    alerts: Vec<Wanted>,
    /// How many of them somebody else holds.
    held: usize,
    /// When the first that somebody else holds is free.
    until: Option<Timestamp>,
    /// Whether a service did not take the others.
    is_stopped: bool,
}

/// Alerts that are claimed, and the messages that tell them.
#[derive(Default)]
struct Letters {
    claimed: Vec<(Wanted, Claim)>,
    /// In the order of `claimed`; what is after the last one is in none.
    messages: Vec<(Range<usize>, Notification)>,
    /// How many of the messages, the first ones, are of one alert each and no digests.
    alone: usize,
}

/// By rule that has more alerts than a batch may make messages, how many messages it may make still.
type Storms = BTreeMap<String, usize>;

impl<C: Claims, T: BatchPut<Entry = Notification>> Outbox<'_, C, T> {
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
    /// [`SetUpError`] when the table or the topic says that it can never work.
    pub async fn send(&self, wanted: Vec<Wanted>) -> Result<Sent, SetUpError> {
        let mut sent = Sent::default();
        let mut wanted = distinct(wanted);
        let mut storms = storms_of(&wanted);
        let mut delays = self.claims.delays();
        loop {
            let again = self.pass(wanted, &mut storms, &mut sent).await?;
            let pause = delays.next().map(|delay| self.pause(again.until, delay));
            let is_over = pause.is_none_or(|pause| pause >= self.deadline.remaining());
            if again.alerts.is_empty() || is_over || !sent.undelivered.is_empty() {
                sent.held = again.held;
                for wanted in &again.alerts {
                    sent.lose(wanted);
                }
                return Ok(sent);
            }
            sleep(pause.unwrap_or_default()).await;
            wanted = again.alerts;
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
        wanted: Vec<Wanted>,
        storms: &mut Storms,
        sent: &mut Sent,
    ) -> Result<Again, SetUpError> {
        // A call goes to one topic.
        let mut by_topic = BTreeMap::<Option<Severity>, Vec<Wanted>>::new();
        let mut by_rule = BTreeMap::<String, Vec<Wanted>>::new();
        for wanted in wanted {
            let severity = Some(wanted.alert.severity).filter(|it| self.routes.contains_key(it));
            match storms.get(&wanted.alert.rule) {
                None => by_topic.entry(severity).or_default().push(wanted),
                Some(0) => sent.lose(&wanted),
                Some(_) => by_rule.entry(wanted.alert.rule.clone()).or_default().push(wanted),
            }
        }
        let mut again = Again::default();
        // The most urgent first.
        for calm in by_topic.into_values().rev() {
            let mut calm = calm.into_iter().peekable();
            while calm.peek().is_some() && !again.is_stopped {
                let group: Vec<_> = calm.by_ref().take(LIMITS.entries).collect();
                self.send_group(group, None, sent, &mut again).await?;
            }
            again.alerts.extend(calm);
        }
        for (rule, group) in by_rule {
            if again.is_stopped {
                again.alerts.extend(group);
            } else {
                self.send_group(group, storms.get_mut(&rule), sent, &mut again).await?;
            }
        }
        Ok(again)
    }

    /// Claims, publishes, settles: in this order, and nothing that is not claimed. All of a group go to
    /// one topic. Each step takes
    /// half of the time that is left at most, so that what a step did can be followed by the next.
    async fn send_group(
        &self,
        group: Vec<Wanted>,
        messages: Option<&mut usize>,
        sent: &mut Sent,
        again: &mut Again,
    ) -> Result<(), SetUpError> {
        let deadline = Deadline::after(self.deadline.remaining().min(GROUP_TIME));
        let severity = group.first().map(|wanted| wanted.alert.severity);
        let topic = severity.and_then(|it| self.routes.get(&it)).unwrap_or(self.topic);
        let waiting = again.alerts.len();
        let mut loose = Vec::new();
        let claimed = match self.claim_group(group, deadline, &mut loose, sent, again).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.claims.release(&loose, deadline).await;
                return Err(error);
            }
        };
        let waiting = again.alerts.len() - waiting;
        let mut letters = Letters::of(claimed, messages.as_deref().copied(), waiting);

        let (delivery, set_up) = topic.attempt(&letters.outbound(), deadline.half_way()).await;
        sent.retried += delivery.retried;
        let published = letters.settle(&delivery, &mut loose, sent, again);
        sent.last_error = delivery.last_error.or(sent.last_error.take());
        if let Some(messages) = messages {
            *messages -= letters.messages.len() - delivery.undelivered.len();
        }
        self.settle(&published, deadline, sent).await;
        self.claims.release(&loose, deadline).await;
        set_up.map_or(Ok(()), Err)
    }

    /// Claims all of a group; those that are ours. Claims that may have been taken without an answer go
    /// to `loose`, and all of them where the table says that it can never work.
    async fn claim_group(
        &self,
        group: Vec<Wanted>,
        deadline: Deadline,
        loose: &mut Vec<Claim>,
        sent: &mut Sent,
        again: &mut Again,
    ) -> Result<Vec<(Wanted, Claim)>, SetUpError> {
        let claims: Vec<_> = group.iter().map(|wanted| self.claim(wanted, deadline)).collect();
        let standings = self.claims.claim(&claims, self.clock, deadline.half_way()).await;

        let (mut claimed, mut set_up) = (Vec::new(), None);
        for ((wanted, claim), standing) in group.into_iter().zip(claims).zip(standings) {
            match standing {
                Ok(Standing::Claimed) => claimed.push((wanted, claim)),
                Ok(Standing::Sent) => sent.note(&wanted.alert, End::Cooled),
                Ok(Standing::Held { until }) => {
                    again.until = Some(again.until.map_or(until, |soonest| soonest.min(until)));
                    again.held += 1;
                    again.alerts.push(wanted);
                }
                Err(error) => {
                    again.is_stopped = true;
                    again.alerts.push(wanted);
                    let is_called =
                        !matches!(&error, CallError::Plumbing { code, .. } if code == NOT_CALLED);
                    if is_called {
                        loose.push(claim);
                    }
                    sent.last_error = Some(error.to_string());
                    if let CallError::SetUp(error) = error {
                        set_up.get_or_insert(error);
                    }
                }
            }
        }
        match set_up {
            None => Ok(claimed),
            Some(error) => {
                loose.extend(claimed.into_iter().map(|(_, claim)| claim));
                Err(error)
            }
        }
    }

    /// Notes that these were sent. They are done in any case: a redelivery would send them again.
    async fn settle(&self, published: &[Claim], deadline: Deadline, sent: &mut Sent) {
        let answers = self.claims.settle(published, deadline).await;
        let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        sent.unsettled += errors.len();
        match errors.first() {
            Some(CallError::SetUp(error)) => {
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
    fn claim(&self, wanted: &Wanted, deadline: Deadline) -> Claim {
        let now = (self.clock)();
        let left = SignedDuration::try_from(deadline.remaining()).unwrap_or(SignedDuration::MAX);
        let lease = left.saturating_add(LEASE_MARGIN);
        let later = |length| now.checked_add(length).unwrap_or(Timestamp::MAX);
        Claim {
            alert_id: wanted.alert.alert_id.to_string(),
            owner: self.owner.to_owned(),
            lease_until: later(lease),
            expires_at: later(wanted.memory),
        }
    }
}

impl Letters {
    /// The messages for what is `claimed`: one each or, where there may be `messages` of them at most,
    /// digests for what is too much. Where more is `waiting`, one message is kept for it.
    fn of(claimed: Vec<(Wanted, Claim)>, messages: Option<usize>, waiting: usize) -> Self {
        let alerts: Vec<_> = claimed.iter().map(|(wanted, _)| &wanted.alert).collect();
        let most = match messages {
            Some(most) if most > 1 && waiting > 0 && alerts.len() + waiting > most => most - 1,
            Some(most) => most,
            None => alerts.len(),
        };
        let plan = digest::plan(&alerts, most);
        let alone = alerts[..plan.alone].iter().enumerate();
        let alone = alone.map(|(index, alert)| (index..index + 1, message::of_alert(alert)));
        let digests = plan.digests.iter().filter_map(|digest| {
            let first = alerts.get(digest.alerts.start)?;
            Some((digest.alerts.clone(), message::of_digest(digest, first)))
        });
        let messages = alone.chain(digests).collect();
        Self { messages, alone: plan.alone, claimed }
    }

    /// What goes to the topic; a position is the number of the message.
    fn outbound(&self) -> Vec<Outbound<Notification>> {
        let entries = self.messages.iter().map(|(_, message)| message.clone()).enumerate();
        entries.map(|(position, entry)| Outbound { position, entry }).collect()
    }

    /// Sorts the alerts by what became of their messages; the claims of those that are told.
    fn settle(
        &mut self,
        delivery: &Delivery,
        loose: &mut Vec<Claim>,
        sent: &mut Sent,
        again: &mut Again,
    ) -> Vec<Claim> {
        let mut published = Vec::new();
        let mut claimed = std::mem::take(&mut self.claimed).into_iter();
        for (index, (alerts, _)) in self.messages.iter().enumerate() {
            let is_digest = index >= self.alone;
            let is_taken = delivery.undelivered.binary_search(&index).is_err();
            let is_refused = delivery.refused.contains(&index);
            sent.messages += usize::from(is_taken);
            sent.digests += usize::from(is_taken && is_digest);
            again.is_stopped |= !is_taken;
            for (wanted, claim) in claimed.by_ref().take(alerts.len()) {
                if is_taken {
                    sent.note(&wanted.alert, if is_digest { End::Digested } else { End::Sent });
                    published.push(claim);
                    continue;
                }
                loose.push(claim);
                if is_refused {
                    sent.lose(&wanted);
                } else {
                    again.alerts.push(wanted);
                }
            }
        }
        // What even digests do not hold.
        for (wanted, claim) in claimed {
            loose.push(claim);
            sent.lose(&wanted);
        }
        published
    }
}

/// One of each alert, at the position of its first event.
fn distinct(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut places = HashMap::new();
    let mut distinct: Vec<Wanted> = Vec::new();
    for wanted in wanted {
        let place = *places.entry(wanted.alert.alert_id).or_insert(distinct.len());
        match distinct.get_mut(place) {
            Some(first) => first.alert.merge(&wanted.alert),
            None => distinct.push(wanted),
        }
    }
    distinct
}

fn storms_of(wanted: &[Wanted]) -> Storms {
    let mut alerts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for Wanted { alert, .. } in wanted {
        alerts.entry(&alert.rule).or_insert((0, alert.digest)).0 += 1;
    }
    let too_many = alerts.into_iter().filter(|(_, (alerts, messages))| alerts > messages);
    too_many.map(|(rule, (_, messages))| (rule.to_owned(), messages)).collect()
}
