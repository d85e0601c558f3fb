//! A round of the schedule: silences that are due are told, once in each cooldown of their key.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tracing::info;
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::claims::ClaimStore;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError, SetupError};
use tributary_aws::put::BatchPut;
use tributary_aws::retry::run_concurrently;
use tributary_aws::sns::Notification;
use tributary_rules::Rule;
use tributary_rules::alert::{Alert, AlertOutcome};
use tributary_rules::no_data::{CooldownPeriod, WatchedEntity};

use crate::handler::{Alerts, add_counts, matched_counts};
use crate::rule_state::RuleState;

/// Shortest time for which a counted silence is kept.
const MIN_COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// Silences that are one alert: they have the key, and the cooldown that they are due in, in common.
#[derive(Debug)]
struct Group<'r> {
    rule: &'r Rule,
    /// That of the one that has lasted longest.
    alert: Alert,
    /// Where it is counted, of which one is told.
    cooldown_period: Option<CooldownPeriod>,
    entities: Vec<WatchedEntity>,
}

/// What the silences of a round come to before any is told.
#[derive(Debug, Default)]
struct CooldownCheck {
    /// Groups that are not told now, each with the end of its cooldown.
    postponed: Vec<(usize, Timestamp)>,
    /// Groups of which it is not known.
    unconfirmed: BTreeSet<usize>,
    last_error: Option<String>,
}

impl<C, S, T, Q> Alerts<C, S, T, Q>
where
    C: ClaimStore,
    S: AlertState,
    T: BatchPut<Entry = Notification>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// What the schedule is for: nobody sends an event that says that there is none. Silences that are
    /// due are told as alerts are and then noted as told. What a cooldown keeps from being told is due
    /// when that is over; what is not told for any other reason is due in the next round.
    pub(crate) async fn run_scheduled(
        &self,
        owner: &str,
        deadline: Deadline,
    ) -> Result<(), InvocationError> {
        let now = (self.clock)();
        let (rules, refresh) = self.rules.current(now, deadline).await;
        self.count_refresh(refresh);
        if rules.iter().all(|rule| rule.absent().is_none()) {
            return Ok(());
        }
        let groups = groups(self.state.due(&rules, now, deadline.half_way()).await?);
        let in_cooldown = self.state.check_cooldowns(&groups, now, deadline.half_way()).await?;
        let is_postponed: BTreeSet<_> =
            in_cooldown.postponed.iter().map(|(index, _)| *index).collect();
        let pending = groups.iter().enumerate();
        let (to_send, later): (Vec<_>, Vec<_>) = pending
            .map(|(index, group)| self.pending_alert(index, group.alert.clone()))
            .partition(|it| {
                !is_postponed.contains(&it.position)
                    && !in_cooldown.unconfirmed.contains(&it.position)
            });

        let mut counts = matched_counts(to_send.iter().chain(&later));
        // Groups that are due in different cooldowns can share an alert id.
        let alerts: BTreeMap<_, _> =
            to_send.iter().map(|pending| (pending.position, pending.alert.alert_id)).collect();
        let mut sent = self.sender(owner, deadline).send(to_send).await?;
        for pending in &later {
            if is_postponed.contains(&pending.position) {
                sent.record(&pending.alert, AlertOutcome::Cooled);
            } else {
                sent.record_undelivered(pending);
            }
        }
        let ids = |position: &usize| alerts.get(position);
        let unsent: BTreeSet<_> = sent.undelivered.iter().filter_map(ids).collect();
        let (mut notified, mut postponed) = (Vec::new(), Vec::new());
        for (index, _) in alerts.iter().filter(|(_, id)| !unsent.contains(id)) {
            notified
                .extend(groups.get(*index).into_iter().flat_map(|group| group.entities.clone()));
        }
        for (index, until) in &in_cooldown.postponed {
            postponed.extend(groups.get(*index).into_iter().flat_map(|group| group.until(*until)));
        }
        self.state.mark_sent(&notified, deadline).await;
        self.state.postpone(&postponed, self.retention, deadline).await;

        let (notified, unsent, postponed) =
            (notified.len(), sent.undelivered.len(), postponed.len());
        let names = "a round of silences";
        info!(
            silences.told = notified,
            silences.untold = unsent,
            silences.put_off = postponed,
            "{names}"
        );
        add_counts(&mut counts, sent.counts);
        self.metrics_log.write_alert_counts(&counts, (self.clock)());
        let last_error = sent.last_error.or(in_cooldown.last_error);
        match last_error.filter(|_| unsent > 0) {
            None => Ok(()),
            Some(message) => {
                let code = "undelivered".to_owned();
                Err(CallError::Retryable { operation: OPERATION, code, message }.into())
            }
        }
    }
}

impl<S: AlertState> RuleState<S> {
    /// Counts silences in their cooldowns: one that is not the first there is told when that is over, if
    /// it lasts so long.
    async fn check_cooldowns(
        &self,
        groups: &[Group<'_>],
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<CooldownCheck, SetupError> {
        let cooldown_period = groups.iter().enumerate();
        let cooldown_period = cooldown_period
            .filter_map(|(index, it)| Some((index, it, it.cooldown_period.as_ref()?)));
        let cooldown_period: Vec<_> = cooldown_period.collect();
        let answers = run_concurrently(&cooldown_period, |&(_, group, cooldown_period)| {
            let retention = group.rule.cooldown().saturating_mul(2).max(MIN_COUNTED);
            let expires_at = now.checked_add(retention).unwrap_or(Timestamp::MAX);
            self.retry
                .call(deadline, move || self.store.raise_mark(&cooldown_period.mark, expires_at))
        });
        let mut in_cooldown = CooldownCheck::default();
        for ((index, group, cooldown_period), answer) in cooldown_period.iter().zip(answers.await) {
            match answer {
                Ok(marks) => {
                    let first =
                        group.rule.alert_in_cooldown(&group.alert.key, cooldown_period, &marks);
                    in_cooldown.postponed.extend(first.map(|_| (*index, cooldown_period.end)));
                }
                Err(CallError::Setup(error)) => return Err(error),
                Err(error) => {
                    in_cooldown.unconfirmed.insert(*index);
                    in_cooldown.last_error = Some(error.to_string());
                }
            }
        }
        Ok(in_cooldown)
    }
}

impl Group<'_> {
    fn until(&self, until: Timestamp) -> impl Iterator<Item = (WatchedEntity, Timestamp)> {
        self.entities.iter().map(move |watched| (watched.clone(), until))
    }
}

/// The silences that are one alert together, those that have lasted longest first.
fn groups(mut due: Vec<(&Rule, WatchedEntity)>) -> Vec<Group<'_>> {
    due.sort_by(|(_, one), (_, other)| {
        (one.last_seen, &one.item).cmp(&(other.last_seen, &other.item))
    });
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (rule, watched) in due {
        let alert = rule.no_data_alert(&watched);
        let cooldown_period = rule.cooldown_period(&watched);
        let name =
            cooldown_period.as_ref().map(|cooldown_period| cooldown_period.mark.item.clone());
        let place = places.entry(name.unwrap_or_else(|| alert.alert_id.to_string()));
        let place = *place.or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.alert.merge(&alert);
                group.entities.push(watched);
            }
            None => groups.push(Group { rule, alert, cooldown_period, entities: vec![watched] }),
        }
    }
    groups
}
