//! A round of the schedule: silences that are due are told, once in each cooldown of their key.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tracing::info;
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::claims::Claims;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError, SetUpError};
use tributary_aws::insist::all_of;
use tributary_aws::put::BatchPut;
use tributary_aws::sns::Notification;
use tributary_rules::Rule;
use tributary_rules::alert::{Alert, End};
use tributary_rules::watch::{Cooling, Watched};

use crate::handler::{Alerts, add, matched};
use crate::sustained::Memory;

/// Shortest time for which a counted silence is kept.
const MIN_COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// Silences that are one alert: they have the key, and the cooldown that they are due in, in common.
#[derive(Debug)]
struct Group<'r> {
    rule: &'r Rule,
    /// That of the one that has lasted longest.
    alert: Alert,
    /// Where it is counted, of which one is told.
    cooling: Option<Cooling>,
    whose: Vec<Watched>,
}

/// What the silences of a round come to before any is told.
#[derive(Debug, Default)]
struct Cooled {
    /// Groups that are not told now, each with the end of its cooldown.
    put_off: Vec<(usize, Timestamp)>,
    /// Groups of which it is not known.
    unknown: BTreeSet<usize>,
    last_error: Option<String>,
}

impl<C, S, T, Q> Alerts<C, S, T, Q>
where
    C: Claims,
    S: AlertState,
    T: BatchPut<Entry = Notification>,
    Q: BatchPut<Entry = Vec<u8>>,
{
    /// What the schedule is for: nobody sends an event that says that there is none. Silences that are
    /// due are told as alerts are and then noted as told. What a cooldown keeps from being told is due
    /// when that is over; what is not told for any other reason is due in the next round.
    pub(crate) async fn round(
        &self,
        owner: &str,
        deadline: Deadline,
    ) -> Result<(), InvocationError> {
        let now = (self.clock)();
        let (rules, look) = self.rules.current(now, deadline).await;
        self.told_of(look);
        if rules.iter().all(|rule| rule.absent().is_none()) {
            return Ok(());
        }
        let groups = groups(self.state.due(&rules, now, deadline.half_way()).await?);
        let cooled = self.state.cool(&groups, now, deadline.half_way()).await?;
        let is_put_off: BTreeSet<_> = cooled.put_off.iter().map(|(index, _)| *index).collect();
        let wanted = groups.iter().enumerate();
        let (told_now, later): (Vec<_>, Vec<_>) =
            wanted.map(|(index, group)| self.wanted(index, group.alert.clone())).partition(|it| {
                !is_put_off.contains(&it.position) && !cooled.unknown.contains(&it.position)
            });

        let mut books = matched(told_now.iter().chain(&later));
        // Groups that are due in different cooldowns can share an alert id.
        let alerts: BTreeMap<_, _> =
            told_now.iter().map(|wanted| (wanted.position, wanted.alert.alert_id)).collect();
        let mut sent = self.outbox(owner, deadline).send(told_now).await?;
        for wanted in &later {
            if is_put_off.contains(&wanted.position) {
                sent.note(&wanted.alert, End::Cooled);
            } else {
                sent.lose(wanted);
            }
        }
        let ids = |position: &usize| alerts.get(position);
        let untold: BTreeSet<_> = sent.undelivered.iter().filter_map(ids).collect();
        let (mut told, mut put_off) = (Vec::new(), Vec::new());
        for (index, _) in alerts.iter().filter(|(_, id)| !untold.contains(id)) {
            told.extend(groups.get(*index).into_iter().flat_map(|group| group.whose.clone()));
        }
        for (index, until) in &cooled.put_off {
            put_off.extend(groups.get(*index).into_iter().flat_map(|group| group.until(*until)));
        }
        self.state.told(&told, deadline).await;
        self.state.postpone(&put_off, self.memory, deadline).await;

        let (told, untold, put_off) = (told.len(), sent.undelivered.len(), put_off.len());
        let names = "a round of silences";
        info!(
            silences.told = told,
            silences.untold = untold,
            silences.put_off = put_off,
            "{names}"
        );
        add(&mut books, sent.books);
        self.journal.alerts(&books, (self.clock)());
        let last_error = sent.last_error.or(cooled.last_error);
        match last_error.filter(|_| untold > 0) {
            None => Ok(()),
            Some(message) => {
                let code = "undelivered".to_owned();
                Err(CallError::Plumbing { operation: OPERATION, code, message }.into())
            }
        }
    }
}

impl<S: AlertState> Memory<S> {
    /// Counts silences in their cooldowns: one that is not the first there is told when that is over, if
    /// it lasts so long.
    async fn cool(
        &self,
        groups: &[Group<'_>],
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Cooled, SetUpError> {
        let cooling = groups.iter().enumerate();
        let cooling = cooling.filter_map(|(index, it)| Some((index, it, it.cooling.as_ref()?)));
        let cooling: Vec<_> = cooling.collect();
        let answers = all_of(&cooling, |&(_, group, cooling)| {
            let memory = group.rule.cooldown().saturating_mul(2).max(MIN_COUNTED);
            let expires_at = now.checked_add(memory).unwrap_or(Timestamp::MAX);
            self.insistence.insist(deadline, move || self.store.raise(&cooling.mark, expires_at))
        });
        let mut cooled = Cooled::default();
        for ((index, group, cooling), answer) in cooling.iter().zip(answers.await) {
            match answer {
                Ok(marks) => {
                    let first = group.rule.cooled(&group.alert.key, cooling, &marks);
                    cooled.put_off.extend(first.map(|_| (*index, cooling.end)));
                }
                Err(CallError::SetUp(error)) => return Err(error),
                Err(error) => {
                    cooled.unknown.insert(*index);
                    cooled.last_error = Some(error.to_string());
                }
            }
        }
        Ok(cooled)
    }
}

impl Group<'_> {
    fn until(&self, until: Timestamp) -> impl Iterator<Item = (Watched, Timestamp)> {
        self.whose.iter().map(move |watched| (watched.clone(), until))
    }
}

/// The silences that are one alert together, those that have lasted longest first.
fn groups(mut due: Vec<(&Rule, Watched)>) -> Vec<Group<'_>> {
    due.sort_by(|(_, one), (_, other)| (one.seen_at, &one.item).cmp(&(other.seen_at, &other.item)));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (rule, watched) in due {
        let alert = rule.silence(&watched);
        let cooling = rule.cooling(&watched);
        let name = cooling.as_ref().map(|cooling| cooling.mark.item.clone());
        let place = places.entry(name.unwrap_or_else(|| alert.alert_id.to_string()));
        let place = *place.or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => {
                group.alert.merge(&alert);
                group.whose.push(watched);
            }
            None => groups.push(Group { rule, alert, cooling, whose: vec![watched] }),
        }
    }
    groups
}
