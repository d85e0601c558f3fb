//! Sending each alert once: claimed, then published, then noted as sent.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;
use tracing::{error, warn};
use tributary_aws::claims::{Claim, Claimant, Claims, Standing};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::producer::{Outbound, Producer};
use tributary_aws::put::BatchPut;
use tributary_aws::sns::{LIMITS, Notification};

/// The most time that a group takes, from its claim to the note that it was sent. An invocation has
/// about three times as much, so that it can wait for what one before it held when it was killed.
const GROUP_TIME: Duration = Duration::from_secs(20);

/// What a lease is longer than the time its group has left: for a call that is under way when that is
/// over, and for clocks that differ.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(10);

/// An alert, and the position of the record it answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Position in the batch.
    pub position: usize,
    /// One alert has one, in whatever records.
    pub alert_id: String,
    /// How long it is to be remembered.
    pub memory: SignedDuration,
    /// What to publish.
    pub notification: Notification,
}

/// What [`Outbox::send`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Positions of alerts that are not known to be sent, in no order.
    pub undelivered: Vec<usize>,
    /// Alerts that the topic took.
    pub published: usize,
    /// Alerts that were sent before, or are twice in the batch.
    pub suppressed: usize,
    /// Alerts that somebody else held until the time was over; of `undelivered`.
    pub held: usize,
    /// Alerts that were published and could not be noted as sent: they may be sent once more.
    pub unsettled: usize,
    /// Entries that were published again.
    pub retried: usize,
    /// What a service said last when it did not take something.
    pub last_error: Option<String>,
}

/// The way of one invocation's alerts to the topic.
#[derive(Clone, Copy, Debug)]
pub struct Outbox<'a, C, T> {
    /// Who sends which alert.
    pub claims: &'a Claimant<C>,
    /// Where alerts go.
    pub topic: &'a Producer<T>,
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

impl<C: Claims, T: BatchPut<Entry = Notification>> Outbox<'_, C, T> {
    /// Sends what was not sent before, in groups of one call to the topic.
    ///
    /// An alert that somebody else holds is neither sent nor done. It is looked at again, at growing
    /// delays, until it is sent, or free because its owner ended before it could send it: a
    /// redelivery would find no more, at once and over and over. So is what a service did not take;
    /// what comes after that waits with it. Where the time is over first, it is undelivered.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] when the table or the topic says that it can never work.
    pub async fn send(&self, mut wanted: Vec<Wanted>) -> Result<Sent, SetUpError> {
        let mut sent = Sent::default();
        let mut ids = BTreeSet::new();
        let all = wanted.len();
        wanted.retain(|wanted| ids.insert(wanted.alert_id.clone()));
        sent.suppressed = all - wanted.len();

        let mut delays = self.claims.delays();
        loop {
            let again = self.pass(wanted.into(), &mut sent).await?;
            let pause = delays.next().map(|delay| self.pause(again.until, delay));
            let is_over = pause.is_none_or(|pause| pause >= self.deadline.remaining());
            if again.alerts.is_empty() || is_over || !sent.undelivered.is_empty() {
                sent.held = again.held;
                sent.undelivered.extend(again.alerts.iter().map(|wanted| wanted.position));
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
        mut wanted: VecDeque<Wanted>,
        sent: &mut Sent,
    ) -> Result<Again, SetUpError> {
        let mut again = Again::default();
        while !wanted.is_empty() && !again.is_stopped {
            let group: Vec<_> = wanted.drain(..wanted.len().min(LIMITS.entries)).collect();
            let until = Deadline::after(self.deadline.remaining().min(GROUP_TIME));
            self.send_group(group, until, sent, &mut again).await?;
        }
        again.alerts.extend(wanted);
        Ok(again)
    }

    /// Claims, publishes, settles: in this order, and nothing that is not claimed. Each step takes
    /// half of the time that is left at most, so that what a step did can be followed by the next.
    async fn send_group(
        &self,
        group: Vec<Wanted>,
        deadline: Deadline,
        sent: &mut Sent,
        again: &mut Again,
    ) -> Result<(), SetUpError> {
        let claims: Vec<_> = group.iter().map(|wanted| self.claim(wanted, deadline)).collect();
        let standings = self.claims.claim(&claims, self.clock, deadline.half_way()).await;

        let (mut claimed, mut outbound, mut loose) = (Vec::new(), Vec::new(), Vec::new());
        let mut set_up = None;
        for ((wanted, claim), standing) in group.into_iter().zip(claims).zip(standings) {
            match standing {
                Ok(Standing::Claimed) => {
                    // Several alerts may be of one record: the topic's answer is for the alert.
                    let entry = wanted.notification.clone();
                    outbound.push(Outbound { position: claimed.len(), entry });
                    claimed.push((wanted, claim));
                }
                Ok(Standing::Sent) => sent.suppressed += 1,
                Ok(Standing::Held { until }) => {
                    again.until = Some(again.until.map_or(until, |soonest| soonest.min(until)));
                    again.held += 1;
                    again.alerts.push(wanted);
                }
                Err(error) => {
                    again.is_stopped = true;
                    again.alerts.push(wanted);
                    // The claim may have been taken.
                    loose.push(claim);
                    sent.last_error = Some(error.to_string());
                    if let CallError::SetUp(error) = error {
                        set_up.get_or_insert(error);
                    }
                }
            }
        }
        if let Some(error) = set_up {
            loose.extend(claimed.into_iter().map(|(_, claim)| claim));
            self.claims.release(&loose, deadline).await;
            return Err(error);
        }

        let (delivery, set_up) = self.topic.attempt(&outbound, deadline.half_way()).await;
        sent.retried += delivery.retried;
        sent.last_error = delivery.last_error.or(sent.last_error.take());

        let mut published = Vec::new();
        for (index, (wanted, claim)) in claimed.into_iter().enumerate() {
            if delivery.undelivered.binary_search(&index).is_err() {
                published.push(claim);
                continue;
            }
            again.is_stopped = true;
            loose.push(claim);
            if delivery.refused.contains(&index) {
                sent.undelivered.push(wanted.position);
            } else {
                again.alerts.push(wanted);
            }
        }
        sent.published += published.len();
        self.settle(&published, deadline, sent).await;
        self.claims.release(&loose, deadline).await;
        set_up.map_or(Ok(()), Err)
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
            alert_id: wanted.alert_id.clone(),
            owner: self.owner.to_owned(),
            lease_until: later(lease),
            expires_at: later(wanted.memory),
        }
    }
}
