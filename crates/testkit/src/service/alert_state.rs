//! Simulated alert state: one table with conditional writes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use tributary_aws::alert_state::{AlertState, OPERATION};
use tributary_aws::cardinality::CardinalityStore;
use tributary_aws::error::{CallError, SetupError};
use tributary_rules::consecutive::{Mark, Marks};
use tributary_rules::no_data::WatchedEntity;

use super::SimCardinality;
use crate::clock;
use crate::fault::Faults;
use crate::injector::Remote;

/// Maximum size of an item in bytes, names and values of its attributes included.
///
/// See <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>.
const MAX_ITEM_BYTES: usize = 400 * 1024;

/// Maximum size in bytes of an item without its texts, and of one mark.
const REST_BYTES: usize = 256;
const MARK_BYTES: usize = 40;

/// Simulated table behind a fault injector. Clones share state.
#[derive(Clone, Debug)]
pub struct SimAlertState(Remote<State>, SimCardinality);

#[derive(Clone, Debug, Default)]
struct State {
    marks: BTreeMap<String, (Marks, Timestamp)>,
    watched: BTreeMap<String, WatchedEntity>,
    behind: BTreeMap<String, Timestamp>,
}

impl SimAlertState {
    /// Creates an empty table with these faults.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self(Remote::new(OPERATION, faults.clone()), SimCardinality::new(faults))
    }

    /// Returns the number of calls, with or without effect.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.0.calls()
    }

    /// Returns the sets of the table, which other functions share.
    #[must_use]
    pub fn cardinality(&self) -> SimCardinality {
        self.1.clone()
    }

    /// Returns the watched entities.
    #[must_use]
    pub fn watched(&self) -> Vec<WatchedEntity> {
        self.0.state().watched.values().cloned().collect()
    }
}

/// Rejects an item that exceeds [`MAX_ITEM_BYTES`].
fn fits(bytes: usize) -> Result<(), CallError> {
    if bytes <= MAX_ITEM_BYTES {
        return Ok(());
    }
    let message = "Item size to update has exceeded the maximum allowed size".to_owned();
    Err(SetupError::new(OPERATION, "simulated", "ValidationException", message).into())
}

impl State {
    fn raise_mark(&mut self, mark: &Mark, expires_at: Timestamp) -> Marks {
        let now = clock::now();
        let (marks, expiry) = self.marks.entry(mark.item.clone()).or_default();
        if !marks.is_empty() && *expiry <= now {
            marks.clear();
        }
        if marks.get(&mark.window).is_none_or(|value| *value < mark.value) {
            marks.insert(mark.window, mark.value);
            *expiry = expires_at;
        }
        marks.clone()
    }

    fn record_seen(&mut self, watched: &WatchedEntity) -> WatchedEntity {
        let known = self.watched.entry(watched.item.clone()).or_insert_with(|| watched.clone());
        if known.last_seen < watched.last_seen {
            *known = WatchedEntity { silent_since: known.silent_since, ..watched.clone() };
        }
        known.clone()
    }

    fn due(&self, bucket: u8, now: Timestamp, limit: usize) -> Vec<WatchedEntity> {
        let is_due = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        let all = self.watched.values().filter(|it| it.bucket() == bucket && is_due(it.due));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|watched| watched.due);
        all.into_iter().take(limit).cloned().collect()
    }

    fn mark_sent(&mut self, reported: &WatchedEntity) {
        if let Some(known) = self.watched.get_mut(&reported.item) {
            known.silent_since = known.silent_since.max(Some(reported.last_seen));
            if known.last_seen == reported.last_seen {
                known.due = None;
            }
        }
    }

    fn postpone(&mut self, postponed: &WatchedEntity, until: Timestamp) {
        if let Some(known) = self.watched.get_mut(&postponed.item)
            && known.last_seen == postponed.last_seen
            && known.due.is_some_and(|due| due < until)
        {
            known.due = Some(until);
        }
    }

    fn mark_resolved(&mut self, ended: &WatchedEntity) {
        if let Some(known) = self.watched.get_mut(&ended.item)
            && known.silent_since == ended.silent_since
        {
            known.silent_since = None;
        }
    }
}

impl CardinalityStore for SimAlertState {
    async fn add(
        &self,
        set: &str,
        new: &BTreeSet<u64>,
        limit: usize,
        expires_at: Timestamp,
    ) -> Result<HashSet<u64>, CallError> {
        self.1.add(set, new, limit, expires_at).await
    }
}

impl AlertState for SimAlertState {
    async fn raise_mark(&self, mark: &Mark, expires_at: Timestamp) -> Result<Marks, CallError> {
        let marks = self.0.state().marks.get(&mark.item).map_or(0, |(marks, _)| marks.len());
        fits(REST_BYTES + (marks + 1) * MARK_BYTES)?;
        self.0.call(|state| state.raise_mark(mark, expires_at)).await
    }

    async fn record_seen(
        &self,
        watched: &WatchedEntity,
        _: Timestamp,
    ) -> Result<WatchedEntity, CallError> {
        let texts = [&watched.item, &watched.rule, &watched.entity, &watched.key, &watched.title];
        fits(REST_BYTES + texts.iter().map(|text| text.len()).sum::<usize>())?;
        self.0.call(|state| state.record_seen(watched)).await
    }

    async fn refresh_seen(
        &self,
        watched: &WatchedEntity,
        _: Timestamp,
    ) -> Result<Option<WatchedEntity>, CallError> {
        let refresh = |state: &mut State| {
            state.watched.contains_key(&watched.item).then(|| state.record_seen(watched))
        };
        self.0.call(refresh).await
    }

    async fn due(
        &self,
        bucket: u8,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WatchedEntity>, CallError> {
        self.0.call(|state| state.due(bucket, now, limit)).await
    }

    async fn mark_sent(&self, watched: &WatchedEntity) -> Result<(), CallError> {
        self.0.call(|state| state.mark_sent(watched)).await
    }

    async fn postpone(
        &self,
        watched: &WatchedEntity,
        until: Timestamp,
        _: Timestamp,
    ) -> Result<(), CallError> {
        self.0.call(|state| state.postpone(watched, until)).await
    }

    async fn mark_resolved(&self, watched: &WatchedEntity) -> Result<(), CallError> {
        self.0.call(|state| state.mark_resolved(watched)).await
    }

    async fn record_lag(&self, shard: &str, until: Timestamp) -> Result<(), CallError> {
        let insert = |state: &mut State| {
            state.behind.insert(shard.to_owned(), until);
        };
        self.0.call(insert).await
    }

    async fn is_lagging(&self, now: Timestamp) -> Result<bool, CallError> {
        self.0.call(|state| state.behind.values().any(|until| *until > now)).await
    }
}
