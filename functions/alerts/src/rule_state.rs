//! State that rules keep between batches: evaluated windows, last-seen times, lag, cooldowns.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use tributary_aws::alert_state::{AlertState, OPERATION, QUERY};
use tributary_aws::cardinality::Cardinality;
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::retry::{Retry, run_concurrently};
use tributary_model::event::Event;
use tributary_model::json::to_json;
use tributary_rules::alert::Alert;
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::{BUCKETS, WatchedEntity};
use tributary_rules::{Rule, Rules};
use tributary_windows::Spec;

use crate::admission::{Candidate, admit};
use crate::no_data::{Group, SeenEntities, SeenEntity};

/// Age of the newest reading of a batch above which the function lags.
const MAX_LAG: SignedDuration = SignedDuration::from_mins(1);

/// Time after such a batch for which no-data alerts are suppressed.
const SUPPRESSION: SignedDuration = SignedDuration::from_mins(3);

/// Interval at which lag is written.
const LAG_WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// Maximum of due entities that one run reads from each part of the index.
const MAX_DUE: usize = 1_000;

/// Maximum of items whose last write this process remembers; beyond it they are written once more.
const MAX_REMEMBERED: usize = 100_000;

/// Minimum retention of the count of a cooldown period.
const MIN_COUNTED: SignedDuration = SignedDuration::from_hours(24);

/// State that rules keep between batches.
#[derive(Clone, Debug)]
pub struct RuleState<S> {
    /// Store of the state.
    pub store: S,
    /// Retries of calls to the store.
    pub retry: Retry,
    /// By window spec, the start-to-start distance of its windows.
    pub slides: BTreeMap<String, SignedDuration>,
    /// Limits on the entities of each rule and day.
    pub cardinality: Cardinality,
    /// By item, the last-seen time that this process wrote last.
    written: Arc<Mutex<HashMap<String, Timestamp>>>,
}

/// Evaluation of a rule with `for` on one window.
#[derive(Clone, Debug)]
pub struct Evaluation<'r> {
    /// Position of the window event in the batch.
    pub position: usize,
    rule: &'r Rule,
    slide: SignedDuration,
    entity: String,
    received_at: Timestamp,
    marks: Vec<Mark>,
    /// The event where `when` holds, for the text of an alert.
    event: Option<String>,
}

/// Updates of the state by one invocation.
#[derive(Debug, Default)]
pub struct StateUpdates {
    /// Positions of updates that are not known to be stored.
    pub unconfirmed: Vec<usize>,
    /// Positions of updates that the store rejected for what they contain, with its reasons.
    pub rejected: BTreeMap<usize, String>,
    /// Number of recorded marks of windows.
    pub marks: usize,
    /// Number of entities that were written.
    pub seen: usize,
    /// Number of entities beyond the limit of their rule and day.
    pub unwatched: usize,
    /// Last error of the store.
    pub last_error: Option<String>,
}

impl StateUpdates {
    /// Returns the answer to the update at `position`; `None` if it is not known to be stored.
    pub(crate) fn confirm<T>(
        &mut self,
        position: usize,
        answer: Result<T, CallError>,
    ) -> Result<Option<T>, SetupError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(CallError::Setup(error)) => Err(error),
            Err(error @ CallError::Refused { .. }) => {
                self.rejected.insert(position, error.to_string());
                Ok(None)
            }
            Err(error) => {
                self.unconfirmed.push(position);
                self.last_error = Some(error.to_string());
                Ok(None)
            }
        }
    }
}

/// No-data alert that is over.
#[derive(Debug)]
pub struct ResolvedAlert {
    /// Position of the event that ended it.
    pub position: usize,
    /// Alert to send.
    pub alert: Alert,
    /// Entity that is seen again.
    pub watched: WatchedEntity,
}

impl<S: AlertState> RuleState<S> {
    /// Returns the state in `store` for rules about windows of `specs`.
    pub fn new(store: S, specs: &[Spec]) -> Self {
        let slides = specs.iter().map(|spec| (spec.id.clone(), spec.slide)).collect();
        let retry = Retry::new(OPERATION);
        let cardinality = Cardinality::default();
        Self { store, retry, slides, cardinality, written: Arc::default() }
    }

    /// Returns the evaluation of a window event for a rule with `for`; `None` without a mark to
    /// record.
    #[must_use]
    pub fn evaluate<'r>(
        &self,
        position: usize,
        rule: &'r Rule,
        event: &Event<'_>,
        holds: bool,
    ) -> Option<Evaluation<'r>> {
        let window = event.window.as_ref()?;
        let own = window.end.duration_since(window.start);
        let slide = self.slides.get(window.spec.as_ref()).copied().unwrap_or(own);
        let marks = rule.consecutive_windows(slide)?.marks(&event.entity, window, holds);
        if marks.is_empty() {
            return None;
        }
        let entity = event.entity.clone().into_owned();
        Some(Evaluation {
            position,
            rule,
            slide,
            entity,
            received_at: event.received_at,
            marks,
            event: holds.then(|| to_json(event)),
        })
    }

    /// Records evaluations concurrently, and returns the alerts of consecutive windows that they
    /// complete. An evaluation that cannot be recorded has no alert; its position is unconfirmed.
    /// One of an entity beyond the limit of its rule is not recorded.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store can never work.
    pub async fn record_evaluations(
        &self,
        evaluations: &[Evaluation<'_>],
        now: Timestamp,
        retention: SignedDuration,
        deadline: Deadline,
        updates: &mut StateUpdates,
    ) -> Result<Vec<(usize, Alert)>, SetupError> {
        let expires_at = now.checked_add(retention).unwrap_or(Timestamp::MAX);
        let candidates: Vec<_> = evaluations.iter().map(Evaluation::candidate).collect();
        let is_admitted = admit(self, &candidates, now, deadline, updates).await?;
        let admitted = evaluations.iter().zip(is_admitted).filter(|(_, is_admitted)| *is_admitted);
        let marks: Vec<_> = admitted
            .flat_map(|(evaluation, _)| evaluation.marks.iter().map(move |it| (evaluation, it)))
            .collect();
        let answers = run_concurrently(&marks, |&(_, mark)| {
            self.retry.call(deadline, move || self.store.raise_mark(mark, expires_at))
        });
        let mut alerts = Vec::new();
        for ((evaluation, mark), answer) in marks.iter().zip(answers.await) {
            let Some(marks) = updates.confirm(evaluation.position, answer)? else { continue };
            updates.marks += 1;
            let due = evaluation.alerts(mark, &marks).into_iter();
            alerts.extend(due.map(|alert| (evaluation.position, alert)));
        }
        alerts.sort_by_key(|(position, _)| *position);
        Ok(alerts)
    }

    /// Records last-seen times that were not written lately, and returns the no-data alerts that
    /// they resolve. An entity that the store has stays watched; another one is watched from now on
    /// if the limit of its rule allows.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store can never work.
    pub(crate) async fn record_seen(
        &self,
        seen_entities: SeenEntities<'_>,
        now: Timestamp,
        retention: SignedDuration,
        deadline: Deadline,
        updates: &mut StateUpdates,
    ) -> Result<Vec<ResolvedAlert>, SetupError> {
        let seen_entities = seen_entities.sorted(|it| {
            !self.written_recently(&it.watched.item, it.watched.last_seen, it.rule.write_interval())
        });
        let expires_at = |SeenEntity { rule, watched, .. }: &SeenEntity<'_>| {
            rule.due(watched.last_seen).checked_add(retention).unwrap_or(Timestamp::MAX)
        };
        let answers = run_concurrently(&seen_entities, |it| {
            let expires_at = expires_at(it);
            self.retry.call(deadline, move || self.store.refresh_seen(&it.watched, expires_at))
        });
        let mut resolved = Vec::new();
        let mut unknown = Vec::new();
        for (answer, seen) in answers.await.into_iter().zip(seen_entities) {
            match updates.confirm(seen.position, answer)? {
                Some(Some(known)) => resolved.extend(self.confirm_seen(seen, known, updates)),
                Some(None) => unknown.push(seen),
                None => {}
            }
        }
        let new = self.admit_new(unknown, now, deadline, updates).await?;
        let answers = run_concurrently(&new, |it| {
            let expires_at = expires_at(it);
            self.retry.call(deadline, move || self.store.record_seen(&it.watched, expires_at))
        });
        for (answer, seen) in answers.await.into_iter().zip(new) {
            if let Some(known) = updates.confirm(seen.position, answer)? {
                resolved.extend(self.confirm_seen(seen, known, updates));
            }
        }
        Ok(resolved)
    }

    /// Returns the entities that the limits of their rules admit. The others are not looked up again
    /// within the write interval.
    async fn admit_new<'r>(
        &self,
        unknown: Vec<SeenEntity<'r>>,
        now: Timestamp,
        deadline: Deadline,
        updates: &mut StateUpdates,
    ) -> Result<Vec<SeenEntity<'r>>, SetupError> {
        let candidates: Vec<_> = unknown.iter().map(SeenEntity::candidate).collect();
        let is_admitted = admit(self, &candidates, now, deadline, updates).await?;
        let mut admitted = Vec::new();
        for (seen, is_admitted) in unknown.into_iter().zip(is_admitted) {
            if is_admitted {
                admitted.push(seen);
            } else if !updates.unconfirmed.contains(&seen.position) {
                self.remember_write(seen.watched.item, seen.watched.last_seen);
            }
        }
        Ok(admitted)
    }

    /// Counts a recorded last-seen time. Returns the no-data alert that it resolves.
    fn confirm_seen(
        &self,
        SeenEntity { position, rule, watched }: SeenEntity<'_>,
        known: WatchedEntity,
        updates: &mut StateUpdates,
    ) -> Option<ResolvedAlert> {
        updates.seen += 1;
        let Some(since) = known.silent_since.filter(|since| *since < known.last_seen) else {
            self.remember_write(watched.item, watched.last_seen);
            return None;
        };
        let alert = rule.resolved_alert(&known, since);
        Some(ResolvedAlert { position, alert, watched: known })
    }

    /// Marks no-data alerts as resolved. One that fails is found again with the next reading, and
    /// its claim shows that it was sent.
    pub async fn mark_resolved(&self, entities: &[WatchedEntity], deadline: Deadline) {
        let answers = run_concurrently(entities, |watched| {
            self.retry.call(deadline, move || self.store.mark_resolved(watched))
        });
        warn_failures(answers.await, "resolved alerts are not marked as sent");
    }

    /// Records that the function lags with `shard`: records after `as_of` are still to be read.
    pub async fn record_lag(
        &self,
        shard: &str,
        as_of: Timestamp,
        now: Timestamp,
        deadline: Deadline,
    ) {
        let name = format!("behind#{shard}");
        if now.duration_since(as_of) <= MAX_LAG
            || self.written_recently(&name, now, LAG_WRITE_INTERVAL)
        {
            return;
        }
        let until = now.checked_add(SUPPRESSION).unwrap_or(Timestamp::MAX);
        match self.retry.attempt(deadline, self.store.record_lag(shard, until)).await {
            Ok(()) => self.remember_write(name, now),
            Err(error) => warn!(%error, "lag is not recorded"),
        }
    }

    /// Returns the entities whose no-data alert is due: none while the function lags with a shard.
    /// Removes from the index those that no rule watches any more.
    ///
    /// # Errors
    ///
    /// Fails when the store does not answer.
    pub async fn due<'r>(
        &self,
        rules: &'r Rules,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Vec<(&'r Rule, WatchedEntity)>, CallError> {
        let query = self.retry.for_operation(QUERY);
        if query.call(deadline, || self.store.is_lagging(now)).await? {
            warn!("lagging on a shard: no-data alerts are suppressed");
            return Ok(Vec::new());
        }
        let buckets: Vec<u8> = (0..BUCKETS).collect();
        let answers = run_concurrently(&buckets, |bucket| {
            query.call(deadline, move || self.store.due(*bucket, now, MAX_DUE))
        });
        let (mut due, mut unmatched) = (Vec::new(), Vec::new());
        for answer in answers.await {
            for watched in answer? {
                let rule = rules.iter().find(|rule| {
                    rule.spec.id == watched.rule && rule.item_of(&watched.entity) == watched.item
                });
                match rule {
                    Some(rule) => due.push((rule, watched)),
                    None => unmatched.push(watched),
                }
            }
        }
        self.mark_sent(&unmatched, deadline).await;
        Ok(due)
    }

    /// Counts due groups in their cooldown periods. A group that is not the first of its period is
    /// postponed: returns the end of the period, by the index of the group.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store can never work.
    pub(crate) async fn check_cooldowns(
        &self,
        groups: &[Group<'_>],
        now: Timestamp,
        deadline: Deadline,
        updates: &mut StateUpdates,
    ) -> Result<BTreeMap<usize, Timestamp>, SetupError> {
        let counted: Vec<_> = groups
            .iter()
            .enumerate()
            .filter_map(|(index, group)| Some((index, group, group.cooldown_period.as_ref()?)))
            .collect();
        let answers = run_concurrently(&counted, |&(_, group, period)| {
            let retention = group.rule.spec.cooldown.0.saturating_mul(2).max(MIN_COUNTED);
            let expires_at = now.checked_add(retention).unwrap_or(Timestamp::MAX);
            self.retry.call(deadline, move || self.store.raise_mark(&period.mark, expires_at))
        });
        let mut postponed = BTreeMap::new();
        for ((index, group, period), answer) in counted.iter().zip(answers.await) {
            if let Some(marks) = updates.confirm(*index, answer)? {
                let first = group.rule.alert_in_cooldown(&group.alert.key, period, &marks);
                postponed.extend(first.map(|_| (*index, period.end)));
            }
        }
        Ok(postponed)
    }

    /// Marks no-data alerts as sent. One that fails is due again, and its claim shows that it was
    /// sent.
    pub async fn mark_sent(&self, entities: &[WatchedEntity], deadline: Deadline) {
        let answers = run_concurrently(entities, |watched| {
            self.retry.call(deadline, move || self.store.mark_sent(watched))
        });
        warn_failures(answers.await, "no-data alerts are not marked as sent");
    }

    /// Postpones no-data alerts to the given times. One that fails is due in the next run.
    pub async fn postpone(
        &self,
        postponed: &[(WatchedEntity, Timestamp)],
        retention: SignedDuration,
        deadline: Deadline,
    ) {
        let answers = run_concurrently(postponed, |(watched, until)| {
            let expires_at = until.checked_add(retention).unwrap_or(Timestamp::MAX);
            self.retry.call(deadline, move || self.store.postpone(watched, *until, expires_at))
        });
        warn_failures(answers.await, "no-data alerts are not postponed");
    }

    fn written_recently(&self, item: &str, at: Timestamp, interval: SignedDuration) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(item).is_some_and(|last| at.duration_since(*last) < interval)
    }

    fn remember_write(&self, item: String, at: Timestamp) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= MAX_REMEMBERED {
            written.clear();
        }
        let last = written.entry(item).or_insert(at);
        *last = at.max(*last);
    }
}

impl Evaluation<'_> {
    fn candidate(&self) -> Candidate<'_> {
        let Self { position, rule, ref entity, received_at, .. } = *self;
        Candidate { position, rule, entity, received_at }
    }

    /// Returns the alerts due by the marks of an item. All are about this window; the period of
    /// each is that of the window that completed it.
    fn alerts(&self, mark: &Mark, marks: &Marks) -> Vec<Alert> {
        let event = self.event.as_ref().and_then(|event| Event::from_json(event.as_bytes()).ok());
        let (Some(event), Some(series)) = (event, self.rule.consecutive_windows(self.slide)) else {
            return Vec::new();
        };
        let completed = series.fires(&self.entity, mark, marks).into_iter();
        completed.map(|start| self.rule.alert_at(&event, start)).collect()
    }
}

fn warn_failures(answers: Vec<Result<(), CallError>>, message: &str) {
    let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    if let Some(error) = errors.first() {
        warn!(%error, batch.unnoted = errors.len(), "{message}");
    }
}
