//! Rules with `absent`: when something last came from whom, whose silence is to be told, and its end.

use std::collections::HashMap;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use tributary_aws::alert_state::{AlertState, QUERY};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetupError};
use tributary_aws::retry::run_concurrently;
use tributary_rules::alert::Alert;
use tributary_rules::no_data::{BUCKETS, WatchedEntity};
use tributary_rules::{Rule, Rules};

use crate::rule_state::RuleState;

/// A batch that tells of nothing younger than this is behind.
const MAX_LAG: SignedDuration = SignedDuration::from_mins(1);

/// For how long after such a batch nobody is said to be silent.
const SUPPRESSION: SignedDuration = SignedDuration::from_mins(3);

/// How often that is noted.
const LAG_WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// The most entities of one part of the index that one round tells of.
const MAX_DUE: usize = 1_000;

/// The most items whose last write is remembered: beyond it they are written once more.
const MAX_REMEMBERED: usize = 100_000;

/// Something that came from an entity that a rule watches.
#[derive(Clone, Debug)]
pub struct SeenEntity<'r> {
    /// Position of the first event of the batch that came from it.
    pub position: usize,
    rule: &'r Rule,
    /// By the last one.
    watched: WatchedEntity,
}

/// What came in one batch, by item.
#[derive(Debug, Default)]
pub struct SeenEntities<'r>(HashMap<String, SeenEntity<'r>>);

/// The end of a silence.
#[derive(Debug)]
pub struct ResolvedAlert {
    /// Position of the event that ended it.
    pub position: usize,
    /// What is to be told.
    pub alert: Alert,
    /// Whose it was.
    pub watched: WatchedEntity,
}

/// What [`RuleState::record_seen`] did.
#[derive(Debug, Default)]
pub struct SeenUpdate {
    /// Silences that are over, in the order of their events.
    pub resolved: Vec<ResolvedAlert>,
    /// Positions of events that are not known to be noted.
    pub unconfirmed: Vec<usize>,
    /// Entities that were written.
    pub written: usize,
    /// What the store said last when it did not take something.
    pub last_error: Option<String>,
}

impl<'r> SeenEntities<'r> {
    /// Takes in what an event says to a rule.
    pub fn add(&mut self, position: usize, rule: &'r Rule, watched: WatchedEntity) {
        match self.0.get_mut(&watched.item) {
            Some(known) if known.watched.last_seen < watched.last_seen => known.watched = watched,
            Some(_) => {}
            None => {
                self.0.insert(watched.item.clone(), SeenEntity { position, rule, watched });
            }
        }
    }
}

impl<S: AlertState> RuleState<S> {
    /// Notes from whom something came, where that was not done lately, and finds the silences that it
    /// ends.
    ///
    /// # Errors
    ///
    /// [`SetupError`] when the store says that it can never work.
    pub async fn record_seen(
        &self,
        seen_entities: SeenEntities<'_>,
        retention: SignedDuration,
        deadline: Deadline,
    ) -> Result<SeenUpdate, SetupError> {
        let mut seen_entities: Vec<_> = seen_entities.0.into_values().collect();
        seen_entities.retain(|it| {
            !self.written_recently(&it.watched.item, it.watched.last_seen, it.rule.write_interval())
        });
        seen_entities.sort_by(|one, other| {
            (one.position, &one.watched.item).cmp(&(other.position, &other.watched.item))
        });
        let answers = run_concurrently(&seen_entities, |SeenEntity { rule, watched, .. }| {
            let due = rule.due(watched.last_seen);
            let expires_at = due.checked_add(retention).unwrap_or(Timestamp::MAX);
            self.retry.call(deadline, move || self.store.record_seen(watched, expires_at))
        });
        let mut seen = SeenUpdate::default();
        for (answer, SeenEntity { position, rule, watched }) in
            answers.await.into_iter().zip(seen_entities)
        {
            match answer {
                Ok(known) => {
                    seen.written += 1;
                    match known.silent_since.filter(|since| *since < known.last_seen) {
                        Some(since) => {
                            let alert = rule.resolved_alert(&known, since);
                            seen.resolved.push(ResolvedAlert { position, alert, watched: known });
                        }
                        None => self.remember_write(watched.item, watched.last_seen),
                    }
                }
                Err(CallError::Setup(error)) => return Err(error),
                Err(error) => {
                    seen.unconfirmed.push(position);
                    seen.last_error = Some(error.to_string());
                }
            }
        }
        Ok(seen)
    }

    /// Notes which ends were told. One that cannot be noted is found again with the next sign of life,
    /// and its claim says that it was told.
    pub async fn mark_resolved(&self, entities: &[WatchedEntity], deadline: Deadline) {
        let answers = run_concurrently(entities, |watched| {
            self.retry.call(deadline, move || self.store.mark_resolved(watched))
        });
        warn_failures(answers.await, "ends of silences are not noted as told");
    }

    /// Notes where what is read now is of the past: whatever has come since `as_of` is yet to be read.
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
            Err(error) => warn!(%error, "it is not noted that this function is behind"),
        }
    }

    /// The entities whose silence is to be told: none, where the function is behind with a shard. Those
    /// that no rule watches any more are taken out of the index.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn due<'r>(
        &self,
        rules: &'r Rules,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Vec<(&'r Rule, WatchedEntity)>, CallError> {
        let query = self.retry.for_operation(QUERY);
        if query.call(deadline, || self.store.is_lagging(now)).await? {
            warn!("behind with a shard: nobody is said to be silent");
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
                    rule.id() == watched.rule && rule.item_of(&watched.entity) == watched.item
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

    /// Notes whose silences were told. One that cannot be noted is due again, and its claim says that it
    /// was told.
    pub async fn mark_sent(&self, entities: &[WatchedEntity], deadline: Deadline) {
        let answers = run_concurrently(entities, |watched| {
            self.retry.call(deadline, move || self.store.mark_sent(watched))
        });
        warn_failures(answers.await, "silences are not noted as told");
    }

    /// Puts off what is not told now: it is due again at that time, if it lasts. One that cannot be put
    /// off is due in the next round.
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
        warn_failures(answers.await, "silences are not put off");
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

fn warn_failures(answers: Vec<Result<(), CallError>>, message: &str) {
    let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    if let Some(error) = errors.first() {
        warn!(%error, batch.unnoted = errors.len(), "{message}");
    }
}
