//! A round of the schedule: silences that are due are told, once in each cooldown of their key.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tracing::info;
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::claims::Claims;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, InvocationError, SetUpError};
use tributary_aws::put::BatchPut;
use tributary_aws::sns::Notification;
use tributary_core::alert::{Alert, End, Form};
use tributary_core::rule::Rule;
use tributary_core::rule::flap::Stretch;
use tributary_core::rule::watch::Watched;

use crate::handler::{Alerts, add, matched};
use crate::sustained::Memory;

/// Silences that are one alert: they have the key, and the cooldown that they are due in, in common.
#[derive(Debug)]
struct Group<'r> {
    rule: &'r Rule,
    /// That of the one that has lasted longest.
    alert: Alert,
    /// Where it is counted, of which one is told.
    cooling: Option<Stretch>,
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
    /// due are told as alerts are and then noted as told. What a cooldown or `flap` keeps from being told
    /// is due when that is over; what is not told for any other reason is due in the next round.
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
        let damped = self.state.damp(&rules, told_now, now, deadline.half_way()).await?;

        let mut books = matched(damped.wanted.iter().chain(&damped.unknown).chain(&later));
        // Several of a key may flap, and that is one alert.
        let alerts: BTreeMap<_, _> = damped
            .wanted
            .iter()
            .map(|wanted| (wanted.position, (wanted.alert.alert_id, wanted.alert.form)))
            .collect();
        let mut sent = self.outbox(owner, deadline).send(damped.wanted).await?;
        for wanted in damped.unknown.iter().chain(&later) {
            if is_put_off.contains(&wanted.position) {
                sent.note(&wanted.alert, End::Cooled);
            } else {
                sent.lose(wanted);
            }
        }
        let ids = |position: &usize| alerts.get(position).map(|(id, _)| *id);
        let untold: BTreeSet<_> = sent.undelivered.iter().filter_map(ids).collect();
        let (mut told, mut put_off) = (Vec::new(), Vec::new());
        for (index, (id, form)) in &alerts {
            let Some(group) = groups.get(*index).filter(|_| !untold.contains(id)) else { continue };
            let flaps = Some(()).filter(|()| *form == Form::Flapping);
            match flaps.and_then(|()| group.rule.stretch(&group.alert)) {
                Some(stretch) => put_off.extend(group.until(stretch.end)),
                None => told.extend(group.whose.iter().cloned()),
            }
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
        let last_error = sent.last_error.or(damped.last_error).or(cooled.last_error);
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
        let stretches = groups
            .iter()
            .filter_map(|group| Some((group.cooling.as_ref()?, group.rule.cooldown())));
        let counted = self.count(stretches, now, deadline).await?;
        let mut cooled = Cooled::default();
        for (index, group) in groups.iter().enumerate() {
            let Some(cooling) = &group.cooling else { continue };
            match counted.marks(cooling) {
                Ok(marks) => {
                    let first = group.rule.cooled(&group.alert, cooling, marks);
                    cooled.put_off.extend(first.map(|_| (index, cooling.end)));
                }
                Err(error) => {
                    cooled.unknown.insert(index);
                    cooled.last_error = Some(error);
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
        let cooling = rule.cooling(&alert);
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
