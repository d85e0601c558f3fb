//! Rules with `absent`: when something last came from whom, whose silence is to be told, and its end.

use std::collections::HashMap;
use std::sync::PoisonError;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;
use tributary_aws::alert_state::{AlertState, QUERY};
use tributary_aws::deadline::Deadline;
use tributary_aws::error::{CallError, SetUpError};
use tributary_aws::insist::all_of;
use tributary_rules::alert::Alert;
use tributary_rules::watch::{BUCKETS, Watched};
use tributary_rules::{Rule, Rules};

use crate::sustained::Memory;

/// A batch that tells of nothing younger than this is behind.
const BEHIND: SignedDuration = SignedDuration::from_mins(1);

/// For how long after such a batch nobody is said to be silent.
const CAUTION: SignedDuration = SignedDuration::from_mins(3);

/// How often that is noted.
const NOTED_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// The most entities of one part of the index that one round tells of.
const MOST_DUE: usize = 1_000;

/// The most items whose last write is remembered: beyond it they are written once more.
const MOST_REMEMBERED: usize = 100_000;

/// Something that came from an entity that a rule watches.
#[derive(Clone, Debug)]
pub struct Sighting<'r> {
    /// Position of the first event of the batch that came from it.
    pub position: usize,
    rule: &'r Rule,
    /// By the last one.
    watched: Watched,
}

/// What came in one batch, by item.
#[derive(Debug, Default)]
pub struct Sightings<'r>(HashMap<String, Sighting<'r>>);

/// The end of a silence.
#[derive(Debug)]
pub struct End {
    /// Position of the event that ended it.
    pub position: usize,
    /// What is to be told.
    pub alert: Alert,
    /// Whose it was.
    pub watched: Watched,
}

/// What [`Memory::see`] did.
#[derive(Debug, Default)]
pub struct Seen {
    /// Silences that are over, in the order of their events.
    pub ends: Vec<End>,
    /// Positions of events that are not known to be noted.
    pub unknown: Vec<usize>,
    /// Entities that were written.
    pub written: usize,
    /// What the store said last when it did not take something.
    pub last_error: Option<String>,
}

impl<'r> Sightings<'r> {
    /// Takes in what an event says to a rule.
    pub fn add(&mut self, position: usize, rule: &'r Rule, watched: Watched) {
        match self.0.get_mut(&watched.item) {
            Some(known) if known.watched.seen_at < watched.seen_at => known.watched = watched,
            Some(_) => {}
            None => {
                self.0.insert(watched.item.clone(), Sighting { position, rule, watched });
            }
        }
    }
}

impl<S: AlertState> Memory<S> {
    /// Notes from whom something came, where that was not done lately, and finds the silences that it
    /// ends.
    ///
    /// # Errors
    ///
    /// [`SetUpError`] when the store says that it can never work.
    pub async fn see(
        &self,
        sightings: Sightings<'_>,
        memory: SignedDuration,
        deadline: Deadline,
    ) -> Result<Seen, SetUpError> {
        let mut sightings: Vec<_> = sightings.0.into_values().collect();
        sightings
            .retain(|it| !self.is_written(&it.watched.item, it.watched.seen_at, it.rule.rest()));
        sightings.sort_by(|one, other| {
            (one.position, &one.watched.item).cmp(&(other.position, &other.watched.item))
        });
        let answers = all_of(&sightings, |Sighting { rule, watched, .. }| {
            let due = rule.due(watched.seen_at);
            let expires_at = due.checked_add(memory).unwrap_or(Timestamp::MAX);
            self.insistence.insist(deadline, move || self.store.see(watched, expires_at))
        });
        let mut seen = Seen::default();
        for (answer, Sighting { position, rule, watched }) in
            answers.await.into_iter().zip(sightings)
        {
            match answer {
                Ok(known) => {
                    seen.written += 1;
                    match known.silent_since.filter(|since| *since < known.seen_at) {
                        Some(since) => {
                            let alert = rule.end_of_silence(&known, since);
                            seen.ends.push(End { position, alert, watched: known });
                        }
                        None => self.is_now_written(watched.item, watched.seen_at),
                    }
                }
                Err(CallError::SetUp(error)) => return Err(error),
                Err(error) => {
                    seen.unknown.push(position);
                    seen.last_error = Some(error.to_string());
                }
            }
        }
        Ok(seen)
    }

    /// Notes which ends were told. One that cannot be noted is found again with the next sign of life,
    /// and its claim says that it was told.
    pub async fn ended(&self, told: &[Watched], deadline: Deadline) {
        let answers = all_of(told, |watched| {
            self.insistence.insist(deadline, move || self.store.ended(watched))
        });
        warn_of(answers.await, "ends of silences are not noted as told");
    }

    /// Notes where what is read now is of the past: whatever has come since `as_of` is yet to be read.
    pub async fn note_lag(
        &self,
        shard: &str,
        as_of: Timestamp,
        now: Timestamp,
        deadline: Deadline,
    ) {
        let name = format!("behind#{shard}");
        if now.duration_since(as_of) <= BEHIND || self.is_written(&name, now, NOTED_EVERY) {
            return;
        }
        let until = now.checked_add(CAUTION).unwrap_or(Timestamp::MAX);
        match self.insistence.once(deadline, self.store.fall_behind(shard, until)).await {
            Ok(()) => self.is_now_written(name, now),
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
    ) -> Result<Vec<(&'r Rule, Watched)>, CallError> {
        let query = self.insistence.of(QUERY);
        if query.insist(deadline, || self.store.is_behind(now)).await? {
            warn!("behind with a shard: nobody is said to be silent");
            return Ok(Vec::new());
        }
        let buckets: Vec<u8> = (0..BUCKETS).collect();
        let answers = all_of(&buckets, |bucket| {
            query.insist(deadline, move || self.store.due(*bucket, now, MOST_DUE))
        });
        let (mut due, mut strangers) = (Vec::new(), Vec::new());
        for answer in answers.await {
            for watched in answer? {
                let rule = rules.iter().find(|rule| {
                    rule.id() == watched.rule && rule.item_of(&watched.entity) == watched.item
                });
                match rule {
                    Some(rule) => due.push((rule, watched)),
                    None => strangers.push(watched),
                }
            }
        }
        self.told(&strangers, deadline).await;
        Ok(due)
    }

    /// Notes whose silences were told. One that cannot be noted is due again, and its claim says that it
    /// was told.
    pub async fn told(&self, told: &[Watched], deadline: Deadline) {
        let answers = all_of(told, |watched| {
            self.insistence.insist(deadline, move || self.store.told(watched))
        });
        warn_of(answers.await, "silences are not noted as told");
    }

    /// Puts off what is not told now: it is due again at that time, if it lasts. One that cannot be put
    /// off is due in the next round.
    pub async fn postpone(
        &self,
        postponed: &[(Watched, Timestamp)],
        memory: SignedDuration,
        deadline: Deadline,
    ) {
        let answers = all_of(postponed, |(watched, until)| {
            let expires_at = until.checked_add(memory).unwrap_or(Timestamp::MAX);
            self.insistence
                .insist(deadline, move || self.store.postpone(watched, *until, expires_at))
        });
        warn_of(answers.await, "silences are not put off");
    }

    fn is_written(&self, item: &str, at: Timestamp, rest: SignedDuration) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(item).is_some_and(|last| at.duration_since(*last) < rest)
    }

    fn is_now_written(&self, item: String, at: Timestamp) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= MOST_REMEMBERED {
            written.clear();
        }
        let last = written.entry(item).or_insert(at);
        *last = at.max(*last);
    }
}

fn warn_of(answers: Vec<Result<(), CallError>>, message: &str) {
    let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    if let Some(error) = errors.first() {
        warn!(%error, batch.unnoted = errors.len(), "{message}");
    }
}
